"""InfoNCE, the triplet loss and the temperature against loops that can be checked by hand."""

import pytest
import torch

from lavis_asym.losses import Temperature, contrastive_loss, info_nce_loss, triplet_loss, warm_up

IMAGE_IDS, TEXT_IDS = torch.tensor([4, 7, 7, 2]), torch.tensor([4, 7, 7, 2, -1, -1])


def triplet_loop(scores, known, margin, hardness):
    def direction(rows):
        losses = []
        for row, positives, negatives in rows:
            for p in positives:
                hinges = [max(0.0, margin - row[p] + row[n]) for n in negatives]
                losses.append((1 - hardness) * sum(hinges) / len(hinges) + hardness * max(hinges))
        return sum(losses) / len(losses)

    n, m = scores.shape
    same = [[bool(IMAGE_IDS[i] == TEXT_IDS[j]) for j in range(m)] for i in range(n)]
    other = [[not same[i][j] and not known[i][j] for j in range(m)] for i in range(n)]
    values = scores.tolist()
    i2t = [(values[i], [j for j in range(m) if same[i][j]], [j for j in range(m) if other[i][j]]) for i in range(n)]
    t2i = [
        ([values[i][j] for i in range(n)], [i for i in range(n) if same[i][j]], [i for i in range(n) if other[i][j]])
        for j in range(m)
        if TEXT_IDS[j] != -1
    ]
    return (direction(i2t) + direction(t2i)) / 2


@pytest.mark.parametrize("hardness", [0.0, 0.3, 1.0])
def test_triplet_equals_the_loop(hardness):
    generator = torch.Generator().manual_seed(0)
    scores = torch.rand(4, 6, generator=generator)
    known = torch.rand(4, 6, generator=generator) < 0.2
    found = triplet_loss(scores, IMAGE_IDS, TEXT_IDS, known, margin=0.3, hardness=hardness)
    assert found.item() == pytest.approx(triplet_loop(scores, known, 0.3, hardness), rel=1e-5)


def test_the_hardest_negative_alone_gets_a_gradient():
    scores = torch.tensor([[0.5, 0.45, 0.4], [0.1, 0.9, 0.0], [0.0, 0.1, 0.9]], requires_grad=True)
    ids = torch.arange(3)
    triplet_loss(scores, ids, ids, margin=0.2).backward()
    assert scores.grad[0, 1] > 0 and scores.grad[0, 2] == 0 and scores.grad[0, 0] < 0


def test_warm_up_rises_to_the_hardest_negative():
    assert [warm_up(step, 4) for step in (0, 1, 4, 9)] == [0.0, 0.25, 1.0, 1.0] and warm_up(0, 0) == 1.0


def test_info_nce_leaves_generated_negatives_out():
    scores = torch.rand(4, 6)
    known = torch.zeros(4, 6, dtype=torch.bool)
    known[0, 3] = known[2, 4] = True
    for siblings in ("masked", "soft"):
        expected = contrastive_loss(scores[:, :4], IMAGE_IDS, TEXT_IDS[:4], known[:, :4], 0.1, siblings=siblings)
        found = info_nce_loss(scores, IMAGE_IDS, TEXT_IDS, known, 0.1, siblings=siblings)
        torch.testing.assert_close(found, expected)


def test_a_learned_temperature_moves_and_stays_above_its_floor():
    temperature = Temperature(0.05, learned=True, floor=0.02)
    assert temperature().item() == pytest.approx(0.05)
    optimizer = torch.optim.SGD(temperature.parameters(), lr=100.0)
    for _ in range(50):
        optimizer.zero_grad()
        temperature().backward()
        optimizer.step()
    assert 0.02 <= temperature().item() < 0.021 and temperature.log.grad != 0


def test_a_fixed_temperature_has_no_parameters():
    temperature = Temperature(0.07)
    assert not list(temperature.parameters()) and not temperature.state_dict()
    assert temperature().item() == pytest.approx(0.07)
    with pytest.raises(ValueError, match="floor 0.1 and initial 0.05"):
        Temperature(0.05, floor=0.1)

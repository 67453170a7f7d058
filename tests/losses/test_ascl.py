"""The objective against a loop that can be checked by hand."""

import math

import pytest
import torch

from lavis_asym.losses import ascl_loss, contrastive_loss, info_nce_loss, triplet_loss


def loop(scores, image_ids, text_ids, known, temperature, siblings="masked", outranking="keep"):
    """-log(e^s+ / (e^s+ + sum over negatives)), positive by positive; "soft" adds the other positives to the sum."""

    def term(row, positives, negatives, generated=()):
        losses, row, best = [], list(row), max(row[p] for p in positives)
        for n in set(generated) & set(negatives):
            if row[n] > best and outranking == "zero":
                row[n] = 0
            if row[n] > best and outranking == "drop":
                negatives = [other for other in negatives if other != n]
        for p in positives:
            rivals = positives if siblings == "soft" else [p]
            total = sum(math.exp(row[k] / temperature) for k in [*rivals, *negatives])
            losses.append(-math.log(math.exp(row[p] / temperature) / total))
        return sum(losses) / len(losses)

    n, m = scores.shape
    rows, columns = [], []
    for i in range(n):
        positives = [j for j in range(m) if text_ids[j] == image_ids[i]]
        negatives = [j for j in range(m) if j not in positives and not known[i][j]]
        generated = [j for j in range(m) if text_ids[j] == -1]
        rows.append(term([scores[i, j].item() for j in range(m)], positives, negatives, generated))
    for j in range(m):
        if text_ids[j] == -1:
            continue
        positives = [i for i in range(n) if text_ids[j] == image_ids[i]]
        negatives = [i for i in range(n) if i not in positives and not known[i][j]]
        columns.append(term([scores[i, j].item() for i in range(n)], positives, negatives))
    return (sum(rows) / len(rows) + sum(columns) / len(columns)) / 2


def batch(seed=0):
    generator = torch.Generator().manual_seed(seed)
    image_ids = torch.tensor([4, 7, 7, 2])
    text_ids = torch.tensor([4, 7, 7, 2, -1, -1, -1])
    scores = torch.rand(4, 7, generator=generator, requires_grad=True)
    known = torch.rand(4, 7, generator=generator) < 0.3
    return scores, image_ids, text_ids, known


@pytest.mark.parametrize("temperature", [0.05, 1.0])
def test_equals_the_loop(temperature):
    scores, image_ids, text_ids, known = batch()
    expected = loop(scores, image_ids, text_ids, known, temperature)
    found = contrastive_loss(scores, image_ids, text_ids, known, temperature)
    assert found.item() == pytest.approx(expected, rel=1e-5)
    without = contrastive_loss(scores, image_ids, text_ids, None, temperature)
    assert without.item() == pytest.approx(loop(scores, image_ids, text_ids, torch.zeros(4, 7), temperature), rel=1e-5)


@pytest.mark.parametrize("siblings", ["masked", "soft"])
@pytest.mark.parametrize("outranking", ["keep", "zero", "drop"])
def test_policies_equal_the_loop(siblings, outranking):
    values = set()
    for seed in range(4):
        scores, image_ids, text_ids, known = batch(seed)
        found = contrastive_loss(scores, image_ids, text_ids, known, 0.2, siblings=siblings, outranking=outranking)
        expected = loop(scores, image_ids, text_ids, known, 0.2, siblings, outranking)
        assert found.item() == pytest.approx(expected, rel=1e-5)
        values.add(found.item() == pytest.approx(loop(scores, image_ids, text_ids, known, 0.2), rel=1e-5))
    assert (False in values) == ((siblings, outranking) != ("masked", "keep")), "a policy that changes nothing"


def test_a_zeroed_or_dropped_negative_gets_no_gradient():
    ids, text_ids = torch.tensor([0, 1]), torch.tensor([0, 1, -1])
    values = torch.tensor([[0.2, 0.1, 0.9], [0.1, 0.2, 0.15]])
    for outranking, touched in (("keep", [True, True]), ("zero", [False, True]), ("drop", [False, True])):
        scores = values.clone().requires_grad_()
        contrastive_loss(scores, ids, text_ids, outranking=outranking).backward()
        assert (scores.grad[:, 2] != 0).tolist() == touched


@pytest.mark.parametrize("policy", [{"siblings": "ignored"}, {"outranking": "hide"}])
def test_an_unknown_policy_is_named(policy):
    with pytest.raises(ValueError, match="must be one of .*got '(ignored|hide)'"):
        contrastive_loss(*batch()[:3], **policy)


def test_one_text_an_image_is_plain_infonce():
    scores = torch.rand(5, 5)
    ids = torch.arange(5)
    expected = sum(torch.nn.functional.cross_entropy(s / 0.1, ids) for s in (scores, scores.T)) / 2
    torch.testing.assert_close(contrastive_loss(scores, ids, ids, temperature=0.1), expected)


def test_pairs_known_to_be_true_get_no_gradient():
    scores, image_ids, text_ids, known = batch()
    contrastive_loss(scores, image_ids, text_ids, known).backward()
    positive = image_ids[:, None] == text_ids[None]
    assert (scores.grad[known & ~positive] == 0).all()
    assert (scores.grad[~known & ~positive][:, None] >= 0).all() and (scores.grad[positive] <= 0).all()


def test_the_order_of_the_batch_does_not_matter():
    scores, image_ids, text_ids, known = batch()
    i, j = torch.randperm(4), torch.randperm(7)
    torch.testing.assert_close(
        contrastive_loss(scores[i][:, j], image_ids[i], text_ids[j], known[i][:, j]),
        contrastive_loss(scores, image_ids, text_ids, known),
    )


def test_a_batch_without_negatives_costs_nothing_and_has_finite_gradients():
    scores = torch.rand(2, 2, requires_grad=True)
    ids = torch.tensor([3, 3])
    loss = contrastive_loss(scores, ids, ids)
    loss.backward()
    assert loss.item() == 0 and (scores.grad == 0).all()


def test_terms_are_weighted_and_add_up():
    scores, image_ids, text_ids, known = batch()
    other, *_ = batch(seed=1)
    group, positive = (scores, text_ids, known), (other, text_ids, known)
    losses = ascl_loss(group, positive, image_ids, caption_weight=0.3)
    torch.testing.assert_close(losses["loss_caption"], 0.3 * contrastive_loss(scores, image_ids, text_ids, known))
    torch.testing.assert_close(losses["loss_positive"], 0.7 * contrastive_loss(other, image_ids, text_ids, known))
    torch.testing.assert_close(losses["loss"], losses["loss_caption"] + losses["loss_positive"])
    alone = ascl_loss(group, None, image_ids, caption_weight=0.3)
    torch.testing.assert_close(alone["loss"], contrastive_loss(scores, image_ids, text_ids, known))


@pytest.mark.parametrize(
    "setting", [{"caption_weight": 7}, {"siblings": "sofft"}, {"outranking": "zer"}, {"temperature": -1}]
)
def test_settings_are_checked(setting):
    scores, image_ids, text_ids, known = batch()
    with pytest.raises(ValueError, match=next(iter(setting))):
        ascl_loss((scores, text_ids, known), None, image_ids, **setting)


@pytest.mark.parametrize("loss", [contrastive_loss, info_nce_loss, triplet_loss])
@pytest.mark.parametrize(
    "image_ids, text_ids, known, message",
    [
        ([0, 1, 2], [0, 1, 1, -1], None, r"every image needs a text of its id; without one are \[2\]"),
        ([0, 1, 2], [5, 6, 7, 8], None, r"without one are \[0, 1, 2\]"),
        ([0, 1, 2], [-1, -1, -1, -1], None, "every image needs a text"),
        ([0, 1], [0, 1, 0, 1], None, "expected image_ids N, text_ids M and scores N x M"),
        ([0, 1, 2], [0, 1, 2, 2], torch.zeros(4, dtype=torch.bool), "and known N x M"),
    ],
)
def test_a_batch_that_does_not_fit_together_is_refused(loss, image_ids, text_ids, known, message):
    """It would be a loss of 0, or NaN."""
    if loss is info_nce_loss and known is not None:
        known = known.expand(2, 4)
    with pytest.raises(ValueError, match=message):
        loss(torch.rand(3, 4), torch.tensor(image_ids), torch.tensor(text_ids), known)
    with pytest.raises(ValueError, match="every image needs a text"):
        loss(torch.rand(0, 2), torch.empty(0, dtype=torch.int64), torch.tensor([0, 1]))


@pytest.mark.parametrize("setting", [{"margin": -1}, {"hardness": 3}])
def test_settings_of_the_triplet_loss_are_checked(setting):
    scores, image_ids, text_ids, known = batch()
    with pytest.raises(ValueError, match="hardness in"):
        triplet_loss(scores, image_ids, text_ids, known, **setting)

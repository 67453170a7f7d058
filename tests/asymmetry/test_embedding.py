"""Negatives on token vectors: chosen by sample, masks respected, differentiable."""

import pytest
import torch

from lavis_asym.asymmetry.embedding import DROPPED, EMBEDDING_OPERATORS, ZEROED, perturb
from lavis_asym.asymmetry.policy import read_policy

B, L, D = 6, 10, 32


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randn(B, L, D, generator=generator) + 3
    mask = torch.arange(L)[None] < torch.tensor([10, 7, 3, 1, 0, 5])[:, None]
    return tokens, mask


def test_the_policy_names_them_all():
    named = {name: 1 for name in EMBEDDING_OPERATORS}
    assert set(named) <= set(read_policy({"I": named}).operators["I"])


def test_each_text_has_its_own_operator_and_the_others_stay(batch):
    tokens, mask = batch
    operators = ["", "gaussian_noise", "", "zero_token", "dropout", "zero_channel"]
    out = perturb(tokens, mask, operators)
    for row, name in enumerate(operators):
        changed = not torch.equal(out[row], tokens[row])
        assert changed == (name != "" and bool(mask[row].any())), name


@pytest.mark.parametrize("name", EMBEDDING_OPERATORS)
def test_what_is_no_token_stays_and_gradients_flow(batch, name):
    tokens, mask = batch
    tokens.requires_grad_()
    kept = tokens.detach().clone()
    out = perturb(tokens, mask, [name] * B)
    assert torch.equal(out[~mask], tokens[~mask]) and torch.equal(tokens.detach(), kept)
    out.sum().backward()
    assert tokens.grad.isfinite().all() and tokens.grad[mask].abs().sum() > 0


def test_shares(batch):
    tokens, mask = batch
    zeroed = (perturb(tokens, mask, ["zero_token"] * B) == 0).all(2).sum(1).tolist()
    assert zeroed == [3, 2, 1, 1, 0, 1]
    channels = (perturb(tokens, mask, ["zero_channel"] * B)[0] == 0).all(0).sum()
    assert channels == int(D * ZEROED)
    big = torch.ones(1, 50, 400)
    dropped = perturb(big, torch.ones(1, 50, dtype=torch.bool), ["dropout"])
    assert abs((dropped == 0).float().mean() - DROPPED) < 0.02 and abs(dropped.mean() - 1) < 0.02
    noise = perturb(big, torch.ones(1, 50, dtype=torch.bool), ["gaussian_noise"]) - big
    assert abs(noise.std() - 1) < 0.02


def test_a_generator_makes_them_reproducible(batch):
    tokens, mask = batch
    one, two = (perturb(tokens, mask, ["dropout"] * B, torch.Generator().manual_seed(1)) for _ in range(2))
    assert torch.equal(one, two)


def test_an_unknown_name_is_named(batch):
    with pytest.raises(ValueError, match="unknown embedding operator 'noise'"):
        perturb(*batch, ["noise"] * B)

"""Type I on token vectors, after encoding (the authors' second depth): needs torch, so nothing else here imports it.

Permuting token vectors is not offered: an attention that averages over tokens scores it as the text itself.
"""

from typing import Callable, Dict, Optional, Sequence

import torch
from torch import Tensor

NOISE = 1.0  # standard deviation, in root mean squares of the text's token vectors
DROPPED = 0.3  # share of the components that dropout sets to zero; the rest grows in proportion
ZEROED = 0.3  # share of the real tokens, or of the channels, set to zero; at least one

Generator = Optional[torch.Generator]


def perturb(tokens: Tensor, mask: Tensor, operators: Sequence[str], generator: Generator = None) -> Tensor:
    """Each text's token vectors as its own operator makes them; differentiable, and nothing is written in place.

    Args:
        tokens: B x L x D.
        mask: B x L bool, True = real token. What is not real is returned as it came.
        operators: B names in EMBEDDING_OPERATORS; "" leaves a text as it is.
        generator: of the tokens' device; None is torch's own.
    Returns:
        B x L x D.
    Raises:
        ValueError: an unknown operator.
    """
    unknown = sorted(set(operators) - {"", *EMBEDDING_OPERATORS})
    if unknown:
        raise ValueError(f"unknown embedding operator {unknown[0]!r}, expected one of {', '.join(EMBEDDING_OPERATORS)}")
    for name, operator in EMBEDDING_OPERATORS.items():
        chosen = torch.tensor([own == name for own in operators], device=tokens.device)
        if chosen.any():
            real = (mask & chosen[:, None])[:, :, None]  # B x L x 1
            tokens = torch.where(real, operator(tokens, mask, generator), tokens)
    return tokens


def gaussian_noise(tokens: Tensor, mask: Tensor, generator: Generator) -> Tensor:
    """Noise of NOISE times the text's own root mean square."""
    real = mask[:, :, None]
    count = (mask.sum(1).clamp_min(1) * tokens.shape[2])[:, None, None]
    scale = ((tokens.detach() * real).square().sum((1, 2), keepdim=True) / count).sqrt()
    noise = torch.randn(tokens.shape, generator=generator, device=tokens.device, dtype=tokens.dtype)
    return tokens + NOISE * scale * noise


def dropout(tokens: Tensor, mask: Tensor, generator: Generator) -> Tensor:
    """Every component is zero with probability DROPPED."""
    kept = torch.rand(tokens.shape, generator=generator, device=tokens.device) >= DROPPED
    return tokens.masked_fill(~kept, 0) / (1 - DROPPED)


def zero_token(tokens: Tensor, mask: Tensor, generator: Generator) -> Tensor:
    """ZEROED of the real tokens, at least one, become zero vectors."""
    order = torch.rand(mask.shape, generator=generator, device=tokens.device).masked_fill(~mask, 2.0)
    count = (mask.sum(1) * ZEROED).long().clamp_min(1)
    rank = order.argsort(1).argsort(1)  # B x L: real tokens in a random order, before all others
    return tokens.masked_fill((rank < count[:, None])[:, :, None], 0)  # a product would make inf * 0 of its gradient


def zero_channel(tokens: Tensor, mask: Tensor, generator: Generator) -> Tensor:
    """ZEROED of the channels, at least one, become zero in all tokens of a text."""
    batch, width = tokens.shape[0], tokens.shape[2]
    rank = torch.rand((batch, width), generator=generator, device=tokens.device).argsort(1).argsort(1)
    return tokens.masked_fill((rank < max(1, int(width * ZEROED)))[:, None, :], 0)


EMBEDDING_OPERATORS: Dict[str, Callable[[Tensor, Tensor, Generator], Tensor]] = {
    "gaussian_noise": gaussian_noise,
    "dropout": dropout,
    "zero_token": zero_token,
    "zero_channel": zero_channel,
}

"""Gated global similarity of a tile of pairs, joined with the local one (AsCL section 3).

c_ij = U mean_l a_l;  g = sigmoid(W [v_i ; c_ij]);  f_v = norm(g v_i + (1 - g) c_ij);  f_t = norm(P mean_r b_r)
S = u1 S_local + (1 - u1) <f_v, f_t>
Means of attended vectors are mixes of regions (or tokens): once U, W's half for c_ij and P have been applied to each
head's share of every region and token, a pair's c_ij, its half of the gate and P mean_r b_r are mixes of ready rows.

Legend: I images and T texts of the tile, R regions, L tokens, H heads, D width.
"""

from typing import Optional, Sequence

import torch
from torch import Tensor

from lavis_asym.fusion.tiles import TileAttention

EPSILON = 1e-8


def joint_similarity(
    attention: TileAttention,
    images: Sequence[Tensor],
    texts: Sequence[Sequence[Tensor]],
    shared: Sequence[Tensor],
    *,
    dtype: torch.dtype,
) -> Tensor:
    """I x T scores of a tile.

    Args:
        images: vectors I x D; context rows I x R x H x D, with W's half behind them I x R x H x 2D if gated; and, if
            gated, the other half of the gate I x D.
        texts: for each run of texts of one length, its context rows T x L x H x D.
        shared: u1, a scalar.
        dtype: of the matrix products.
    """
    vectors, rows, *gate = images
    context = _mix(attention.region_mix, rows, dtype)  # I x T x D or 2D
    fused = fuse(vectors.unsqueeze(1), context, *(part.unsqueeze(1) for part in gate))
    attended = torch.cat([_mix(mix, own[0], dtype) for mix, own in zip(attention.token_mix, texts)]).transpose(0, 1)
    norms = (fused.norm(dim=-1) * attended.norm(dim=-1)).clamp_min(EPSILON)
    similarity = (fused * attended).sum(-1) / norms
    return shared[0] * attention.similarity + (1 - shared[0]) * similarity


def fuse(vectors: Tensor, context: Tensor, gate: Optional[Tensor] = None) -> Tensor:
    """f_v before its norm: the gated sum of v_i and c_ij, or twice their plain mean without a gate."""
    if gate is None:
        return vectors + context
    context, gate_context = context.chunk(2, -1)
    return torch.lerp(context, vectors.expand_as(context), torch.sigmoid(gate + gate_context))


def _mix(weights: Tensor, rows: Tensor, dtype: torch.dtype) -> Tensor:
    """B x C x K x H weights and B x K x H x D rows -> B x C x D."""
    mixed = torch.bmm(weights.flatten(2).to(dtype), rows.flatten(1, 2).to(dtype))
    return mixed.to(weights.dtype)

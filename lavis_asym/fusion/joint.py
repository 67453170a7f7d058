"""Gated global similarity of a tile of pairs, joined with the local one (AsCL section 3), and its gradient.

c_ij = U mean_l a_l;  g = sigmoid(W [v_i ; c_ij]);  f_v = norm(g v_i + (1 - g) c_ij);  f_t = norm(P mean_r b_r)
S = u1 S_local + (1 - u1) <f_v, f_t>
Means of attended vectors are mixes of regions (or tokens): once U, W's half for c_ij and P have been applied to each
head's share of every region and token, a pair's c_ij, its half of the gate and P mean_r b_r are mixes of ready rows.

Legend: I images and T texts of the tile, R regions, L tokens, H heads, D width.
"""

from typing import List, NamedTuple, Optional, Sequence, Tuple

import torch
from torch import Tensor

from lavis_asym.fusion.products import batched_product, grouped_product
from lavis_asym.fusion.texts import even_slices

EPSILON = 1e-8
FLOATS = 12  # that are held at once for a pair and a channel, in the backward pass


class TileAttention(NamedTuple):
    """The attention of a tile's pairs as the global part takes it; without one, the local similarity alone."""

    similarity: Tensor  # I x T
    region_mix: Optional[Tensor] = None  # I x T x R x H
    token_mix: Tuple[Tensor, ...] = ()  # for each run of texts of one length, T x I x L x H


class JointInputs(NamedTuple):
    """What the scores of a tile need besides its attention."""

    images: Sequence[Tensor]  # see `Joint`
    texts: Sequence[Tensor]  # for each run of texts of one length, its context rows T x L x H x D
    weight: Tensor  # u1, a scalar


class Joint(NamedTuple):
    """The joint score of a tile.

    `JointInputs.images` are vectors I x D and context rows I x R x H x D; or, if gated, context rows with W's half
    behind them I x R x H x 2D, and the other half of the gate I x D.

    Args:
        width: D.
        dtype: of the matrix products.
        floats: how many values may be held for the pairs of some images at once.
    """

    width: int
    dtype: torch.dtype
    floats: int

    def scores(self, attention: TileAttention, inputs: JointInputs) -> Tensor:
        """I x T."""
        read = self._read(attention, inputs)
        similarity = torch.empty_like(attention.similarity)
        for images in self._chunks(attention):
            fused, _ = self._fused(attention, inputs, images)
            norms = (fused.norm(dim=-1) * read[images].norm(dim=-1)).clamp_min_(EPSILON)
            similarity[images] = (fused * read[images]).sum(-1) / norms
        return similarity.lerp_(attention.similarity, inputs.weight)

    def backward(
        self, attention: TileAttention, inputs: JointInputs, gradient: Tensor, sums: JointInputs
    ) -> TileAttention:
        """The gradient of the attention; those of the inputs are added to `sums`."""
        read = self._read(attention, inputs)
        read_gradient, mix_gradient = torch.empty_like(read), torch.empty_like(attention.region_mix)
        for images in self._chunks(attention):
            own, own_sums = ([part[images] for part in side.images] for side in (inputs, sums))
            fused, context = self._fused(attention, inputs, images)
            dot = (fused * read[images]).sum(-1)
            squares = [x.square().sum(-1) for x in (fused, read[images])]
            norms = (squares[0] * squares[1]).sqrt_()
            is_floored = norms < EPSILON
            norms.clamp_min_(EPSILON)
            similarity = dot / norms
            sums.weight.add_((gradient[images] * (attention.similarity[images] - similarity)).sum())
            outer = (gradient[images] * (1 - inputs.weight) / norms).unsqueeze(-1)
            inner = (outer.squeeze(-1) * dot).masked_fill_(is_floored, 0)
            shrink = [(inner / square.clamp_min(EPSILON**2)).unsqueeze(-1) for square in squares]
            read_gradient[images] = (fused * outer).addcmul_(read[images], shrink[1], value=-1)
            fused_gradient = fused.mul_(-shrink[0]).addcmul_(read[images], outer)
            context_gradient = self._fuse_backward(context, own, own_sums, fused_gradient)
            mixes, rows = attention.region_mix[images].flatten(2), own[1].flatten(1, 2)
            mix_gradient[images] = _times_rows(context_gradient, rows, self.dtype).view_as(mix_gradient[images])
            own_sums[1].flatten(1, 2).add_(batched_product(mixes.transpose(1, 2), context_gradient, self.dtype))
        token_gradients = self._read_backward(attention, inputs, sums, read_gradient)
        return TileAttention(gradient * inputs.weight, mix_gradient, token_gradients)

    def _chunks(self, attention: TileAttention) -> List[slice]:
        """Images whose pairs fit in `floats`."""
        images, texts = attention.similarity.shape
        return even_slices(images, max(1, self.floats // (FLOATS * self.width * texts)))

    def _read(self, attention: TileAttention, inputs: JointInputs) -> Tensor:
        """P mean_r b_r, I x T x D."""
        parts = [_mix(mix, rows, self.dtype) for mix, rows in zip(attention.token_mix, inputs.texts)]
        return torch.cat(parts).transpose(0, 1)

    def _read_backward(self, attention, inputs: JointInputs, sums: JointInputs, gradient: Tensor) -> Tuple[Tensor, ...]:
        """The gradients of the token mixes; those of the context rows are added to `sums.texts`."""
        mix_gradients = []
        counts = [len(mix) for mix in attention.token_mix]
        for mix, rows, rows_sum, own in zip(attention.token_mix, inputs.texts, sums.texts, gradient.split(counts, 1)):
            own = own.transpose(0, 1)
            mix_gradients.append(batched_product(own, rows.flatten(1, 2).transpose(1, 2), self.dtype).view_as(mix))
            rows_sum.flatten(1, 2).add_(batched_product(mix.flatten(2).transpose(1, 2), own, self.dtype))
        return tuple(mix_gradients)

    def _fused(self, attention: TileAttention, inputs: JointInputs, images: slice) -> Tuple[Tensor, Tensor]:
        """f_v of some images before its norm, I x T x D, and the context it is made of, I x T x D or 2D."""
        vectors, rows, *gate = (part[images] for part in inputs.images)
        context = _mix(attention.region_mix[images], rows, self.dtype)
        return fuse(vectors.unsqueeze(1), context, *(part.unsqueeze(1) for part in gate)), context

    def _fuse_backward(self, context: Tensor, own, own_sums, gradient: Tensor) -> Tensor:
        """The gradient of the context; those of vectors and gate are added to `own_sums`."""
        vectors, _, *gate = own
        if not gate:
            own_sums[0].add_(gradient.sum(1))
            return gradient
        context, gate_context = context.chunk(2, -1)
        opened = gate_context.add(gate[0].unsqueeze(1)).sigmoid_()
        passed = opened * gradient
        own_sums[0].add_(passed.sum(1))
        both = torch.empty(*gradient.shape[:2], 2 * self.width, dtype=gradient.dtype, device=gradient.device)
        torch.sub(gradient, passed, out=both[..., : self.width])
        slope = torch.addcmul(passed, passed, opened, value=-1)
        torch.mul(vectors.unsqueeze(1) - context, slope, out=both[..., self.width :])
        own_sums[2].add_(both[..., self.width :].sum(1))
        return both


def fuse(vectors: Tensor, context: Tensor, gate: Optional[Tensor] = None) -> Tensor:
    """f_v before its norm: the gated sum of v_i and c_ij, or twice their plain mean without a gate."""
    if gate is None:
        return vectors + context
    context, gate_context = context.chunk(2, -1)
    return torch.lerp(context, vectors.expand_as(context), torch.sigmoid(gate + gate_context))


def _mix(weights: Tensor, rows: Tensor, dtype: torch.dtype) -> Tensor:
    """B x C x K x H weights and B x K x H x D rows -> B x C x D."""
    return batched_product(weights.flatten(2), rows.flatten(1, 2), dtype)


def _times_rows(gradient: Tensor, rows: Tensor, dtype: torch.dtype) -> Tensor:
    """B x C x D gradients of mixes and B x K x D rows -> B x C x K."""
    return grouped_product(gradient.transpose(0, 1), rows, dtype).transpose(0, 1)

"""Region-word attention of a block of images with a block of texts of one length (AsCL section 3; after SCAN).

For a pair, S = T V^T holds the cosines of every token with every region.
    text to image:  alpha = softmax_r(scale_t2i S);  a_l = sum_r alpha_lr V_r;  s_l = cos(T_l, a_l);  mean over tokens
    image to text:  beta  = softmax_l(scale_i2t S);  b_r = sum_l beta_rl T_l;   s_r = cos(V_r, b_r);  mean over regions
No attended vector is built: T_l . a_l = sum_r alpha_lr S_lr and |a_l|^2 = alpha_l^T G alpha_l with G = V V^T, and
likewise for b_r with the tokens' Gram matrix. With several heads the attention runs per head and the cosine over
the joined heads, so numerators and squared norms add up over heads.

Each direction lays its weights out as its product with the Gram matrix wants them, T L x H x I x R to the one and
H x T x L x I R to the other. |S| <= 1, so the exponentials need no maximum; their sums are divided out where R or L
values have become one. What can works in place, on buffers that the caller allocates once. Where an attended vector
nearly cancels, |a| below a thousandth, float32 leaves its cosine few digits.

Legend: I images and T texts of the block, R regions, L tokens, H heads, d = D / H.
"""

import math
from typing import NamedTuple, Optional, Tuple

import torch
from torch import Tensor

from lavis_asym.fusion.products import grouped_product

FORWARD_BUFFERS, BACKWARD_BUFFERS = 2, 4
FORWARD_VALUES, BACKWARD_VALUES = 4, 8  # that are held at once for each value of S, buffers included
MAX_SCALE = 30.0  # exp(2 * 30) R^2 is a float32 for any R and L below a million
LOG2_E = 1 / math.log(2)


class Attention(NamedTuple):
    """What a block of pairs shares between its local and its global similarity."""

    similarity: Tensor  # I x T, mean of both directions
    region_mix: Optional[Tensor] = None  # T x H x I x R, each region's attention averaged over the text's tokens
    token_mix: Optional[Tensor] = None  # H x T x L x I, each token's attention averaged over the image's regions


class Block(NamedTuple):
    """The features of a block; rows are unit vectors over the joined heads."""

    regions: Tensor  # H x I x R x d
    region_gram: Tensor  # H x I x R x R
    tokens: Tensor  # T x L x H x d
    token_gram: Tensor  # H x T x L x L
    dtype: torch.dtype  # in which the large matrix products run; all else stays in the dtype of the features

    @property
    def shape(self) -> Tuple[int, int, int, int, int]:
        texts, length, heads, _ = self.tokens.shape
        return heads, texts, length, *self.regions.shape[1:3]

    def products(self) -> Tensor:
        """S for all heads and pairs, T L x H x I R."""
        return grouped_product(self.tokens.flatten(0, 1), self.regions.flatten(1, 2), self.dtype)

    def directions(self, scale_t2i: float, scale_i2t: float):
        return OverRegions(self.region_gram, scale_t2i, self.shape), OverTokens(self.token_gram, scale_i2t, self.shape)


class OverRegions(NamedTuple):
    """Text to image: softmax over the last axis of T L x H x I x R."""

    gram: Tensor  # H x I x R x R
    scale: float
    block: Tuple[int, int, int, int, int]
    axis, heads_axis = 3, 1

    def view(self, products: Tensor) -> Tensor:
        return products.unflatten(2, self.block[3:])

    def room(self, buffer: Tensor) -> Tensor:
        heads, texts, length, images, regions = self.block
        return buffer[: math.prod(self.block)].view(texts * length, heads, images, regions)

    def spread(self, weights: Tensor) -> Tensor:
        """weights G, image by image."""
        return grouped_product(weights.flatten(1, 2), self.gram.flatten(0, 1)).view_as(weights)

    def gram_gradient(self, weights: Tensor, weighted: Tensor) -> Tensor:
        left, right = weights.flatten(1, 2), weighted.flatten(1, 2)
        return torch.bmm(left.permute(1, 2, 0), right.transpose(0, 1)).view_as(self.gram)

    def mix(self, weights: Tensor) -> Tensor:
        """The attention averaged over tokens, T x H x I x R."""
        return weights.unflatten(0, self.block[1:3]).mean(1)

    def unmix(self, gradient: Tensor) -> Tensor:
        """The share of `mix`'s gradient in that of each weight, T x 1 x H x I x R."""
        return (gradient / self.block[2]).unsqueeze(1)

    def split(self, weights: Tensor) -> Tensor:
        """As `unmix` broadcasts."""
        return weights.unflatten(0, self.block[1:3])


class OverTokens(NamedTuple):
    """Image to text: softmax over the third axis of H x T x L x I R."""

    gram: Tensor  # H x T x L x L
    scale: float
    block: Tuple[int, int, int, int, int]
    axis, heads_axis = 2, 0

    def view(self, products: Tensor) -> Tensor:
        return products.unflatten(0, self.block[1:3]).permute(2, 0, 1, 3)

    def room(self, buffer: Tensor) -> Tensor:
        return buffer[: math.prod(self.block)].view(*self.block[:3], -1)

    def spread(self, weights: Tensor) -> Tensor:
        """G weights, text by text."""
        return torch.bmm(self.gram.flatten(0, 1), weights.flatten(0, 1)).view_as(weights)

    def gram_gradient(self, weights: Tensor, weighted: Tensor) -> Tensor:
        return torch.bmm(weights.flatten(0, 1), weighted.flatten(0, 1).transpose(1, 2)).view_as(self.gram)

    def mix(self, weights: Tensor) -> Tensor:
        """The attention averaged over regions, H x T x L x I."""
        return self.split(weights).mean(4)

    def unmix(self, gradient: Tensor) -> Tensor:
        """The share of `mix`'s gradient in that of each weight, H x T x L x I x 1."""
        return (gradient / self.block[4]).unsqueeze(4)

    def split(self, weights: Tensor) -> Tensor:
        """As `unmix` broadcasts."""
        return weights.view(self.block)


def attend(block: Block, scale_t2i: float, scale_i2t: float, buffers: Tensor, mixes: bool) -> Attention:
    """Local similarities of the block and, if `mixes`, the attention that the global similarity needs.

    Args:
        buffers: at least FORWARD_BUFFERS x (at least H T L I R) values to work on.
    """
    all_products = block.products()
    cosines, mixed = [], []
    for direction in block.directions(scale_t2i, scale_i2t):
        products, weights, work = direction.view(all_products), direction.room(buffers[0]), direction.room(buffers[1])
        torch.mul(products, direction.scale * LOG2_E, out=weights).exp2_()
        inverse = weights.sum(direction.axis).reciprocal_()
        dot = torch.mul(weights, products, out=work).sum(direction.axis).mul_(inverse).sum(direction.heads_axis)
        spread = direction.spread(weights).mul_(weights)
        squared_norm = spread.sum(direction.axis).mul_(inverse).mul_(inverse).sum(direction.heads_axis)
        cosines.append(dot * _floored(squared_norm).rsqrt_())
        if mixes:
            mixed.append(direction.mix(torch.mul(weights, inverse.unsqueeze(direction.axis), out=work)))
    return Attention(_mean_cosine(*cosines, block), *mixed)


class Kept(NamedTuple):
    """One direction of a block, as its backward pass needs it: weights normalised, the rest summed over heads."""

    direction: Tuple
    products: Tensor
    weights: Tensor
    spread: Tensor
    dot: Tensor
    squared_norm: Tensor


def attend_again(block: Block, scale_t2i: float, scale_i2t: float, buffers: Tensor) -> Tuple[Kept, Kept]:
    """What `attend_backward` needs of `attend`, on BACKWARD_BUFFERS buffers, two of which it keeps."""
    all_products = block.products()
    kept = []
    for direction, own in zip(block.directions(scale_t2i, scale_i2t), buffers):
        products, weights, work = direction.view(all_products), direction.room(own), direction.room(buffers[2])
        torch.mul(products, direction.scale * LOG2_E, out=weights).exp2_()
        weights.div_(weights.sum(direction.axis, keepdim=True))
        summed = (direction.heads_axis, direction.axis)
        dot = torch.mul(weights, products, out=work).sum(summed)
        spread = direction.spread(weights)
        squared_norm = torch.mul(weights, spread, out=work).sum(summed)
        kept.append(Kept(direction, products, weights, spread, dot, squared_norm))
    return tuple(kept)


def attend_backward(
    block: Block, kept: Tuple[Kept, Kept], gradient: Attention, buffers: Tensor
) -> Tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients of regions, region_gram, tokens and token_gram.

    With w = softmax(c S), n = sum w S, q = w^T G w and cos = n / sqrt(q), per pair and row of the softmax:
    dw = n' S + 2 q' G w + the mix's share, dS = n' w + c w (dw - sum w dw) and dG = q' w w^T.

    Args:
        kept: of `attend_again` on the same buffers.
        gradient: of what `attend` returned.
    """
    heads, texts, length, images, regions = block.shape
    grad_products = buffers[3][: math.prod(block.shape)].view(texts * length, heads, images * regions).zero_()
    cosines = (  # the means of _mean_cosine, backwards
        (gradient.similarity.T / (2 * length)).repeat_interleave(length, 0),  # T L x I
        (gradient.similarity.T / (2 * regions)).repeat_interleave(regions, 1),  # T x I R
    )
    gram_gradients = []
    for (direction, products, weights, spread, dot, squared_norm), grad, mix in zip(kept, cosines, gradient[1:]):
        root = _floored(squared_norm).rsqrt()
        grad_dot = grad * root
        grad_norm = -grad_dot * dot * root**2 / 2 * (squared_norm > _floor(squared_norm))
        grad_dot, grad_norm = (
            x.unsqueeze(direction.heads_axis).unsqueeze(direction.axis) for x in (grad_dot, grad_norm)
        )
        weighted = torch.mul(weights, grad_norm, out=direction.room(buffers[2]))
        gram_gradients.append(direction.gram_gradient(weights, weighted))
        grad_weights = spread.mul_(2 * grad_norm).addcmul_(products, grad_dot)
        if mix is not None:
            direction.split(grad_weights).add_(direction.unmix(mix))
        grad_weights.mul_(weights)
        inner = grad_weights.sum(direction.axis, keepdim=True)
        total = direction.view(grad_products)
        total.add_(grad_weights, alpha=direction.scale).addcmul_(weights, grad_dot - direction.scale * inner)
    rows, columns = block.tokens.flatten(0, 1), block.regions.flatten(1, 2)
    grad_tokens = grouped_product(grad_products, columns.transpose(1, 2), block.dtype)
    grad_regions = torch.bmm(grad_products.permute(1, 2, 0).to(block.dtype), rows.transpose(0, 1).to(block.dtype))
    return (
        grad_regions.view_as(block.regions), gram_gradients[0], grad_tokens.view_as(block.tokens), gram_gradients[1]
    )  # fmt: skip


def _mean_cosine(t2i: Tensor, i2t: Tensor, block: Block) -> Tensor:
    """T L x I and T x I R -> I x T."""
    _, texts, length, images, regions = block.shape
    t2i = t2i.view(texts, length, images).mean(1)
    i2t = i2t.view(texts, images, regions).mean(2)
    return ((t2i + i2t) / 2).T


def _floor(squared_norm: Tensor) -> float:
    """Below it a squared norm taken from a Gram matrix is rounding noise."""
    return torch.finfo(squared_norm.dtype).eps


def _floored(squared_norm: Tensor) -> Tensor:
    return squared_norm.clamp_min(_floor(squared_norm))

"""Region-word attention of a block of images with a block of texts of one length (AsCL section 3; after SCAN).

For a pair, S = T V^T holds the cosines of every token with every region.
    text to image:  alpha = softmax_r(scale_t2i S);  a_l = sum_r alpha_lr V_r;  s_l = cos(T_l, a_l);  mean over tokens
    image to text:  beta  = softmax_l(scale_i2t S);  b_r = sum_l beta_rl T_l;   s_r = cos(V_r, b_r);  mean over regions
No attended vector is built: T_l . a_l = sum_r alpha_lr S_lr and |a_l|^2 = alpha_l^T G alpha_l with G = V V^T, and
likewise for b_r with the tokens' Gram matrix. With several heads the attention runs per head and the cosine over
the joined heads, so numerators and squared norms add up over heads.

All values of a block lie as H x T L x I R, texts outside and regions inside, which is [H, T L, I, R] to the one
direction and [H, T, L, I R] to the other. |S| <= 1, so the exponentials need no maximum; their sums are divided out
where R or L values have become one. Everything works in place on buffers that the caller allocates once.

Legend: I images and T texts of the block, R regions, L tokens, H heads, d = D / H.
"""

import math
from typing import NamedTuple, Optional, Tuple

import torch
from torch import Tensor

FORWARD_BUFFERS, BACKWARD_BUFFERS = 3, 7
MAX_SCALE = 40.0  # exp(2 * 40) R^2 still is a float32
LOG2_E = 1 / math.log(2)


class Attention(NamedTuple):
    """What a block of pairs shares between its local and its global similarity."""

    similarity: Tensor  # I x T, mean of both directions
    region_mix: Optional[Tensor] = None  # H x T x I x R, each region's attention averaged over the text's tokens
    token_mix: Optional[Tensor] = None  # H x T x L x I, each token's attention averaged over the image's regions


class Block(NamedTuple):
    """The features of a block; rows are unit vectors over the joined heads."""

    regions: Tensor  # H x I x R x d
    region_gram: Tensor  # H x I x R x R
    tokens: Tensor  # H x T x L x d
    token_gram: Tensor  # H x T x L x L
    dtype: torch.dtype  # in which the large matrix products run; all else stays in the dtype of the features

    @property
    def shape(self) -> Tuple[int, int, int, int, int]:
        heads, images, regions, _ = self.regions.shape
        return heads, *self.tokens.shape[1:3], images, regions

    def products(self, out: Tensor) -> Tensor:
        """S for all heads and pairs, H x T L x I R."""
        return _multiply(self.tokens.flatten(1, 2), self.regions.flatten(1, 2).transpose(1, 2), out, self.dtype)


class OverRegions(NamedTuple):
    """Text to image: softmax over the last axis of H x T L x I x R."""

    gram: Tensor  # H x I x R x R
    scale: float
    axis = 3

    def view(self, flat: Tensor) -> Tensor:
        return flat.view(*flat.shape[:2], self.gram.shape[1], self.gram.shape[2])

    def spread(self, weights: Tensor, out: Tensor) -> Tensor:
        """weights G, image by image. Matrix products write whole matrices fastest, so `out` holds H x I x T L x R."""
        heads, tokens, images, regions = weights.shape
        spread = out.view(heads, images, tokens, regions)
        weights = weights.transpose(1, 2)
        if images < heads:
            for i in range(images):
                torch.bmm(weights[:, i], self.gram[:, i], out=spread[:, i])
        else:
            for h in range(heads):
                torch.bmm(weights[h], self.gram[h], out=spread[h])
        return spread.transpose(1, 2)

    def gram_gradient(self, weights: Tensor, weighted: Tensor) -> Tensor:
        pairs = zip(weights.permute(0, 2, 3, 1), weighted.transpose(1, 2))
        return torch.stack([torch.bmm(left, right) for left, right in pairs])


class OverTokens(NamedTuple):
    """Image to text: softmax over the third axis of H x T x L x I R."""

    gram: Tensor  # H x T x L x L
    scale: float
    axis = 2

    def view(self, flat: Tensor) -> Tensor:
        return flat.view(*self.gram.shape[:3], flat.shape[2])

    def spread(self, weights: Tensor, out: Tensor) -> Tensor:
        """G weights, text by text."""
        out = out.view(weights.shape)
        torch.bmm(self.gram.flatten(0, 1), weights.flatten(0, 1), out=out.flatten(0, 1))
        return out

    def gram_gradient(self, weights: Tensor, weighted: Tensor) -> Tensor:
        return torch.bmm(weights.flatten(0, 1), weighted.flatten(0, 1).transpose(1, 2)).view_as(self.gram)


def attend(block: Block, scale_t2i: float, scale_i2t: float, buffers: Tensor, mixes: bool) -> Attention:
    """Local similarities of the block and, if `mixes`, the attention that the global similarity needs.

    Args:
        buffers: at least FORWARD_BUFFERS x (at least H T L I R) values to work on.
    """
    heads, texts, length, images, regions = block.shape
    products, weights, work = _carve(buffers, block)[:FORWARD_BUFFERS]
    block.products(products)
    cosines, mixed = [], []
    for direction in (OverRegions(block.region_gram, scale_t2i), OverTokens(block.token_gram, scale_i2t)):
        products, weights, work = (direction.view(x.view(heads, texts * length, -1)) for x in (products, weights, work))
        torch.mul(products, direction.scale * LOG2_E, out=weights).exp2_()
        inverse = weights.sum(direction.axis).reciprocal_()
        dot = torch.mul(weights, products, out=work).sum(direction.axis).mul_(inverse).sum(0)
        spread = direction.spread(weights, work).mul_(weights)
        squared_norm = spread.sum(direction.axis).mul_(inverse).mul_(inverse).sum(0)
        cosines.append(dot * _floored(squared_norm).rsqrt_())
        if mixes:
            torch.mul(weights, inverse.unsqueeze(direction.axis), out=work)
            mixed.append(_mix(work, block, direction))
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
    """What `attend_backward` needs of `attend`, on BACKWARD_BUFFERS buffers, most of which it keeps."""
    flat = _carve(buffers, block)
    block.products(flat[0])
    kept = []
    directions = (OverRegions(block.region_gram, scale_t2i), OverTokens(block.token_gram, scale_i2t))
    for direction, own in zip(directions, (flat[1:3], flat[3:5])):
        products, weights, spread, work = map(direction.view, (flat[0], *own, flat[5]))
        torch.mul(products, direction.scale * LOG2_E, out=weights).exp2_()
        weights.div_(weights.sum(direction.axis, keepdim=True))
        dot = torch.mul(weights, products, out=work).sum((0, direction.axis))
        spread = direction.spread(weights, spread)
        squared_norm = torch.mul(weights, spread, out=work).sum((0, direction.axis))
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
    work, grad_products = _carve(buffers, block)[5:]
    grad_products.zero_()
    cosines = (  # the means of _mean_cosine, backwards
        (gradient.similarity.T / (2 * length)).repeat_interleave(length, 0),  # T L x I
        (gradient.similarity.T / (2 * regions)).repeat_interleave(regions, 1),  # T x I R
    )
    gram_gradients = []
    for (direction, products, weights, spread, dot, squared_norm), grad, mix in zip(
        kept, cosines, _mixes(gradient, block)
    ):
        root = _floored(squared_norm).rsqrt()
        grad_dot = grad * root
        grad_norm = -grad_dot * dot * root**2 / 2 * (squared_norm > _floor(squared_norm))
        grad_dot, grad_norm = (x.unsqueeze(0).unsqueeze(direction.axis) for x in (grad_dot, grad_norm))
        weighted = torch.mul(weights, grad_norm, out=direction.view(work))
        gram_gradients.append(direction.gram_gradient(weights, weighted))
        grad_weights = spread.mul_(2 * grad_norm).addcmul_(products, grad_dot)
        if mix is not None:
            direction.view(work).view(heads, texts, length, images, regions).copy_(mix)
            grad_weights.add_(direction.view(work))
        grad_weights.mul_(weights)
        inner = grad_weights.sum(direction.axis, keepdim=True)
        total = direction.view(grad_products)
        total.add_(grad_weights, alpha=direction.scale).addcmul_(weights, grad_dot - direction.scale * inner)
    rows, columns = block.tokens.flatten(1, 2), block.regions.flatten(1, 2)
    grad_tokens = _multiply(grad_products, columns, torch.empty_like(rows), block.dtype)
    grad_regions = _multiply(grad_products.transpose(1, 2), rows, torch.empty_like(columns), block.dtype)
    return (
        grad_regions.view_as(block.regions), gram_gradients[0], grad_tokens.view_as(block.tokens), gram_gradients[1]
    )  # fmt: skip


def _carve(buffers: Tensor, block: Block):
    heads, texts, length, images, regions = block.shape
    size = heads * texts * length * images * regions
    return buffers[:, :size].view(len(buffers), heads, texts * length, images * regions).unbind()


def _mean_cosine(t2i: Tensor, i2t: Tensor, block: Block) -> Tensor:
    """T L x I and T x I R -> I x T."""
    _, texts, length, images, regions = block.shape
    t2i = t2i.view(texts, length, images).mean(1)
    i2t = i2t.view(texts, images, regions).mean(2)
    return ((t2i + i2t) / 2).T


def _mix(weights: Tensor, block: Block, direction) -> Tensor:
    """Attention averaged over what attends: over tokens H x T x I x R, over regions H x T x L x I."""
    return weights.view(block.shape).mean(2 if isinstance(direction, OverRegions) else 4)


def _mixes(gradient: Attention, block: Block):
    """The gradient of each mix for each attention weight, broadcast to H x T x L x I x R."""
    if gradient.region_mix is None:
        return None, None
    _, _, length, _, regions = block.shape
    return (gradient.region_mix / length).unsqueeze(2), (gradient.token_mix / regions).unsqueeze(4)


def _multiply(left: Tensor, right: Tensor, out: Tensor, dtype: torch.dtype) -> Tensor:
    """left @ right in `dtype`, kept in the dtype of `out`."""
    if dtype == out.dtype:
        return torch.bmm(left, right, out=out)
    return out.copy_(torch.bmm(left.to(dtype), right.to(dtype)))


def _floor(squared_norm: Tensor) -> float:
    """Below it a squared norm taken from a Gram matrix is rounding noise."""
    return torch.finfo(squared_norm.dtype).eps


def _floored(squared_norm: Tensor) -> Tensor:
    return squared_norm.clamp_min(_floor(squared_norm))

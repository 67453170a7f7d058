"""Region-word attention for all pairs of a block of images and a block of texts (AsCL section 3; after SCAN).

For a pair, S = V T^T holds the cosines of every region with every token.
    text to image:  alpha = softmax_r(scale_t2i S);  a_l = sum_r alpha_lr V_r;  s_l = cos(T_l, a_l);  mean over tokens
    image to text:  beta  = softmax_l(scale_i2t S);  b_r = sum_l beta_rl T_l;   s_r = cos(V_r, b_r);  mean over regions
No attended vector is built: T_l . a_l = sum_r alpha_lr S_rl and |a_l|^2 = alpha_l^T G alpha_l with G = V V^T, and
likewise for b_r with the tokens' Gram matrix. With several heads the attention runs per head and the cosine over
the joined heads, so numerators and squared norms add up over heads.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

EPSILON = 1e-8


class Attention(NamedTuple):
    """What a block of pairs shares between its local and its global similarity."""

    similarity: Tensor  # N x M, mean of both directions
    region_mix: Tensor  # H x N x R x M, each region's attention averaged over the text's tokens
    token_mix: Tensor  # H x N x M x L, each token's attention averaged over the image's regions


def split_heads(rows: Tensor, heads: int) -> Tensor:
    """B x K x D with unit rows -> H x B x K x D/H."""
    batch, count, width = rows.shape
    return rows.view(batch, count, heads, width // heads).permute(2, 0, 1, 3)


def attend(regions: Tensor, tokens: Tensor, mask: Tensor, scale_t2i: float, scale_i2t: float) -> Attention:
    """Local similarities of N images with M texts.

    Args:
        regions: H x N x R x D/H, unit rows over the joined heads.
        tokens: H x M x L x D/H, unit rows over the joined heads.
        mask: M x L bool.
    """
    heads, images, n_regions, _ = regions.shape
    _, texts, length, _ = tokens.shape
    valid = mask.to(regions.dtype)
    weight = valid / valid.sum(1, keepdim=True).clamp_min(1)  # M x L, sums to 1 over a text's tokens

    products = regions.flatten(1, 2) @ tokens.flatten(1, 2).transpose(1, 2)
    products = products.view(heads, images, n_regions, texts, length)  # H x N x R x M x L

    alpha = torch.softmax(scale_t2i * products, dim=2)
    region_gram = regions @ regions.transpose(2, 3)  # H x N x R x R
    spread = (region_gram @ alpha.flatten(3)).view_as(alpha)
    t2i = _cosine((alpha * products).sum((0, 2)), (alpha * spread).sum((0, 2)))  # N x M x L

    beta = torch.softmax((scale_i2t * products).masked_fill(~mask, torch.finfo(products.dtype).min), dim=4)
    token_gram = tokens @ tokens.transpose(2, 3)  # H x M x L x L
    spread = torch.einsum("hnrml,hmlk->hnrmk", beta, token_gram)
    i2t = _cosine((beta * products).sum((0, 4)), (beta * spread).sum((0, 4)))  # N x R x M

    similarity = ((t2i * weight).sum(2) + i2t.mean(1)) / 2
    return Attention(similarity, torch.einsum("hnrml,ml->hnrm", alpha, weight), beta.mean(2))


def local_similarity(
    regions: Tensor, tokens: Tensor, mask: Tensor, *, heads: int = 1, scale_t2i: float = 9.0, scale_i2t: float = 4.0
) -> Tensor:
    """Local similarity of all pairs, exact.

    Args:
        regions: N x R x D float. Rows are l2-normalised here.
        tokens: M x L x D float. Rows are l2-normalised here.
        mask: M x L bool, True on real tokens; what stands in the padding never changes a score.
        heads: number of attention heads; divides D.
        scale_t2i, scale_i2t: inverse temperatures of the attention over regions and over tokens.
    Returns:
        N x M float32 in [-1, 1].
    Raises:
        ValueError: shapes that do not fit each other, or `heads` that does not divide D.
    """
    check_shapes(regions, tokens, mask, heads)
    regions = split_heads(F.normalize(regions.float(), dim=-1, eps=EPSILON), heads)
    tokens = split_heads(F.normalize(tokens.float(), dim=-1, eps=EPSILON), heads)
    return attend(regions, tokens, mask, scale_t2i, scale_i2t).similarity


def check_shapes(regions: Tensor, tokens: Tensor, mask: Tensor, heads: int) -> None:
    if regions.dim() != 3 or tokens.dim() != 3 or regions.shape[2] != tokens.shape[2]:
        raise ValueError(
            f"expected regions N x R x D and tokens M x L x D, got {tuple(regions.shape)} and {tuple(tokens.shape)}"
        )
    if mask.shape != tokens.shape[:2] or mask.dtype != torch.bool:
        raise ValueError(
            f"expected a bool mask of shape {tuple(tokens.shape[:2])}, got {mask.dtype} {tuple(mask.shape)}"
        )
    if regions.shape[2] % heads:
        raise ValueError(f"heads={heads} does not divide the width {regions.shape[2]}")


def _cosine(dot: Tensor, squared_norm: Tensor) -> Tensor:
    """Cosine of a unit vector with an attended one, from their dot product and the attended one's squared norm."""
    return dot / squared_norm.clamp_min(EPSILON**2).sqrt()

"""What the local similarity of one image and one text is made of, for pictures."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from lavis_asym.fusion.local import EPSILON, split_heads, unit_rows


class Explanation(NamedTuple):
    """Attention is averaged over heads; every row sums to 1."""

    token_attention: Tensor  # L x R: where in the image each token looks
    region_attention: Tensor  # R x L: which tokens each region looks at
    token_similarity: Tensor  # L, cosine of a token with what it sees; their mean is the text-to-image similarity
    region_similarity: Tensor  # R, cosine of a region with what it reads; their mean is the image-to-text similarity


def explain(regions: Tensor, tokens: Tensor, heads: int, scale_t2i: float, scale_i2t: float) -> Explanation:
    """The attention of one pair both ways.

    Args:
        regions: R x D float.
        tokens: L x D float, real tokens alone.
        heads, scale_t2i, scale_i2t: see `local_similarity`.
    """
    regions, tokens = unit_rows(regions), unit_rows(tokens)
    own_regions, own_tokens = split_heads(regions, heads), split_heads(tokens, heads)
    products = own_tokens @ own_regions.transpose(1, 2)  # H x L x R
    alpha = torch.softmax(scale_t2i * products, 2)
    beta = torch.softmax(scale_i2t * products, 1).transpose(1, 2)  # H x R x L
    seen = (alpha @ own_regions).movedim(0, 1).flatten(1)  # L x D
    read = (beta @ own_tokens).movedim(0, 1).flatten(1)  # R x D
    return Explanation(
        alpha.mean(0),
        beta.mean(0),
        F.cosine_similarity(tokens, seen, dim=-1, eps=EPSILON),
        F.cosine_similarity(regions, read, dim=-1, eps=EPSILON),
    )

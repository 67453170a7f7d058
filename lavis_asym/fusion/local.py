"""Local similarity of all image-text pairs: region-word attention both ways (`attention` has the equations)."""

from typing import Optional

import torch
import torch.nn.functional as F
from torch import Tensor

from lavis_asym.fusion.attention import MAX_SCALE
from lavis_asym.fusion.blocks import Features, score_pairs
from lavis_asym.fusion.texts import Packing
from lavis_asym.fusion.tiles import Settings
from lavis_asym.fusion.uncompiled import uncompiled

EPSILON = 1e-8


@uncompiled
def local_similarity(
    regions: Tensor,
    tokens: Tensor,
    mask: Tensor,
    *,
    heads: int = 1,
    scale_t2i: float = 9.0,
    scale_i2t: float = 4.0,
    memory_bytes: Optional[int] = None,
) -> Tensor:
    """Local similarity of all pairs, exact; a differentiable function of regions and tokens.

    Args:
        regions: N x R x D float. Rows are l2-normalised here.
        tokens: M x L x D float. Rows are l2-normalised here.
        mask: M x L bool, True on real tokens; what stands in the padding never changes a score.
        heads: number of attention heads; divides D.
        scale_t2i, scale_i2t: inverse temperatures of the attention over regions and over tokens, in [0, 30].
        memory_bytes: what the intermediate values may take. None: 128 MiB on the CPU, 1 GiB elsewhere.
    Returns:
        N x M in [-1, 1], float32 (float64 if the features are); 0 for a text without tokens.
    Raises:
        ValueError: shapes that do not fit each other, `heads` that does not divide D, a scale out of range.
    """
    check_regions(regions)
    check_texts(tokens, mask, regions.shape[2])
    check_heads(regions.shape[2], heads)
    check_scales(scale_t2i, scale_i2t)
    dtype = product_dtype(regions)
    with torch.autocast(regions.device.type, enabled=False):
        packing = Packing.of(mask)
        rows = unit_rows(packing.pack(tokens)).unflatten(1, (heads, -1))
        features = Features(split_heads(unit_rows(regions), heads), rows)
        scores = score_pairs(features, packing.lengths, Settings(scale_t2i, scale_i2t, memory_bytes, dtype))
        return packing.restore(scores)


def split_heads(rows: Tensor, heads: int) -> Tensor:
    """... x D -> H x ... x D/H"""
    return rows.unflatten(-1, (heads, -1)).movedim(-2, 0).contiguous()


def unit_rows(rows: Tensor) -> Tensor:
    """l2-normalised over the last dimension, in float32 at least."""
    if rows.dtype in (torch.float16, torch.bfloat16):
        rows = rows.float()
    return F.normalize(rows, dim=-1, eps=EPSILON)


def product_dtype(features: Tensor) -> torch.dtype:
    """The dtype of a matrix product of such features here: theirs or that of autocast, float32 for half features."""
    row = features.new_zeros(1, 1, dtype=torch.promote_types(features.dtype, torch.float32))
    return (row @ row).dtype


def check_regions(regions: Tensor, width: Optional[int] = None) -> None:
    """Raise ValueError unless they are N x R x D, with D = `width` where one is given."""
    if regions.dim() != 3 or not regions.shape[1] or regions.shape[2] != (width or regions.shape[2]):
        raise ValueError(f"expected regions N x R x {width or 'D'}, R > 0, got {tuple(regions.shape)}")


def check_texts(tokens: Tensor, mask: Tensor, width: int) -> None:
    """Raise ValueError unless they are M x L x `width` and M x L bool."""
    if tokens.dim() != 3 or tokens.shape[2] != width:
        raise ValueError(f"expected tokens M x L x {width}, got {tuple(tokens.shape)}")
    if mask.shape != tokens.shape[:2] or mask.dtype != torch.bool:
        raise ValueError(
            f"expected a bool mask of shape {tuple(tokens.shape[:2])}, got {mask.dtype} {tuple(mask.shape)}"
        )


def check_heads(width: int, heads: int) -> None:
    """Raise ValueError unless `heads` divides the width."""
    if heads < 1 or width % heads:
        raise ValueError(f"heads={heads} does not divide the width {width}")


def check_scales(scale_t2i: float, scale_i2t: float) -> None:
    """Raise ValueError for a scale out of [0, 30]."""
    for name, scale in (("scale_t2i", scale_t2i), ("scale_i2t", scale_i2t)):
        if not 0 <= scale <= MAX_SCALE:
            raise ValueError(f"{name} must lie in [0, {MAX_SCALE:g}], got {scale}")

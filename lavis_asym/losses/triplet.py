"""Hinge loss on the hardest negative (VSE++, arXiv 1707.05612), a baseline.

For a positive pair p of a row, the hinges over its negatives n are [margin - s_p + s_n]_+. Training on the hardest one
from the start can collapse, so a warm-up begins with their mean: hardness 0 is the mean, 1 the maximum.
"""

from typing import Optional

from torch import Tensor

from lavis_asym.losses.contrastive import at_least_float32, pairs


def triplet_loss(
    scores: Tensor,
    image_ids: Tensor,
    text_ids: Tensor,
    known: Optional[Tensor] = None,
    *,
    margin: float = 0.2,
    hardness: float = 1.0,
) -> Tensor:
    """Mean of the image-to-text and the text-to-image hinge loss over a batch.

    Args:
        scores, image_ids, text_ids, known: see `contrastive_loss`; generated negatives take part as there.
        margin: > 0.
        hardness: in [0, 1], the share of the hardest negative; see `warm_up`.
    Returns:
        A scalar >= 0.
    Raises:
        ValueError: a margin or hardness out of its range, or ids and shapes as `contrastive_loss`.
    """
    if not (margin > 0 and 0 <= hardness <= 1):
        raise ValueError(f"expected margin > 0 and hardness in [0, 1], got {margin} and {hardness}")
    scores = at_least_float32(scores)
    positive, negative, owned = pairs(scores, image_ids, text_ids, known)
    i2t = _hinges(scores, positive, negative, margin, hardness)
    t2i = _hinges(scores[:, owned].T, positive[:, owned].T, negative[:, owned].T, margin, hardness)
    return (i2t + t2i) / 2


def warm_up(step: int, steps: float) -> float:
    """Hardness at a step: rises linearly from 0 to 1 over the first `steps` steps."""
    return 1.0 if step >= steps else step / steps


def _hinges(scores: Tensor, positive: Tensor, negative: Tensor, margin: float, hardness: float) -> Tensor:
    """Mean over the positive pairs. `row` and `column` index them, so memory grows with pairs x columns."""
    row, column = positive.nonzero(as_tuple=True)
    hinges = (margin - scores[row, column, None] + scores[row]).clamp_min(0) * negative[row]  # P x M
    mean = hinges.sum(1) / negative[row].sum(1).clamp_min(1)
    return ((1 - hardness) * mean + hardness * hinges.amax(1)).mean()

"""L_AsCL = w L(I, T, T-) + (1 - w) L(I, T+, its T-), AsCL section 3 (arXiv 2405.10029)."""

from typing import Dict, Optional, Tuple, Union

import torch
from torch import Tensor

from lavis_asym.losses.contrastive import contrastive_loss


def ascl_loss(
    caption: Tuple[Tensor, Tensor, Optional[Tensor]],
    positive: Optional[Tuple[Tensor, Tensor, Optional[Tensor]]],
    image_ids: Tensor,
    *,
    temperature: Union[float, Tensor] = 0.05,
    caption_weight: float = 0.5,
    siblings: str = "masked",
    outranking: str = "keep",
) -> Dict[str, Tensor]:
    """The objective on a batch of N images.

    Args:
        caption: scores N x M of the captions T and their generated negatives T-, text ids M, known N x M or None
            (see `contrastive_loss`).
        positive: the same for the generated positives T+ and their own negatives; None trains on the captions alone.
        image_ids: N int.
        caption_weight: w in [0, 1].
        temperature, siblings, outranking: see `contrastive_loss`.
    Returns:
        `loss_caption` = w L(I, T, T-), `loss_positive` = (1 - w) L(I, T+, T-), and `loss`, their sum.
    Raises:
        ValueError: a weight out of [0, 1], or as `contrastive_loss`.
    """
    if not 0 <= caption_weight <= 1:
        raise ValueError(f"caption_weight must lie in [0, 1], got {caption_weight}")
    terms = {"loss_caption": (caption, 1.0 if positive is None else caption_weight)}
    if positive is not None:
        terms["loss_positive"] = (positive, 1 - caption_weight)
    policies = {"siblings": siblings, "outranking": outranking}
    losses = {
        name: weight * contrastive_loss(scores, image_ids, text_ids, known, temperature, **policies)
        for name, ((scores, text_ids, known), weight) in terms.items()
    }
    return {**losses, "loss": torch.stack(list(losses.values())).sum()}

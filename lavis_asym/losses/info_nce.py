"""InfoNCE as in CLIP (arXiv 2103.00020), a baseline: in-batch negatives alone, generated ones left out."""

from typing import Optional, Union

from torch import Tensor

from lavis_asym.losses.contrastive import GENERATED_NEGATIVE, contrastive_loss


def info_nce_loss(
    scores: Tensor,
    image_ids: Tensor,
    text_ids: Tensor,
    known: Optional[Tensor] = None,
    temperature: Union[float, Tensor] = 0.05,
    *,
    siblings: str = "masked",
) -> Tensor:
    """Mean of both cross-entropies over the captions of a batch; arguments and result as in `contrastive_loss`."""
    owned = text_ids != GENERATED_NEGATIVE
    known = None if known is None else known[:, owned]
    return contrastive_loss(scores[:, owned], image_ids, text_ids[owned], known, temperature, siblings=siblings)

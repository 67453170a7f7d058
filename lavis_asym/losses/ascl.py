"""L_AsCL = w L(I, T, T-) + (1 - w) L(I, T+, its T-), AsCL section 3 (arXiv 2405.10029).

Identity comes in as ids, never as the diagonal: a text's id is the id of the image it was made for, and -1 for a
generated negative, which belongs to no image.
"""

from typing import Dict, Optional, Tuple, Union

import torch
import torch.nn.functional as F
from torch import Tensor

GENERATED_NEGATIVE = -1


def contrastive_loss(
    scores: Tensor,
    image_ids: Tensor,
    text_ids: Tensor,
    known: Optional[Tensor] = None,
    temperature: Union[float, Tensor] = 0.05,
) -> Tensor:
    """Mean of the image-to-text and the text-to-image cross-entropy over a batch (InfoNCE with ids).

    Each pair of one id is a positive and is set against its row's (or column's) negatives only, so two texts of one
    image never compete. Generated negatives are columns of the image-to-text part and have no text-to-image part.

    Args:
        scores: N x M similarities.
        image_ids: N int. Every image needs a text of its id.
        text_ids: M int, GENERATED_NEGATIVE (-1) where the text is a generated negative.
        known: N x M bool, True where the text is known to be true of the image although made for another one (an
            identical caption, say): such a pair is neither positive nor negative.
        temperature: > 0.
    Returns:
        A scalar >= 0.
    """
    positive = image_ids[:, None] == text_ids[None, :]
    negative = ~positive if known is None else ~(positive | known)
    logits = scores.float() / temperature
    owned = text_ids != GENERATED_NEGATIVE
    i2t = _mean_over_rows(logits, positive, negative)
    t2i = _mean_over_rows(logits[:, owned].T, positive[:, owned].T, negative[:, owned].T)
    return (i2t + t2i) / 2


def _mean_over_rows(logits: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
    """Mean over rows of the mean over the row's positives p of log(1 + sum_negatives exp(s_n - s_p))."""
    against = logits.masked_fill(~negative, torch.finfo(logits.dtype).min).logsumexp(1, keepdim=True)
    losses = F.softplus(against - logits) * positive
    return (losses.sum(1) / positive.sum(1).clamp_min(1)).mean()


def ascl_loss(
    caption: Tuple[Tensor, Tensor, Optional[Tensor]],
    positive: Optional[Tuple[Tensor, Tensor, Optional[Tensor]]],
    image_ids: Tensor,
    *,
    temperature: Union[float, Tensor] = 0.05,
    caption_weight: float = 0.5,
) -> Dict[str, Tensor]:
    """The objective on a batch of N images.

    Args:
        caption: scores N x M of the captions T and their generated negatives T-, text ids M, known N x M or None
            (see `contrastive_loss`).
        positive: the same for the generated positives T+ and their own negatives; None trains on the captions alone.
        image_ids: N int.
        caption_weight: w in [0, 1].
    Returns:
        `loss_caption` = w L(I, T, T-), `loss_positive` = (1 - w) L(I, T+, T-), and `loss`, their sum.
    """
    terms = {"loss_caption": (caption, 1.0 if positive is None else caption_weight)}
    if positive is not None:
        terms["loss_positive"] = (positive, 1 - caption_weight)
    losses = {
        name: weight * contrastive_loss(scores, image_ids, text_ids, known, temperature)
        for name, ((scores, text_ids, known), weight) in terms.items()
    }
    return {**losses, "loss": torch.stack(list(losses.values())).sum()}

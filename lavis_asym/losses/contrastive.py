"""L(I, T) of AsCL: image-to-text and text-to-image cross-entropy over a batch (arXiv 2405.10029, section 3).

Identity comes in as ids, never as the diagonal: a text's id is the id of the image it was made for, and -1 for a
generated negative, which belongs to no image.
"""

from typing import Optional, Tuple, Union

import torch
import torch.nn.functional as F
from torch import Tensor

GENERATED_NEGATIVE = -1
SIBLINGS = ("masked", "soft")
OUTRANKING = ("keep", "zero", "drop")


def contrastive_loss(
    scores: Tensor,
    image_ids: Tensor,
    text_ids: Tensor,
    known: Optional[Tensor] = None,
    temperature: Union[float, Tensor] = 0.05,
    *,
    siblings: str = "masked",
    outranking: str = "keep",
) -> Tensor:
    """Mean of the image-to-text and the text-to-image cross-entropy over a batch (InfoNCE with ids).

    Generated negatives are columns of the image-to-text part and have no text-to-image part.

    Args:
        scores: N x M similarities.
        image_ids: N int. Every image needs a text of its id.
        text_ids: M int, GENERATED_NEGATIVE (-1) where the text is a generated negative.
        known: N x M bool, True where the text is known to be true of the image although made for another one (an
            identical caption, say): such a pair is neither positive nor negative. Equal ids stay positives.
        temperature: > 0.
        siblings: several texts of one image (or images of one id) in a batch. "masked": each is a positive against the
            negatives alone, so they never compete. "soft": they share one softmax, the target spread evenly over them.
        outranking: a generated negative that scores above all positives of its row may be true of the image after
            all. "keep" it; "zero" sets its similarity to 0, as the authors do; "drop" leaves it out.
    Returns:
        A scalar >= 0.
    Raises:
        ValueError: an unknown policy, a temperature that is not positive, shapes that do not fit each other, an image
            without a text.
    """
    for name, given, expected in (("siblings", siblings, SIBLINGS), ("outranking", outranking, OUTRANKING)):
        if given not in expected:
            raise ValueError(f"{name} must be one of {expected}, got {given!r}")
    if not isinstance(temperature, Tensor) and not temperature > 0:
        raise ValueError(f"temperature must be positive, got {temperature}")
    scores = at_least_float32(scores)
    positive, negative, owned = pairs(scores, image_ids, text_ids, known)
    if outranking != "keep":
        best = scores.masked_fill(~positive, torch.finfo(scores.dtype).min).amax(1, keepdim=True)
        outranks = (scores > best) & ~owned & negative
        if outranking == "zero":
            scores = scores.masked_fill(outranks, 0)
        else:
            negative = negative & ~outranks
    row_loss = _masked if siblings == "masked" else _soft
    logits = scores / temperature
    i2t = row_loss(logits, positive, negative)
    t2i = row_loss(logits[:, owned].T, positive[:, owned].T, negative[:, owned].T)
    return (i2t + t2i) / 2


def pairs(
    scores: Tensor, image_ids: Tensor, text_ids: Tensor, known: Optional[Tensor]
) -> Tuple[Tensor, Tensor, Tensor]:
    """Positive and negative pairs, N x M bool each, and the M texts that are no generated negatives.

    Raises:
        ValueError: shapes that do not fit each other, no image, or an image without a text.
    """
    for name, given in (("known", known), ("scores", scores)):
        if given is not None and given.shape != (*image_ids.shape, *text_ids.shape):
            raise ValueError(
                f"expected image_ids N, text_ids M and {name} N x M, got {tuple(image_ids.shape)}, "
                f"{tuple(text_ids.shape)} and {tuple(given.shape)}"
            )
    owned = text_ids != GENERATED_NEGATIVE
    positive = (image_ids[:, None] == text_ids[None, :]) & owned
    alone = ~positive.any(1)
    if not len(image_ids) or alone.any():
        raise ValueError(
            f"every image needs a text of its id; without one are {image_ids[alone][:5].tolist() or 'all'}"
        )
    return positive, ~positive if known is None else ~(positive | known), owned


def at_least_float32(scores: Tensor) -> Tensor:
    return scores.float() if scores.dtype in (torch.float16, torch.bfloat16) else scores


def _masked(logits: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
    """Mean over rows of the mean over the row's positives p of log(1 + sum_negatives exp(s_n - s_p))."""
    against = logits.masked_fill(~negative, torch.finfo(logits.dtype).min).logsumexp(1, keepdim=True)
    return _mean_over_positives(F.softplus(against - logits), positive)


def _soft(logits: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
    """Mean over rows of the cross-entropy with targets 1/P on the row's P positives."""
    total = logits.masked_fill(~(positive | negative), torch.finfo(logits.dtype).min).logsumexp(1, keepdim=True)
    return _mean_over_positives(total - logits, positive)


def _mean_over_positives(losses: Tensor, positive: Tensor) -> Tensor:
    return ((losses * positive).sum(1) / positive.sum(1).clamp_min(1)).mean()

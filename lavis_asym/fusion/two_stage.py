"""Large galleries in two stages: a first ranking by a product of query-independent vectors, exact scores for its best.

The first score of a pair is the head's own score with both attention scales at zero. Attention is then uniform, so
a_l = Vbar = mean_r V_r and b_r = Tbar = mean_l T_l, whatever the pair, and the score is an inner product of two keys:
    S_local = (<Tbar, Vbar / |Vbar|> + <Vbar, Tbar / |Tbar|>) / 2,   S_global = <f_v, f_t> with c = U Vbar, b = Tbar.
Each image's best k texts and each text's best k images are then scored exactly, matching and non-matching pairs alike.
"""

from typing import Tuple

import torch
import torch.nn.functional as F
from torch import Tensor

from lavis_asym.fusion.head import HierarchicalFusion, PreparedImages, PreparedTexts
from lavis_asym.fusion.joint import fuse
from lavis_asym.fusion.texts import runs

BELOW_EXACT = 4.0  # taken off first scores: scores lie in [-1, 1], so every exact one ranks above


@torch.no_grad()
def two_stage_scores(
    fusion: HierarchicalFusion, images: PreparedImages, texts: PreparedTexts, k: int
) -> Tuple[Tensor, Tensor]:
    """Scores whose rows and columns rank the best k exactly, and the rest behind them by their first score.

    Args:
        images, texts: of `fusion.prepare_images` and `fusion.prepare_texts`.
        k: candidates of each query. 0, or at least as many as there are images or texts: all pairs exactly.
    Returns:
        N x M scores, and N x M bool, True where they are exact; the others are the first scores less 4.
    Raises:
        ValueError: a negative k.
    """
    if k < 0:
        raise ValueError(f"k must be 0 (exact) or the number of candidates, got {k}")
    count = (images.regions.shape[1], len(texts.lengths))
    if k == 0 or k >= min(count):
        return fusion.score(images, texts), torch.ones(count, dtype=torch.bool, device=images.regions.device)
    scores = first_scores(image_keys(fusion, images), text_keys(texts))
    exact = candidates(scores, k)
    score_candidates(fusion, images, texts, exact, scores)
    back = texts.order.argsort()
    return scores[:, back], exact[:, back]


def first_scores(image_keys: Tensor, text_keys: Tensor) -> Tensor:
    """N x M, in the dtype of the keys, under autocast too."""
    with torch.autocast(image_keys.device.type, enabled=False):
        return image_keys @ text_keys.T


def candidates(first: Tensor, k: int) -> Tensor:
    """N x M bool: the best k texts of each image and the best k images of each text, by `first_scores`."""
    first = first.nan_to_num(nan=-torch.inf)  # topk takes NaN for the largest
    exact = torch.zeros_like(first, dtype=torch.bool)
    exact.scatter_(1, first.topk(k, dim=1).indices, True)
    return exact.scatter_(0, first.topk(k, dim=0).indices, True)


def score_candidates(
    fusion: HierarchicalFusion, images: PreparedImages, texts: PreparedTexts, exact: Tensor, scores: Tensor
) -> None:
    """Turn first scores (N x M, columns in packed order) into those of two stages, in place."""
    scores -= BELOW_EXACT
    lengths = torch.tensor(texts.lengths, device=exact.device)
    room = texts.room_for(max(int(lengths[own].sum()) for own in exact))
    for image, own in enumerate(exact):
        places = own.nonzero().squeeze(1)
        found = fusion.score(images.select(slice(image, image + 1)), texts.select(places, room))
        scores[image, places] = found[0]


def image_keys(fusion: HierarchicalFusion, images: PreparedImages) -> Tensor:
    """N x 2D, or N x 3D with a global part: what an image brings to all first scores."""
    mean = images.regions.mean(2).movedim(0, 1).flatten(1)
    local = torch.cat([F.normalize(mean, dim=-1), mean], 1) / 2
    if not images.parts:
        return local
    vectors, rows, *gate = images.parts
    fused = fuse(vectors, rows.mean(1).sum(1), *gate)
    weight = fusion.local_weight
    return torch.cat([weight * local, (1 - weight) * F.normalize(fused, dim=-1)], 1)


def text_keys(texts: PreparedTexts) -> Tensor:
    """M x 2D, or M x 3D with a global part, in packed order; 0 for a text without tokens."""
    tokens = _means(texts.tokens.flatten(1), texts)
    keys = [tokens, F.normalize(tokens, dim=-1)]
    if texts.rows is not None:
        keys.append(F.normalize(_means(texts.rows.sum(1), texts), dim=-1))
    return torch.cat(keys, 1)


def global_vectors(fusion: HierarchicalFusion, image_keys: Tensor, text_keys: Tensor) -> Tuple[Tensor, Tensor]:
    """N x D and M x D: f_v and f_t with attention scales at zero; mean regions and tokens if there is no global part.

    Args:
        image_keys, text_keys: of the functions above.
    """
    width = fusion.width
    own = slice(0, width) if fusion.image_context is None else slice(-width, None)
    return image_keys[:, own], text_keys[:, -width:]


def _means(rows: Tensor, texts: PreparedTexts) -> Tensor:
    """K x D -> M x D: the mean over each text's tokens."""
    means = rows.new_zeros(len(texts.lengths), rows.shape[1])
    for run in runs(texts.lengths):
        means[run.texts] = rows[run.tokens].unflatten(0, (-1, run.length)).mean(1)
    return means

"""Retrieval metrics both ways under LAVIS's names.

`txt_*` are the texts found for an image (image to text), `img_*` the images found for a text. Ties and NaN count
against the model unless `ties="expected"` is asked for: `evaluation.ranks` states the rule.
"""

from typing import Dict, List, Mapping, Sequence, Union

import numpy as np

from lavis_asym.evaluation.ranks import Ranks, rank_both
from lavis_asym.evaluation.truth import Truth

RECALLS_AT = (1, 5, 10)
SIDES = ("txt", "img")


def retrieval_metrics(
    scores_i2t: np.ndarray,
    scores_t2i: np.ndarray,
    txt2img: Union[Mapping[int, int], Sequence[int]],
    img2txt: Union[Mapping[int, List[int]], Sequence[List[int]]],
    ties: str = "against",
) -> Dict[str, float]:
    """Retrieval metrics in percent.

    Args:
        scores_i2t: N x M, images as queries: of `txt_*`.
        scores_t2i: M x N, texts as queries: of `img_*`. The transposed view `scores_i2t.T` costs nothing.
        txt2img: text index -> index of its image.
        img2txt: image index -> indices of its texts, any number >= 1.
        ties: `against` the model: wrong candidates stand before right ones of the same score; `expected`: equal
            candidates stand in random order. In both a wrong NaN stands first and a right NaN last.
    Returns:
        LAVIS's `txt_r1 txt_r5 txt_r10 txt_r_mean img_r1 ... img_r_mean r_mean`, and `rsum` (sum of the six recalls),
        `txt_medr`, `img_medr` (median rank, 1 is best), `txt_meanr`, `img_meanr` (mean rank) and `agg_metrics`, which
        selects the best epoch: the `rsum`.
    Raises:
        ValueError: shapes or maps that contradict each other, an image without a text, unknown `ties`.
    """
    check_shapes(scores_i2t, scores_t2i)
    truth = Truth.from_maps(txt2img, img2txt)
    return metrics_of_ranks(*rank_both(scores_i2t, scores_t2i, truth, ties_apart=ties != "against"), ties)


def check_shapes(scores_i2t: np.ndarray, scores_t2i: np.ndarray) -> None:
    images, texts = scores_i2t.shape
    if scores_t2i.shape != (texts, images):
        raise ValueError(f"scores_i2t is {images} x {texts}, so scores_t2i must be {texts} x {images}, "
                         f"not {' x '.join(map(str, scores_t2i.shape))}")  # fmt: skip


def metrics_of_ranks(i2t: Ranks, t2i: Ranks, ties: str = "against") -> Dict[str, float]:
    """The figures of `retrieval_metrics` from the ranks of images and of texts as queries."""
    figures = {}
    for side, ranks in zip(SIDES, (i2t, t2i)):
        rank = ranks.rank(ties)
        figures.update({f"{side}_r{k}": 100.0 * float(ranks.hits(k, ties).sum()) / len(rank) for k in RECALLS_AT})
        figures[f"{side}_medr"] = float(np.median(rank)) + 1
        figures[f"{side}_meanr"] = float(rank.mean()) + 1
    return with_means(figures)


def with_means(figures: Dict) -> Dict:
    """The figures with those that follow from the six recalls; numbers, or arrays of one shape."""
    recalls = {side: [figures[f"{side}_r{k}"] for k in RECALLS_AT] for side in SIDES}
    means = {f"{side}_r_mean": sum(values) / len(values) for side, values in recalls.items()}
    rsum = sum(recalls["txt"] + recalls["img"])
    r_mean = (means["txt_r_mean"] + means["img_r_mean"]) / 2
    return {**figures, **means, "r_mean": r_mean, "rsum": rsum, "agg_metrics": rsum}


def recall_table(metrics: Mapping[str, float]) -> str:
    """The metrics as the field prints them, one row a direction."""
    lines = ["                 R@1    R@5   R@10   mean   MedR  MeanR"]
    for title, side in (("image to text", "txt"), ("text to image", "img")):
        values = [metrics[f"{side}_{name}"] for name in ("r1", "r5", "r10", "r_mean", "medr", "meanr")]
        lines.append(f"{title:<13}" + "".join(f"{value:7.1f}" for value in values))
    lines.append(f"mean recall {metrics['r_mean']:.2f}   rSum {metrics['rsum']:.1f}")
    return "\n".join(lines)

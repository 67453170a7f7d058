"""Recalls both ways under LAVIS's names, with ties and NaN counted against the model.

The rank of a query is the number of wrong candidates that score at least as high as its best right candidate. A wrong
candidate with a NaN score counts as highest, a right one as lowest: a constant or an all-NaN matrix ranks last.
"""

from typing import Dict, List, Mapping, Sequence, Union

import numpy as np

ROWS_AT_ONCE = 256
RECALLS_AT = (1, 5, 10)


def ranks_against_ties(scores: np.ndarray, right: Sequence[Sequence[int]]) -> np.ndarray:
    """Rank of the best right candidate of each query, 0 is first.

    Args:
        scores: Q x C, higher is better.
        right: for each query the indices of its right candidates, at least one.
    Returns:
        Q int64 in [0, C - number of right candidates].
    Raises:
        ValueError: a query without a right candidate, or another number of queries than rows.
    """
    if len(right) != len(scores):
        raise ValueError(f"{len(scores)} rows of scores but right candidates for {len(right)} queries")
    ranks = np.empty(len(scores), dtype=np.int64)
    for start in range(0, len(scores), ROWS_AT_ONCE):
        block = np.array(scores[start : start + ROWS_AT_ONCE], dtype=np.float64)
        rows = right[start : start + ROWS_AT_ONCE]
        counts = np.array([len(r) for r in rows])
        if not counts.all():
            raise ValueError(f"query {start + int(counts.argmin())} has no right candidate")
        row = np.repeat(np.arange(len(rows)), counts)
        column = np.concatenate([np.asarray(r, dtype=np.int64) for r in rows])
        own = np.where(np.isnan(block[row, column]), -np.inf, block[row, column])
        best = np.full(len(rows), -np.inf)
        np.maximum.at(best, row, own)
        at_least = np.isnan(block) | (block >= best[:, None])
        at_least[row, column] = False
        ranks[start : start + ROWS_AT_ONCE] = at_least.sum(1)
    return ranks


def retrieval_metrics(
    scores_i2t: np.ndarray,
    scores_t2i: np.ndarray,
    txt2img: Union[Mapping[int, int], Sequence[int]],
    img2txt: Union[Mapping[int, List[int]], Sequence[List[int]]],
) -> Dict[str, float]:
    """Retrieval metrics in percent; ties and NaN against the model.

    Args:
        scores_i2t: N x M, images as queries. `txt_*` are computed from it: the texts found for an image.
        scores_t2i: M x N, texts as queries. `img_*` are computed from it: the images found for a text.
        txt2img: text index -> index of its image.
        img2txt: image index -> indices of its texts, any number >= 1.
    Returns:
        LAVIS's `txt_r1 txt_r5 txt_r10 txt_r_mean img_r1 ... img_r_mean r_mean`, and `rsum` (sum of the six recalls),
        `txt_medr`, `img_medr` (median rank, 1 is best) and `agg_metrics`, which selects the best epoch: the `rsum`.
    """
    images, texts = scores_i2t.shape
    if scores_t2i.shape != (texts, images):
        raise ValueError(f"scores_i2t is {images} x {texts}, so scores_t2i must be {texts} x {images}, "
                         f"not {' x '.join(map(str, scores_t2i.shape))}")  # fmt: skip
    ranks = {
        "txt": ranks_against_ties(scores_i2t, [img2txt[i] for i in range(images)]),
        "img": ranks_against_ties(scores_t2i, [[txt2img[t]] for t in range(texts)]),
    }
    result = {}
    for side, rank in ranks.items():
        recalls = {f"{side}_r{k}": 100.0 * float((rank < k).mean()) for k in RECALLS_AT}
        result.update(recalls)
        result[f"{side}_r_mean"] = sum(recalls.values()) / len(recalls)
    result["r_mean"] = (result["txt_r_mean"] + result["img_r_mean"]) / 2
    result["rsum"] = sum(result[f"{side}_r{k}"] for side in ranks for k in RECALLS_AT)
    result.update({f"{side}_medr": float(np.median(rank)) + 1 for side, rank in ranks.items()})
    result["agg_metrics"] = result["rsum"]
    return result


def recall_table(metrics: Mapping[str, float]) -> str:
    """The metrics as the field prints them, one row a direction."""
    lines = ["                 R@1    R@5   R@10   mean   MedR"]
    for title, side in (("image to text", "txt"), ("text to image", "img")):
        values = [metrics[f"{side}_r{k}"] for k in RECALLS_AT] + [metrics[f"{side}_r_mean"], metrics[f"{side}_medr"]]
        lines.append(f"{title:<13}" + "".join(f"{value:7.1f}" for value in values))
    lines.append(f"mean recall {metrics['r_mean']:.2f}   rSum {metrics['rsum']:.1f}")
    return "\n".join(lines)

"""ECCV Caption and CxC: COCO 5K with the matches its annotation misses, through the `eccv_caption` package.

COCO's test split counts one image as right for a caption; people and machines found 8.5 times as many (Chun et al.,
ECCV 2022). The package brings their judgements, those of CxC (Parekh et al. 2021) and COCO's own, with its metrics:
mAP@R, R-precision and R@1 of ECCV Caption; R@1, 5, 10 of CxC, COCO 5K and COCO 1K.

Two things the package leaves to its caller. It takes rankings, so ties are decided here: against the model, as in
`evaluation.ranks`. And COCO 1K filters each ranking to a fifth of the gallery, so a ranking cut at k fails (issue #2 of
eccv-caption), while whole rankings are 250 million Python integers. Here a ranking is its first places, followed by the
first of the query's own fold that these leave out: all that the metrics look at.
"""

import warnings
from typing import Any, Dict, List, Sequence

import numpy as np

from lavis_asym.evaluation.metrics import RECALLS_AT
from lavis_asym.evaluation.top import first_places, ranked_by

EXTRA = 'pip install "lavis-asym[eccv]"'
TARGETS = ("eccv_map_at_r", "eccv_rprecision", "eccv_r1", "cxc_recalls", "coco_5k_recalls", "coco_1k_recalls")
BENCHMARKS = ("coco_gts", "cxc_gts", "eccv_gts")


def eccv_metrics(
    scores_i2t: np.ndarray, scores_t2i: np.ndarray, image_ids: Sequence[int], text_ids: Sequence[int]
) -> Dict[str, Dict[str, float]]:
    """The "eccv" section of a result, in percent.

    Args:
        scores_i2t, scores_t2i: N x M and M x N, higher is better. A wrong NaN counts as highest, a right one as lowest.
        image_ids: the N images' COCO ids.
        text_ids: the M captions' ids in COCO's annotations. What is not of the 5,000 images and 25,000 captions that
            the package knows is left out, such as the last ten of Karpathy's 25,010: the gallery of its published
            figures.
    Returns:
        For `eccv_map_at_r eccv_rprecision eccv_r1 cxc_r1 cxc_r5 cxc_r10 coco_5k_r1 ... coco_1k_r10`: `i2t` and `t2i`.
    Raises:
        ImportError: the package is not installed.
        ValueError: ids that are not whole numbers, are repeated, do not fit the scores or do not hold COCO's test
            split.
    """
    package = _package()
    images, texts = _ids("image", image_ids, scores_i2t.shape[0]), _ids("text", text_ids, scores_i2t.shape[1])
    if scores_t2i.shape != scores_i2t.shape[::-1]:
        raise ValueError(f"scores_i2t is {scores_i2t.shape}, so scores_t2i must be {scores_i2t.shape[::-1]}, "
                         f"not {scores_t2i.shape}")  # fmt: skip
    coco = package.coco_gts
    for kind, ids, needed in (("images", images, coco["i2t"]), ("captions", texts, coco["t2i"])):
        missing = set(needed) - set(ids.tolist())
        if missing:
            raise ValueError(f"{len(missing)} of the {len(needed)} {kind} of COCO's Karpathy test split are not among "
                             f"the {len(ids)} evaluated, e.g. {min(missing)}: ECCV Caption needs all")  # fmt: skip
    fold_of_text = {int(t): 5 * place // len(package.coco_ids) for place, t in enumerate(package.coco_ids)}
    fold_of_image = {image: fold_of_text[of_image[0]] for image, of_image in coco["i2t"].items()}
    found = {
        "i2t": _rankings(package, "i2t", scores_i2t, images, texts, fold_of_image, fold_of_text),
        "t2i": _rankings(package, "t2i", scores_t2i, texts, images, fold_of_text, fold_of_image),
    }
    scores = package.compute_all_metrics(found["i2t"], found["t2i"], target_metrics=TARGETS, Ks=RECALLS_AT)
    return {name: {way: 100 * float(value) for way, value in both.items()} for name, both in scores.items()}


def _package() -> Any:
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "failed to import `ujson`")
            from eccv_caption import Metrics
    except ImportError as error:
        raise ImportError(f"ECCV Caption and CxC need the package eccv_caption: {EXTRA}") from error
    return Metrics()


def _ids(kind: str, ids: Sequence[int], count: int) -> np.ndarray:
    """COCO ids as int64."""
    ids = np.asarray(ids)
    if ids.dtype.kind not in "iu":
        raise ValueError(f"{kind} ids are {ids.dtype}, expected whole numbers: those of COCO's annotations")
    if len(ids) != count or len(np.unique(ids)) != count:
        raise ValueError(f"{len(ids)} {kind} ids, {len(np.unique(ids))} distinct, for scores of {count} {kind}s")
    return ids.astype(np.int64)


def _rankings(
    package: Any,
    way: str,
    scores: np.ndarray,
    query_ids: np.ndarray,
    candidate_ids: np.ndarray,
    fold_of_query: Dict[int, int],
    fold_of_candidate: Dict[int, int],
) -> Dict[int, List[int]]:
    """For each query that the package knows, the ids of its best candidates: the first places, then its fold's."""
    known = np.array([i in fold_of_candidate for i in candidate_ids.tolist()])
    candidates = candidate_ids[known]
    place = {candidate: number for number, candidate in enumerate(candidates.tolist())}
    folds = np.array([fold_of_candidate[i] for i in place])
    truths = [getattr(package, benchmark)[way] for benchmark in BENCHMARKS]
    deepest = max([RECALLS_AT[-1]] + [len(right) for truth in truths for right in truth.values()])
    rankings = {}
    for row, query in zip(scores, query_ids.tolist()):
        if query not in fold_of_query:
            continue
        right = np.zeros(len(candidates), dtype=bool)
        right[[place[i] for truth in truths for i in truth.get(query, ()) if i in place]] = True
        values = ranked_by(row[known], right)
        own_fold = np.flatnonzero(folds == fold_of_query[query])
        first = first_places(values, right, deepest)
        of_fold = own_fold[first_places(values[own_fold], right[own_fold], RECALLS_AT[-1])]
        rankings[query] = candidates[np.concatenate([first, of_fold[~np.isin(of_fold, first)]])].tolist()
    return rankings

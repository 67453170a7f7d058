"""How far a figure may be chance: bootstrap intervals, and a paired test of two runs over the same queries.

Images are drawn with replacement, each together with all its texts (the cluster bootstrap). The queries of one image
are not independent: its texts look for the same photo, and a photo that is easy or odd moves them all. Drawing single
texts would take five such texts for five witnesses, and give intervals that are too narrow. The gallery stays as it is:
the intervals say how the figure would move with other queries against this gallery. Folds are drawn each within itself,
and their figures averaged as the protocol does.

Drawing images is weighing them: a resample is a row of weights (how often each image was drawn), so that all means of
all resamples are one matrix product of weights and per-image sums.

A few images cannot say how much images vary, and one always draws itself: below LEAST_IMAGES there is no interval.
"""

from typing import Callable, Dict, Iterable, List, Mapping, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from lavis_asym.evaluation.metrics import RECALLS_AT, SIDES, with_means
from lavis_asym.evaluation.protocols import RankedGallery
from lavis_asym.evaluation.ranks import Ranks

RESAMPLES = 1000
AT_ONCE = 50  # resamples, so that the weights of 25,000 texts stay small
LIMITS = (2.5, 97.5)
LEAST_IMAGES = 10
BRACKETS = f"In brackets: 95% intervals, of {LEAST_IMAGES} images or more."

Draw = Callable[[np.random.Generator, int, int], np.ndarray]
Figures = Dict[str, np.ndarray]


class Difference(NamedTuple):
    """One figure of two runs: `b - a`, its 95% interval, and the two-sided p value of "there is none"."""

    a: float
    b: float
    difference: float
    low: float
    high: float
    p: float


def intervals(
    ranked: RankedGallery, ties: str = "against", resamples: int = RESAMPLES, seed: int = 0
) -> Dict[str, Tuple[float, float]]:
    """95% percentile interval (low, high) of every figure of `retrieval_metrics`; {} for a few images."""
    if min(len(part.i2t.ahead) for part in ranked.parts()) < LEAST_IMAGES:
        return {}
    figures = _replicates(ranked.parts(), _draw_images, ties, resamples, seed)
    return {name: tuple(np.percentile(values, LIMITS).tolist()) for name, values in figures.items()}


def mean_interval(
    values: Sequence[float], image: Sequence[int], resamples: int = RESAMPLES, seed: int = 0
) -> Optional[List[float]]:
    """95% interval [low, high] of the mean of Q values, `image` being the image that each belongs to (int Q).

    None for the values of a few images, or no resamples.
    """
    numbers = np.unique(image, return_inverse=True)[1]
    images = int(numbers.max()) + 1
    if images < LEAST_IMAGES or not resamples:
        return None
    sums, counts = np.bincount(numbers, values, images), np.bincount(numbers, minlength=images)
    rng = np.random.default_rng(seed)
    weights = [_draw_images(rng, images, min(AT_ONCE, resamples - k)) for k in range(0, resamples, AT_ONCE)]
    means = np.concatenate([(own @ sums) / (own @ counts) for own in weights])
    return np.percentile(means, LIMITS).tolist()


def compare(
    a: RankedGallery, b: RankedGallery, ties: str = "against", resamples: int = RESAMPLES, seed: int = 0
) -> Dict[str, Difference]:
    """Every figure of two runs over the same queries.

    The interval is the bootstrap's, both runs on the same resamples. The p value is that of a randomisation test: if
    the runs are alike, their ranks can be swapped at any image (with its texts) and the difference is one of many such
    (Smucker, Allan and Carterette, CIKM 2007). It is (1 + differences at least as large) / (1 + resamples) and so never
    0 (Phipson and Smyth, 2010).

    Raises:
        ValueError: other texts of the images, or other folds.
    """
    if a.fold != b.fold or len(a.i2t.ahead) != len(b.i2t.ahead) or not np.array_equal(a.owner, b.owner):
        raise ValueError("only runs over the same images, texts and folds can be compared")
    figures_a, figures_b = a.metrics(ties), b.metrics(ties)
    drawn_a, drawn_b = (_replicates(run.parts(), _draw_images, ties, resamples, seed) for run in (a, b))
    pools = [_pool(*pair) for pair in zip(a.parts(), b.parts())]
    swapped_a, swapped_b = (_replicates(pools, draw, ties, resamples, seed) for draw in (_draw_one, _draw_other))
    result = {}
    for name in drawn_a:
        difference = figures_b[name] - figures_a[name]
        low, high = np.percentile(drawn_b[name] - drawn_a[name], LIMITS).tolist()
        as_large = np.abs(swapped_b[name] - swapped_a[name]) >= abs(difference) - 1e-9
        p = (1 + int(as_large.sum())) / (1 + resamples)
        result[name] = Difference(figures_a[name], figures_b[name], difference, low, high, p)
    return result


def holm(p_values: Mapping[str, float]) -> Dict[str, float]:
    """p values adjusted for their number (Holm 1979): those <= 5% hold together with 95%."""
    adjusted, largest = {}, 0.0
    for place, (name, p) in enumerate(sorted(p_values.items(), key=lambda item: item[1])):
        largest = max(largest, min(1.0, (len(p_values) - place) * p))
        adjusted[name] = largest
    return adjusted


def _replicates(parts: Iterable[RankedGallery], draw: Draw, ties: str, resamples: int, seed: int) -> Figures:
    """The mean over the parts of every figure, one value a resample; the same seed draws the same weights."""
    rng = np.random.default_rng(seed)
    by_part: List[Figures] = []
    for part in parts:
        chunks = [
            _figures(part, draw(rng, len(part.i2t.ahead), min(AT_ONCE, resamples - start)), ties)
            for start in range(0, resamples, AT_ONCE)
        ]
        by_part.append({name: np.concatenate([chunk[name] for chunk in chunks]) for name in chunks[0]})
    return {name: np.mean([figures[name] for figures in by_part], axis=0) for name in by_part[0]}


def _figures(part: RankedGallery, weights: np.ndarray, ties: str) -> Figures:
    """Every figure under each row of the weights, B x N float64."""
    images = weights.shape[1]
    figures = {}
    for side, ranks, image in zip(SIDES, (part.i2t, part.t2i), (np.arange(images), part.owner)):
        rank = ranks.rank(ties)
        values = [np.ones(len(rank)), rank, *(ranks.hits(k, ties) for k in RECALLS_AT)]
        sums = weights @ np.stack([np.bincount(image, value, images) for value in values], axis=1)
        figures.update({f"{side}_r{k}": 100 * sums[:, 2 + i] / sums[:, 0] for i, k in enumerate(RECALLS_AT)})
        figures[f"{side}_medr"] = _weighted_medians(rank, weights, image) + 1
        figures[f"{side}_meanr"] = sums[:, 1] / sums[:, 0] + 1
    return with_means(figures)


def _weighted_medians(values: np.ndarray, weights: np.ndarray, image: np.ndarray) -> np.ndarray:
    """Median of each row's multiset: value q stands in it as often as the weight of its image says."""
    order = np.argsort(values)
    counted = np.cumsum(weights.astype(np.int32)[:, image[order]], axis=1, dtype=np.int32)
    total = counted[:, -1:]
    middle = [(counted <= place).sum(axis=1) for place in ((total - 1) // 2, total // 2)]
    return values[order[middle[0]]] / 2 + values[order[middle[1]]] / 2


def _draw_images(rng: np.random.Generator, images: int, count: int) -> np.ndarray:
    """How often each image was drawn, count x images."""
    drawn = rng.integers(0, images, (count, images)) + images * np.arange(count)[:, None]
    return np.bincount(drawn.ravel(), minlength=count * images).reshape(count, images).astype(float)


def _pool(a: RankedGallery, b: RankedGallery) -> RankedGallery:
    """Both runs' queries side by side: a's images are the first half."""
    i2t, t2i = (Ranks(*map(np.concatenate, zip(*pair))) for pair in ((a.i2t, b.i2t), (a.t2i, b.t2i)))
    return RankedGallery(i2t, t2i, np.concatenate([a.owner, b.owner + len(a.i2t.ahead)]))


def _draw_one(rng: np.random.Generator, images: int, count: int) -> np.ndarray:
    """Of a pool: each image from one run or the other."""
    first = rng.integers(0, 2, (count, images // 2))
    return np.hstack([first, 1 - first]).astype(float)


def _draw_other(rng: np.random.Generator, images: int, count: int) -> np.ndarray:
    """What `_draw_one` leaves."""
    return 1 - _draw_one(rng, images, count)

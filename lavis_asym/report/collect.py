"""What the pictures of a report need of the score matrices, in a few passes over blocks of rows.

Legend: N images, M texts, Q queries, C candidates, K the highest rank of a curve.
"""

from typing import List, NamedTuple, Sequence, Tuple

import numpy as np

from lavis_asym.evaluation.ranks import rank_queries
from lavis_asym.evaluation.top import first_places, ranked_by
from lavis_asym.evaluation.truth import Ragged, Truth
from lavis_asym.report.attention import Attention

ROWS_AT_ONCE = 256
CURVE_TO = 100
BINS = 60
FOUND = 3


class Histogram(NamedTuple):
    """Counts of scores in equal bins."""

    edges: np.ndarray  # B + 1 float64
    matching: np.ndarray  # B int64, pairs that belong together
    other: np.ndarray  # B int64
    left_out: int  # pairs whose score is not finite or below the floor


class Found(NamedTuple):
    """A candidate of a query."""

    number: int
    score: float
    right: bool


class Example(NamedTuple):
    """A query and what was found for it."""

    query: int
    rank: int  # of its best right candidate, 0 is first; ties against the model
    best_right: Found
    found: Tuple[Found, ...]  # the first ones


class Direction(NamedTuple):
    """One direction: the texts found for images, or the images found for texts."""

    curve: np.ndarray  # K float64: percent of the queries with a right candidate among the first 1 ... K
    worst: Tuple[Example, ...]
    best: Tuple[Example, ...]


class Pictures(NamedTuple):
    """All that a page shows beyond the figures of a result."""

    images: Sequence[str]  # N names
    texts: Sequence[str]  # M
    truth: Truth
    histogram: Histogram  # of scores_i2t
    i2t: Direction
    t2i: Direction
    attention: Tuple[Attention, ...] = ()


def collect(
    scores_i2t: np.ndarray,
    scores_t2i: np.ndarray,
    truth: Truth,
    images: Sequence[str],
    texts: Sequence[str],
    examples: int = 6,
    ties: str = "against",
    floor: float = -np.inf,
) -> Pictures:
    """Curves, histograms, worst and best queries. Beyond the matrices it takes memory for some hundred rows.

    The worst queries are those whose best right candidate ranks last, the lower score first where ranks tie; the best
    rank it first, with the largest distance to the best wrong candidate. No two examples of a list share image or text.

    Args:
        scores_i2t: N x M, higher is better.
        scores_t2i: M x N, a transposed view as well.
        truth: the right texts of each image and the right images of each text.
        images, texts: their N names and M words.
        examples: how many of the worst and of the best queries, each way.
        ties: of the curves, see `evaluation.ranks.TIES`.
        floor: scores below stay out of the histograms, such as the first stage's of two, which are less by 4.
    """
    names = ([(name,) for name in images], [(images[truth.images.row(t)[0]], text) for t, text in enumerate(texts)])
    return Pictures(
        images,
        texts,
        truth,
        _histogram(scores_i2t, truth.texts, floor),
        _direction(scores_i2t, truth.texts, names[0], examples, ties),
        _direction(scores_t2i, truth.images, names[1], examples, ties),
    )


def _direction(
    scores: np.ndarray, right: Ragged, names: Sequence[Tuple[str, ...]], examples: int, ties: str
) -> Direction:
    ranks = rank_queries(scores, right)
    curve = [100 * float(ranks.hits(k, ties).mean()) for k in range(1, min(CURVE_TO, scores.shape[1]) + 1)]
    rank, (best_right, best_wrong) = ranks.against(), _best_scores(scores, right)
    worst = np.lexsort((best_right, -rank))
    best = np.flatnonzero(rank == 0)
    best = best[np.argsort(best_wrong[best] - best_right[best], kind="stable")]
    return Direction(
        np.array(curve),
        tuple(_example(scores, right, rank, query) for query in _distinct(worst, names, examples)),
        tuple(_example(scores, right, rank, query) for query in _distinct(best, names, examples)),
    )


def _best_scores(scores: np.ndarray, right: Ragged) -> Tuple[np.ndarray, np.ndarray]:
    """Of each query the best score of a right and of a wrong candidate; NaN against the model, -inf where none is."""
    best_right, best_wrong = (np.full(len(scores), -np.inf) for _ in range(2))
    for rows, block, own in _blocks(scores, right):
        values = ranked_by(block, own)
        np.maximum.at(best_right[rows], own[0], values[own])
        values[own] = -np.inf
        best_wrong[rows] = values.max(1)
    return best_right, best_wrong


def _blocks(scores: np.ndarray, right: Ragged):
    """Slice of rows, a copy of the block, and (row in the block, column) of its matching pairs."""
    row = right.rows()
    for start in range(0, len(scores), ROWS_AT_ONCE):
        rows = slice(start, min(start + ROWS_AT_ONCE, len(scores)))
        own = slice(right.starts[rows.start], right.starts[rows.stop])
        yield rows, np.array(scores[rows], dtype=np.float32), (row[own] - start, right.values[own])


def _histogram(scores: np.ndarray, right: Ragged, floor: float) -> Histogram:
    low, high = np.inf, -np.inf
    for _, block, _ in _blocks(scores, right):
        kept = block[np.isfinite(block) & (block >= floor)]
        if kept.size:
            low, high = min(low, float(kept.min())), max(high, float(kept.max()))
    if low >= high:  # one score or none
        low, high = (low - 0.5, low + 0.5) if low == high else (0.0, 1.0)
    every, matching = np.zeros(BINS, dtype=np.int64), np.zeros(BINS, dtype=np.int64)
    for _, block, own in _blocks(scores, right):
        every += np.histogram(block, BINS, (low, high))[0]
        matching += np.histogram(block[own], BINS, (low, high))[0]
    return Histogram(np.linspace(low, high, BINS + 1), matching, every - matching, int(scores.size - every.sum()))


def _distinct(order: np.ndarray, names: Sequence[Tuple[str, ...]], count: int) -> List[int]:
    """The first queries in this order that share no name with one before."""
    chosen: List[int] = []
    seen: set = set()
    for query in map(int, order):
        if len(chosen) == count:
            break
        if seen.isdisjoint(names[query]):
            chosen.append(query)
            seen.update(names[query])
    return chosen


def _example(scores: np.ndarray, right: Ragged, rank: np.ndarray, query: int) -> Example:
    row, own = np.array(scores[query], dtype=np.float64), right.row(query)
    is_right = np.zeros(len(row), dtype=bool)
    is_right[own] = True
    values = ranked_by(row, own)
    best = int(own[values[own].argmax()])
    found = tuple(Found(int(c), float(row[c]), bool(is_right[c])) for c in first_places(values, is_right, FOUND))
    return Example(query, int(rank[query]), Found(best, float(row[best]), True), found)

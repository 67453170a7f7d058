"""Ranks of the best right candidates, by counting: nothing is sorted, nothing of the matrix's size is made.

The rule for ties and NaN. A query's place is decided by its best right candidate, and

- `against` (the model): every wrong candidate with the same score stands before it;
- `expected`: candidates with the same score stand in random order, and the expected value is taken;
- both: a wrong candidate whose score is NaN stands first, a right one whose score is NaN stands last, so that NaN never
  helps. A constant matrix gives 0% (`against`) or chance (`expected`), one full of NaN 0%.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import NamedTuple, Optional, Tuple

import numpy as np

from lavis_asym.evaluation.truth import Ragged, Truth

TIES = ("against", "expected")
BLOCK = 2**19  # scores compared at once in a thread: they and the answers stay in the cache
THREADS = min(8, os.cpu_count() or 1)  # numpy compares without the interpreter's lock


class Ranks(NamedTuple):
    """What stands before the best right candidate of each query.

    Attributes:
        ahead: int64 Q, wrong candidates strictly above it, NaN included.
        tied: int64 Q, wrong candidates equal to it.
        right: int64 Q, right candidates that share the best score, at least 1.
    """

    ahead: np.ndarray
    tied: np.ndarray
    right: np.ndarray

    def against(self) -> np.ndarray:
        """Rank with ties against the model, int64 Q, 0 is first."""
        return self.ahead + self.tied

    def expected(self) -> np.ndarray:
        """Mean rank over all orders of equal candidates, float64 Q: each gap between r right ones holds t / (r + 1)."""
        return self.ahead + self.tied / (self.right + 1)

    def rank(self, ties: str = "against") -> np.ndarray:
        """Rank by one of TIES."""
        if ties not in TIES:
            raise ValueError(f"ties {ties!r}, expected one of {', '.join(TIES)}")
        return self.against() if ties == "against" else self.expected()

    def hits(self, k: int, ties: str = "against") -> np.ndarray:
        """How probably a right candidate is among the first k, float64 Q in [0, 1].

        With `expected` it is exact: of t wrong and r right candidates in random order, the first j are all wrong with
        probability prod (t - i) / (t + r - i) over i < j.
        """
        if ties != "expected":
            return (self.rank(ties) < k).astype(np.float64)
        free = k - self.ahead  # places of the first k that are open to the tied
        missed = np.ones(len(self.ahead))
        for i in range(k):
            drawn = np.maximum(self.tied - i, 0) / np.maximum(self.tied + self.right - i, 1)
            missed = np.where(i < free, missed * drawn, missed)
        return 1 - missed

    def take(self, queries: np.ndarray) -> "Ranks":
        """Of these queries."""
        return Ranks(self.ahead[queries], self.tied[queries], self.right[queries])


def rank_queries(scores: np.ndarray, right: Ragged) -> Ranks:
    """Rank every query; the rule is above. A transposed view is as fast as the matrix itself.

    Args:
        scores: Q x C, any real dtype, higher is better; compared as they are, never converted.
        right: for each query its right candidates, at least one.
    Raises:
        ValueError: no query, another number of them than rows, one without a right candidate, a candidate out of range.
    """
    best = _best(scores, right)
    return _ranks(scores, right, best, _count(scores, best)[0])


def rank_both(
    scores_i2t: np.ndarray, scores_t2i: np.ndarray, truth: Truth, ties_apart: bool = True
) -> Tuple[Ranks, Ranks]:
    """Rank images and texts as queries, in one pass if `scores_t2i` is the transposed view of `scores_i2t`.

    Args:
        scores_i2t, scores_t2i: N x M and M x N, as in `rank_queries`.
        ties_apart: False counts `tied` as `ahead`, for half the comparisons; `expected` then is `against`.
    Raises:
        ValueError: as `rank_queries`.
    """
    best = _best(scores_i2t, truth.texts), _best(scores_t2i, truth.images)
    if _is_transposed(scores_i2t, scores_t2i):
        counts = _count(scores_i2t, *best, ties_apart)
    else:
        counts = [_count(scores, own, None, ties_apart)[0] for scores, own in zip((scores_i2t, scores_t2i), best)]
    return _ranks(scores_i2t, truth.texts, best[0], counts[0]), _ranks(scores_t2i, truth.images, best[1], counts[1])


def _is_transposed(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether b is a.T, of the same memory."""
    layout, other = a.__array_interface__, b.T.__array_interface__
    return all(layout[key] == other[key] for key in ("data", "shape", "strides", "typestr"))


def _best(scores: np.ndarray, right: Ragged) -> np.ndarray:
    """The best right score of each query, NaN if all are."""
    queries, candidates = scores.shape
    counts = right.counts()
    if not queries or len(right) != queries:
        raise ValueError(f"{queries} rows of scores but right candidates for {len(right)} queries")
    if not counts.all():
        raise ValueError(f"query {int(counts.argmin())} has no right candidate")
    if not 0 <= right.values.min() <= right.values.max() < candidates:
        raise ValueError(f"right candidates {right.values.min()} to {right.values.max()}, but scores of {candidates}")
    return np.fmax.reduceat(scores[right.rows(), right.values], right.starts[:-1])


def _ranks(scores: np.ndarray, right: Ragged, best: np.ndarray, counts: np.ndarray) -> Ranks:
    """The ranks from the candidates of each query that are < its best and, as a second row, <= it."""
    rows, size = right.rows(), right.counts()
    own = scores[rows, right.values]
    # A comparison with NaN is false: a wrong NaN is never counted below, and nothing is below a NaN as the best.
    own_below = np.bincount(rows, own < best[rows], len(best)).astype(np.int64)
    own_equal = np.bincount(rows, own == best[rows], len(best)).astype(np.int64)
    below = counts[0]
    tied = counts[1] - below - own_equal if len(counts) > 1 else np.zeros_like(below)
    wrong = scores.shape[1] - size
    return Ranks(wrong - (below - own_below) - tied, tied, np.where(own_equal, own_equal, size))


def _count(
    scores: np.ndarray,
    rows: Optional[np.ndarray] = None,
    columns: Optional[np.ndarray] = None,
    ties_apart: bool = True,
) -> Tuple[Optional[np.ndarray], Optional[np.ndarray]]:
    """How many scores of each row, and of each column, are < and (with `ties_apart`) <= its own given score.

    Returns:
        for rows and for columns, where given, int64 with a row for each comparison.
    """
    if abs(scores.strides[0]) < abs(scores.strides[1]):  # along the memory, whichever way it lies
        return _count(scores.T, columns, rows, ties_apart)[::-1]
    compare = (np.less, np.less_equal) if ties_apart else (np.less,)
    in_rows, in_columns = (None if x is None else np.zeros((len(compare), len(x)), np.int64) for x in (rows, columns))
    lock = Lock()

    def count(start: int, stop: int) -> None:
        at_once = min(255, max(1, BLOCK // max(1, scores.shape[1])))  # answers of a column are summed in a byte
        answers = np.empty((at_once, scores.shape[1]), dtype=bool)
        for first in range(start, stop, at_once):
            span = slice(first, min(first + at_once, stop))
            block = scores[span]
            answer = answers[: len(block)]
            for number, is_below in enumerate(compare):
                if rows is not None:
                    is_below(block, rows[span, None], out=answer)
                    in_rows[number, span] = [np.count_nonzero(row) for row in answer]
                if columns is not None:
                    below = np.add.reduce(is_below(block, columns, out=answer).view(np.uint8), dtype=np.uint8)
                    with lock:
                        in_columns[number] += below

    edges = np.linspace(0, len(scores), THREADS + 1).astype(int)
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(count, edges[:-1], edges[1:]))
    return in_rows, in_columns

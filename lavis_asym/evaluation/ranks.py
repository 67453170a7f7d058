"""Ranks of the best right candidates, by counting: nothing is sorted, nothing of the matrix's size is made.

The rule for ties and NaN. A query's place is decided by its best right candidate, and

- `against` (the model): every wrong candidate with the same score stands before it;
- `expected`: candidates with the same score stand in random order, and the expected value is taken;
- both: a wrong candidate whose score is NaN stands first, a right one whose score is NaN stands last, so that NaN never
  helps. A constant matrix gives 0% (`against`) or chance (`expected`), one full of NaN 0%.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from lavis_asym.evaluation.truth import Ragged

TIES = ("against", "expected")
BLOCK = 2**18  # scores compared at once in a thread: they and the answers stay in the cache
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
    queries, candidates = scores.shape
    counts = right.counts()
    if not queries or len(right) != queries:
        raise ValueError(f"{queries} rows of scores but right candidates for {len(right)} queries")
    if not counts.all():
        raise ValueError(f"query {int(counts.argmin())} has no right candidate")
    if not 0 <= right.values.min() <= right.values.max() < candidates:
        raise ValueError(f"right candidates {right.values.min()} to {right.values.max()}, but scores of {candidates}")
    rows = right.rows()
    own = scores[rows, right.values]
    best = np.fmax.reduceat(own, right.starts[:-1])
    below, up_to = _count(scores, best)
    # A comparison with NaN is false: a wrong NaN is never counted below, and nothing is below a NaN as the best.
    own_below = np.bincount(rows, own < best[rows], queries).astype(np.int64)
    own_equal = np.bincount(rows, own == best[rows], queries).astype(np.int64)
    tied = up_to - below - own_equal
    wrong = candidates - counts
    return Ranks(wrong - (below - own_below) - tied, tied, np.where(own_equal, own_equal, counts))


def _count(scores: np.ndarray, best: np.ndarray) -> np.ndarray:
    """Candidates of each query that are < and <= its best, 2 x Q int64; along the memory, whichever way it lies."""
    count = _count_in_columns if abs(scores.strides[0]) < abs(scores.strides[1]) else _count_in_rows
    edges = np.linspace(0, len(scores), THREADS + 1).astype(int)
    with ThreadPoolExecutor(THREADS) as pool:
        pieces = pool.map(lambda start, stop: count(scores[start:stop], best[start:stop]), edges[:-1], edges[1:])
        return np.concatenate(list(pieces), axis=1)


def _count_in_rows(scores: np.ndarray, best: np.ndarray) -> np.ndarray:
    """Some queries at a time."""
    counts = np.zeros((2, len(scores)), dtype=np.int64)
    at_once = max(1, BLOCK // scores.shape[1])
    answers = np.empty((at_once, scores.shape[1]), dtype=bool)
    for start in range(0, len(scores), at_once):
        rows = slice(start, start + at_once)
        block = scores[rows]
        for compare, to in zip((np.less, np.less_equal), counts):
            to[rows] = [np.count_nonzero(row) for row in compare(block, best[rows, None], out=answers[: len(block)])]
    return counts


def _count_in_columns(scores: np.ndarray, best: np.ndarray) -> np.ndarray:
    """Some candidates at a time, few enough to be counted in a byte."""
    counts = np.zeros((2, len(scores)), dtype=np.int64)
    at_once = min(255, max(1, BLOCK // max(1, len(scores))))
    answers = np.empty((at_once, len(scores)), dtype=bool)
    for start in range(0, scores.shape[1], at_once):
        block = scores[:, start : start + at_once].T
        for compare, to in zip((np.less, np.less_equal), counts):
            answer = compare(block, best, out=answers[: len(block)])
            to += np.add.reduce(answer.view(np.uint8), dtype=np.uint8)
    return counts

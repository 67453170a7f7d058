"""The first candidates of every query, in order."""

from typing import Any, NamedTuple

import numpy as np

from lavis_asym.evaluation.truth import Ragged

ROWS_AT_ONCE = 64


class Top(NamedTuple):
    """The first k candidates of each query: int64 Q x k, and their scores, float64 Q x k."""

    candidates: np.ndarray
    scores: np.ndarray


def top_candidates(scores: np.ndarray, right: Ragged, k: int) -> Top:
    """The best k candidates of each query, ties and NaN against the model (`evaluation.ranks` states the rule)."""
    top = Top(np.empty((len(scores), k), np.int64), np.empty((len(scores), k)))
    for start in range(0, len(scores), ROWS_AT_ONCE):
        block = np.array(scores[start : start + ROWS_AT_ONCE], dtype=np.result_type(scores, np.float32), order="C")
        for query, row in enumerate(block, start):
            is_right = np.zeros(len(row), bool)
            is_right[right.row(query)] = True
            top.candidates[query] = first_places(ranked_by(row, is_right), is_right, k)
            top.scores[query] = row[top.candidates[query]]
    return top


def ranked_by(scores: np.ndarray, right: Any) -> np.ndarray:
    """A copy of the scores with NaN against the model: the highest for a wrong candidate, the lowest for a right one.

    Args:
        scores: of one query or of several.
        right: an index of those of the right candidates.
    """
    values = np.where(np.isnan(scores), np.inf, scores)
    values[right] = np.where(np.isnan(scores[right]), -np.inf, scores[right])
    return values


def first_places(values: np.ndarray, is_right: np.ndarray, k: int) -> np.ndarray:
    """The best k of a query's candidates (all, where there are fewer), in order; of equal ones the wrong ones first.

    Args:
        values: C of `ranked_by`.
        is_right: C bool.
    """
    k = min(k, len(values))
    likely = np.flatnonzero(values >= np.partition(values, -k)[-k])
    return likely[np.lexsort((is_right[likely], -values[likely]))[:k]]

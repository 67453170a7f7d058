"""The first candidates of every query, in order."""

from typing import NamedTuple

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
        worth = np.where(np.isnan(block), np.inf, block)
        for offset, (row, key) in enumerate(zip(block, worth)):
            own = right.row(start + offset)
            key[own] = np.where(np.isnan(row[own]), -np.inf, row[own])
            likely = np.flatnonzero(key >= np.partition(key, -k)[-k])
            order = np.lexsort((np.isin(likely, own), -key[likely]))[:k]
            top.candidates[start + offset] = likely[order]
            top.scores[start + offset] = row[likely[order]]
    return top

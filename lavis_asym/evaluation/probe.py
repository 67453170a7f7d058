"""Counts of the asymmetry probe: how often a true text is told from false ones."""

from typing import Sequence

import numpy as np


def chosen(true: Sequence[float], wrong: Sequence[Sequence[float]]) -> np.ndarray:
    """Q bool: the true text scores strictly above all wrong ones. Ties and NaN count against the model."""
    return np.array([bool((t > np.asarray(w, dtype=np.float64)).all()) for t, w in zip(true, wrong)], dtype=bool)


def chosen_expected(true: Sequence[float], wrong: Sequence[Sequence[float]]) -> np.ndarray:
    """Q float64 in [0, 1]: as `chosen`, but among equals the draw decides: the probability of the right choice."""
    rows = [(t, np.asarray(w, dtype=np.float64)) for t, w in zip(true, wrong)]
    return np.array([(t >= w).all() / (1.0 + (w == t).sum()) for t, w in rows], dtype=np.float64)


def chance(wrong: Sequence[Sequence[float]]) -> float:
    """Mean over Q >= 1 items of the probability that a blind draw takes the true text."""
    return float(np.mean([1.0 / (1 + len(w)) for w in wrong]))

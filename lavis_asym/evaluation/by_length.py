"""Recall by the length of the query's text: whether short and long captions find their photo alike."""

from typing import Any, Dict, List, Optional, Sequence

import numpy as np

from lavis_asym.evaluation.bootstrap import mean_interval

RECALLS_AT = (1, 5, 10)
BINS = 5


def recall_by_length(
    ranks: np.ndarray,
    lengths: np.ndarray,
    bounds: Optional[Sequence[int]] = None,
    image: Optional[np.ndarray] = None,
) -> List[Dict[str, Any]]:
    """Text-to-image recall of the queries of each range of lengths.

    Args:
        ranks: Q, wrong images that rank before the right one (ties counted against the model), 0 is first.
        lengths: Q int, words of each query.
        bounds: the greatest length of every bin but the last; None takes the quintiles of `lengths`.
        image: Q int, the image of each query; adds the 95% intervals `img_r1_interval` ... `img_r10_interval`.
    Returns:
        One `{"words": "6-8", "queries": int, "img_r1", "img_r5", "img_r10": percent}` for each bin that has queries,
        the shortest first.
    Raises:
        ValueError: another number of ranks than of lengths.
    """
    ranks, lengths = np.asarray(ranks), np.asarray(lengths)
    if ranks.shape != lengths.shape:
        raise ValueError(f"{len(ranks)} ranks but {len(lengths)} lengths")
    if not len(ranks):
        return []
    if bounds is None:
        bounds = np.sort(lengths)[np.arange(1, BINS) * (len(lengths) - 1) // BINS]
    bins = np.searchsorted(np.unique(bounds), lengths)  # B bounds -> bins 0 to B; a bound belongs to the bin it ends
    rows = []
    for number in np.unique(bins):
        own = bins == number
        shortest, longest = int(lengths[own].min()), int(lengths[own].max())
        label = str(longest) if shortest == longest else f"{shortest}-{longest}"
        row: Dict[str, Any] = {"words": label, "queries": int(own.sum()), **recalls(ranks[own])}
        if image is not None:
            for k in RECALLS_AT:
                row[f"img_r{k}_interval"] = list(mean_interval(100.0 * (ranks[own] < k), np.asarray(image)[own]))
        rows.append(row)
    return rows


def recalls(ranks: np.ndarray) -> Dict[str, float]:
    """`img_r1`, `img_r5`, `img_r10` in percent, of Q >= 1 ranks (0 is first)."""
    return {f"img_r{k}": 100.0 * float((np.asarray(ranks) < k).mean()) for k in RECALLS_AT}

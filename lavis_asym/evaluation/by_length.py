"""Recall by the length of the query's text: whether short and long captions find their photo alike."""

from typing import Any, Dict, List, Optional

import numpy as np

from lavis_asym.evaluation.bootstrap import RESAMPLES, mean_interval
from lavis_asym.evaluation.metrics import RECALLS_AT
from lavis_asym.evaluation.ranks import Ranks

BINS = 5


def recall_by_length(
    ranks: Ranks,
    lengths: np.ndarray,
    image: Optional[np.ndarray] = None,
    ties: str = "against",
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> List[Dict[str, Any]]:
    """Text-to-image recall of the queries of each quintile of lengths.

    Args:
        ranks: of the Q queries.
        lengths: Q int, words of each query.
        image: Q int, the image of each query; adds the 95% intervals `img_r1_interval` ... `img_r10_interval`,
            None where there are too few images.
        ties: see `evaluation.ranks`.
        resamples, seed: of the intervals; None of 0 resamples.
    Returns:
        One `{"words": "6-8", "queries": int, "img_r1", "img_r5", "img_r10": percent}` for each bin that has queries,
        the shortest first.
    Raises:
        ValueError: another number of ranks than of lengths.
    """
    lengths = np.asarray(lengths)
    if ranks.ahead.shape != lengths.shape:
        raise ValueError(f"{len(ranks.ahead)} ranks but {len(lengths)} lengths")
    if not len(lengths):
        return []
    bounds = np.unique(np.sort(lengths)[np.arange(1, BINS) * (len(lengths) - 1) // BINS])
    bins = np.searchsorted(bounds, lengths)  # B bounds -> bins 0 to B; a bound belongs to the bin it ends
    rows = []
    for number in np.unique(bins):
        own = np.flatnonzero(bins == number)
        found = ranks.take(own)
        shortest, longest = int(lengths[own].min()), int(lengths[own].max())
        label = str(longest) if shortest == longest else f"{shortest}-{longest}"
        row: Dict[str, Any] = {"words": label, "queries": len(own), **recalls(found, ties)}
        if image is not None:
            images = np.asarray(image)[own]
            for k in RECALLS_AT:
                row[f"img_r{k}_interval"] = mean_interval(100.0 * found.hits(k, ties), images, resamples, seed)
        rows.append(row)
    return rows


def recalls(ranks: Ranks, ties: str = "against") -> Dict[str, float]:
    """`img_r1`, `img_r5`, `img_r10` in percent, of Q >= 1 queries."""
    return {f"img_r{k}": 100.0 * float(ranks.hits(k, ties).mean()) for k in RECALLS_AT}

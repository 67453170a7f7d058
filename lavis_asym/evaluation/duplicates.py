"""Captions that say the same about several images: how many there are, and what counting them as right changes.

A benchmark counts the caption "a piece of farmland" of another field as wrong. Here each text is right for the images
of all texts that say the same, by one of two rules of `evaluation.words`. Both are equalities: groups do not chain. The
second is about function words alone: all 54 groups that it joins in UCM-Captions val and Visual7W val were read, and
none held two texts that said different things.
"""

from typing import Any, Dict, Sequence

import numpy as np

from lavis_asym.evaluation.protocols import PROTOCOLS, Protocol, rank_gallery
from lavis_asym.evaluation.truth import Truth
from lavis_asym.evaluation.words import groups_of, identical, near_identical

RULES = {
    "identical": (identical, "equal but for case, punctuation and white space"),
    "near": (near_identical, "equal words in equal order but for a, the, this, that, there, here, it, some, is"),
}


def metrics_with_duplicates(
    scores_i2t: np.ndarray,
    scores_t2i: np.ndarray,
    texts: Sequence[str],
    truth: Truth,
    ties: str = "against",
    protocol: Protocol = PROTOCOLS["custom"],
) -> Dict[str, Dict[str, Any]]:
    """The "duplicates" section of a result.

    Args:
        scores_i2t, scores_t2i: N x M and M x N, higher is better.
        texts: the M texts.
        truth: as annotated, without groups.
        ties: as in `retrieval_metrics`.
        protocol: of the metrics; the counts are those of the whole gallery.
    Returns:
        For `identical` and `near`: `rule` in words, `texts`, the number of texts that say what a text of another image
        says, `groups`, the number of groups they form, and `metrics`, all retrieval metrics with those texts as extra
        positives.
    """
    section = {}
    for name, (rule, in_words) in RULES.items():
        groups = groups_of(texts, rule)
        shared = said_of_several(groups, truth)
        ranked = rank_gallery(scores_i2t, scores_t2i, truth, protocol, groups)
        section[name] = {
            "rule": in_words,
            "texts": int(shared.sum()),
            "groups": len(np.unique(groups[shared])),
            "metrics": ranked.metrics(ties),
        }
    return section


def said_of_several(groups: np.ndarray, truth: Truth) -> np.ndarray:
    """Whether a text's group has texts of more than one image: M bool."""
    pairs = np.unique(np.stack([groups[truth.images.rows()], truth.images.values]), axis=1)
    return np.bincount(pairs[0], minlength=groups.max() + 1)[groups] > 1

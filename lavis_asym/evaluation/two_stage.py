"""What a ranking in two stages loses against exact scores, on a sample of queries whose exact scores are known."""

from typing import Any, Dict

import numpy as np

from lavis_asym.evaluation.metrics import RECALLS_AT
from lavis_asym.evaluation.ranks import rank_queries
from lavis_asym.evaluation.truth import Truth


def two_stage_loss(
    staged: np.ndarray,
    images: np.ndarray,
    rows: np.ndarray,
    texts: np.ndarray,
    columns: np.ndarray,
    truth: Truth,
    ties: str = "against",
) -> Dict[str, Any]:
    """The "two_stage" section of a result: recalls of the same queries, exact and in two stages, in percent.

    Args:
        staged: N x M scores in two stages.
        images, rows: S of the images (int64), and their exact scores S x M.
        texts, columns: S of the texts (int64), and their exact scores N x S.
        truth: the right pairs.
    Returns:
        `images` and `texts`, how many were sampled; `exact` and `staged`, each `txt_r1` ... `img_r10`; and `largest`,
        the largest difference of a recall.
    """
    right_texts, right_images = truth.texts.take(images), truth.images.take(texts)
    ways = {
        "exact": (rank_queries(rows, right_texts), rank_queries(columns.T, right_images)),
        "staged": (rank_queries(staged[images], right_texts), rank_queries(staged[:, texts].T, right_images)),
    }
    recalls = {
        way: {
            f"{side}_r{k}": 100.0 * float(ranks.hits(k, ties).mean())
            for side, ranks in zip(("txt", "img"), both)
            for k in RECALLS_AT
        }
        for way, both in ways.items()
    }
    largest = max(abs(recalls["staged"][name] - value) for name, value in recalls["exact"].items())
    return {"images": len(images), "texts": len(texts), **recalls, "largest": largest}

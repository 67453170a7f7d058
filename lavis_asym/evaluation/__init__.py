"""Ranks and metrics of image-text retrieval. Pure arrays: depends on numpy alone."""

from lavis_asym.evaluation.metrics import metrics_of_ranks, recall_table, retrieval_metrics
from lavis_asym.evaluation.ranks import TIES, Ranks, rank_queries
from lavis_asym.evaluation.truth import Ragged, Truth

__all__ = [
    "TIES",
    "Ragged",
    "Ranks",
    "Truth",
    "metrics_of_ranks",
    "rank_queries",
    "recall_table",
    "retrieval_metrics",
]

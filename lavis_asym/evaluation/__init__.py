"""Ranks and metrics of image-text retrieval. Pure arrays: depends on numpy alone."""

from lavis_asym.evaluation.bootstrap import Difference, holm, intervals, paired_test
from lavis_asym.evaluation.by_length import recall_by_length
from lavis_asym.evaluation.duplicates import duplicates
from lavis_asym.evaluation.eccv import eccv_metrics
from lavis_asym.evaluation.geometry import geometry
from lavis_asym.evaluation.graded import graded_metrics
from lavis_asym.evaluation.metrics import metrics_of_ranks, recall_table, retrieval_metrics
from lavis_asym.evaluation.protocols import PROTOCOLS, Fold, Protocol, fold_metrics, protocol_line
from lavis_asym.evaluation.ranks import TIES, Ranks, rank_queries
from lavis_asym.evaluation.run_files import Run, dump_run, qrels, read_run, trec
from lavis_asym.evaluation.truth import Ragged, Truth
from lavis_asym.evaluation.two_stage import two_stage_loss

__all__ = [
    "PROTOCOLS",
    "TIES",
    "Difference",
    "Fold",
    "Protocol",
    "Ragged",
    "Ranks",
    "Run",
    "Truth",
    "dump_run",
    "duplicates",
    "eccv_metrics",
    "fold_metrics",
    "geometry",
    "graded_metrics",
    "holm",
    "intervals",
    "metrics_of_ranks",
    "paired_test",
    "protocol_line",
    "qrels",
    "rank_queries",
    "read_run",
    "recall_by_length",
    "recall_table",
    "retrieval_metrics",
    "trec",
    "two_stage_loss",
]

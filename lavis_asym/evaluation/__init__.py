"""Ranks and metrics of image-text retrieval. Pure arrays: depends on numpy alone."""

from lavis_asym.evaluation.bootstrap import compare, holm, intervals
from lavis_asym.evaluation.by_length import recall_by_length
from lavis_asym.evaluation.duplicates import metrics_with_duplicates
from lavis_asym.evaluation.eccv import eccv_metrics
from lavis_asym.evaluation.geometry import alignment_and_uniformity
from lavis_asym.evaluation.graded import graded_metrics
from lavis_asym.evaluation.metrics import metrics_of_ranks, recall_table, retrieval_metrics
from lavis_asym.evaluation.protocols import PROTOCOLS, Protocol, RankedGallery, protocol_line, rank_gallery
from lavis_asym.evaluation.ranks import TIES, Ranks, rank_both, rank_queries
from lavis_asym.evaluation.run_files import Run, make_run
from lavis_asym.evaluation.trec import trec_qrels, trec_run
from lavis_asym.evaluation.truth import Ragged, Truth
from lavis_asym.evaluation.two_stage import two_stage_loss

__all__ = [
    "PROTOCOLS",
    "TIES",
    "Protocol",
    "Ragged",
    "RankedGallery",
    "Ranks",
    "Run",
    "Truth",
    "compare",
    "metrics_with_duplicates",
    "eccv_metrics",
    "alignment_and_uniformity",
    "graded_metrics",
    "holm",
    "intervals",
    "make_run",
    "metrics_of_ranks",
    "protocol_line",
    "rank_gallery",
    "rank_both",
    "rank_queries",
    "recall_by_length",
    "recall_table",
    "retrieval_metrics",
    "trec_qrels",
    "trec_run",
    "two_stage_loss",
]

"""Ranks and recalls of image-text retrieval. Pure arrays: depends on numpy alone."""

from lavis_asym.evaluation.metrics import ranks_against_ties, recall_table, retrieval_metrics

__all__ = ["ranks_against_ties", "recall_table", "retrieval_metrics"]

"""Hierarchical fusion: the similarity of every image with every text. Depends on torch alone.

Legend: N images, M texts, R regions, L tokens, D joint width, H heads. A mask is True on real tokens.
"""

from lavis_asym.fusion.explain import Explanation
from lavis_asym.fusion.head import HierarchicalFusion
from lavis_asym.fusion.local import local_similarity
from lavis_asym.fusion.two_stage import two_stage_scores

__all__ = ["Explanation", "HierarchicalFusion", "local_similarity", "two_stage_scores"]

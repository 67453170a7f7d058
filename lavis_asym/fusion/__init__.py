"""Hierarchical fusion: the similarity of every image with every text. Depends on torch alone, as `losses` does:

    head = HierarchicalFusion(width=256, heads=8)
    scores = head((vectors, regions), (tokens, mask))                      # N x D, N x R x D, M x L x D, M x L -> N x M
    loss = contrastive_loss(scores, image_ids, text_ids)                   # lavis_asym.losses

Legend: N images, M texts, R regions, L tokens, D joint width, H heads. A mask is True on real tokens.
"""

from lavis_asym.fusion.explain import Explanation
from lavis_asym.fusion.head import HierarchicalFusion
from lavis_asym.fusion.local import local_similarity
from lavis_asym.fusion.two_stage import two_stage_scores

__all__ = ["Explanation", "HierarchicalFusion", "local_similarity", "two_stage_scores"]

"""The hierarchical fusion head: local attention joined with gated global vectors, for every pair alike (AsCL section 3).

c_ij = U mean_l a_l;  g = sigmoid(W [v_i ; c_ij]);  f_v = norm(g v_i + (1 - g) c_ij);  f_t = norm(P mean_r b_r)
S = local_weight S_local + (1 - local_weight) <f_v, f_t>
Means of attended vectors are mixes of regions (or tokens), so U and P are applied once per image (or text).
"""

from typing import Tuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from lavis_asym.fusion.local import EPSILON, attend, check_shapes, split_heads

BLOCK_BYTES = 32 * 2**20  # small enough to stay near the cache
FLOATS_PER_CELL = 8  # intermediate values per (head, region, token) of a pair


class HierarchicalFusion(nn.Module):
    """Scores of all image-text pairs.

    Args:
        width: joint width D of all features.
        heads: attention heads of the local part; divides D.
        scale_t2i, scale_i2t: inverse temperatures of the attention over regions and over tokens.
        local_weight: u1 in [0, 1]; 1 scores by local similarity alone, 0 by global similarity alone.
        gate: False replaces the gate by a plain mean of global vector and attended context.
        memory_bytes: what the intermediate values of a training batch may take; a batch that needs more recomputes
            them, block by block, in the backward pass.
    """

    def __init__(
        self,
        width: int,
        heads: int = 1,
        scale_t2i: float = 9.0,
        scale_i2t: float = 4.0,
        local_weight: float = 0.8,
        gate: bool = True,
        memory_bytes: int = 2 * 2**30,
    ):
        super().__init__()
        if not 0 <= local_weight <= 1:
            raise ValueError(f"local_weight must lie in [0, 1], got {local_weight}")
        self.heads, self.scale_t2i, self.scale_i2t = heads, scale_t2i, scale_i2t
        self.local_weight, self.memory_bytes = local_weight, memory_bytes
        self.image_context = nn.Linear(width, width, bias=False)  # U
        self.text_context = nn.Linear(width, width, bias=False)  # P
        self.gate_global = nn.Linear(width, width) if gate else None  # W, its half for v_i
        self.gate_context = nn.Linear(width, width, bias=False) if gate else None  # W, its half for c_ij

    def forward(self, image: Tuple[Tensor, Tensor], text: Tuple[Tensor, Tensor]) -> Tensor:
        """Every image against every text; no score sees another pair.

        Args:
            image: global vectors N x D and regions N x R x D.
            text: tokens M x L x D and their mask M x L (bool, True on real tokens).
        Returns:
            N x M float32 in [-1, 1].
        """
        (vectors, regions), (tokens, mask) = image, text
        check_shapes(regions, tokens, mask, self.heads)
        with torch.autocast(regions.device.type, enabled=False):
            vectors = F.normalize(vectors.float(), dim=-1, eps=EPSILON)
            regions = F.normalize(regions.float(), dim=-1, eps=EPSILON)
            tokens = F.normalize(tokens.float(), dim=-1, eps=EPSILON)
            image_context = self._project_heads(self.image_context, regions)
            text_context = self._project_heads(self.text_context, tokens)
            regions, tokens = split_heads(regions, self.heads), split_heads(tokens, self.heads)

            pair_bytes = self._pair_bytes(regions, mask.shape[1])
            recompute = torch.is_grad_enabled() and len(vectors) * len(mask) * pair_bytes > self.memory_bytes
            image_block, text_block = _block_shape(len(vectors), BLOCK_BYTES // pair_bytes)
            order = mask.sum(1).argsort(stable=True)  # texts of similar length share a block
            rows = []
            for i in torch.arange(len(vectors), device=order.device).split(image_block):
                columns = []
                for j in order.split(text_block):
                    length = _longest(mask[j])
                    block = (
                        vectors[i], regions[:, i], image_context[:, i],
                        tokens[:, j, :length], text_context[:, j, :length], mask[j, :length],
                    )  # fmt: skip
                    if recompute:
                        scores = checkpoint(self._score_block, *block, use_reentrant=False, preserve_rng_state=False)
                    else:
                        scores = self._score_block(*block)
                    columns.append(scores)
                rows.append(torch.cat(columns, 1))
            return torch.cat(rows)[:, order.argsort()]

    def _score_block(
        self, vectors: Tensor, regions: Tensor, image_context: Tensor, tokens: Tensor, text_context: Tensor, mask: Tensor
    ) -> Tensor:
        attention = attend(regions, tokens, mask, self.scale_t2i, self.scale_i2t)
        if self.local_weight == 1:
            return attention.similarity
        context = torch.einsum("hnrm,hnrd->nmd", attention.region_mix, image_context)  # c_ij
        if self.gate_global is None:
            fused = vectors.unsqueeze(1) + context
        else:
            gate = torch.sigmoid(self.gate_global(vectors).unsqueeze(1) + self.gate_context(context))
            fused = gate * vectors.unsqueeze(1) + (1 - gate) * context
        attended = torch.einsum("hnml,hmld->nmd", attention.token_mix, text_context)
        similarity = F.cosine_similarity(fused, attended, dim=-1, eps=EPSILON)
        return self.local_weight * attention.similarity + (1 - self.local_weight) * similarity

    def _project_heads(self, projection: nn.Linear, rows: Tensor) -> Tensor:
        """B x K x D -> H x B x K x D: each head's slice of a row through its columns of the projection."""
        slices = projection.weight.unflatten(1, (self.heads, -1))  # D x H x D/H
        return torch.einsum("bkhe,dhe->hbkd", rows.unflatten(2, (self.heads, -1)), slices)

    def _pair_bytes(self, regions: Tensor, length: int) -> int:
        heads, _, n_regions, head_width = regions.shape
        return 4 * (FLOATS_PER_CELL * heads * n_regions * length + 4 * heads * head_width)


def _block_shape(images: int, pairs: int) -> Tuple[int, int]:
    """Images and texts of a block of about `pairs` pairs, at most 16 images."""
    image_block = max(1, min(images, 16, pairs))
    return image_block, max(1, pairs // image_block)


def _longest(mask: Tensor) -> int:
    """1 + the last position that any of the texts uses, at least 1."""
    used = mask.any(0).nonzero()
    return int(used[-1]) + 1 if len(used) else 1

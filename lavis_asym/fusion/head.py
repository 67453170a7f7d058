"""The hierarchical fusion head: scores of all image-text pairs, local and global, for every pair alike.

`attention` holds the mathematics of the local part, `joint` that of the global part, `tiles` and `blocks` the order of
the work.
"""

import itertools
import math
from typing import List, NamedTuple, Optional, Sequence, Tuple, Union

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lavis_asym.fusion import texts as packed
from lavis_asym.fusion.blocks import Features, score_pairs
from lavis_asym.fusion.explain import Explanation, explain
from lavis_asym.fusion.local import (
    check_heads,
    check_regions,
    check_scales,
    check_texts,
    product_dtype,
    split_heads,
    unit_rows,
)
from lavis_asym.fusion.products import grouped_product
from lavis_asym.fusion.tiles import Settings
from lavis_asym.fusion.uncompiled import uncompiled


class PreparedImages(NamedTuple):
    """N images with all that is done once an image."""

    regions: Tensor  # H x N x R x d
    parts: Tuple[Tensor, ...]  # what `joint.Joint` wants of them

    def select(self, images: Union[Tensor, slice]) -> "PreparedImages":
        """Some of them (int64 indices or a slice)."""
        return PreparedImages(self.regions[:, images], tuple(part[images] for part in self.parts))


class PreparedTexts(NamedTuple):
    """M texts with all that is done once a text. Legend: K tokens of all texts, packed (see `texts.Packing`)."""

    tokens: Tensor  # K x H x d
    rows: Optional[Tensor]  # K x H x D, what `joint.Joint` wants of them
    lengths: List[int]  # of the packed texts
    order: Tensor  # M int64: the p-th packed text is the order[p]-th given one

    @classmethod
    def join(cls, parts: Sequence["PreparedTexts"]) -> "PreparedTexts":
        """The texts of all parts, one part after the other."""
        lengths = [length for part in parts for length in part.lengths]
        order = torch.tensor(lengths).sort(stable=True).indices.to(parts[0].order.device)
        lengths, rows = packed.select(lengths, order)
        tokens = torch.cat([part.tokens for part in parts])[rows]
        own = None if parts[0].rows is None else torch.cat([part.rows for part in parts])[rows]
        starts = itertools.accumulate((len(part.lengths) for part in parts[:-1]), initial=0)
        given = torch.cat([part.order + start for part, start in zip(parts, starts)])
        return cls(tokens, own, lengths, given[order])

    def select(self, places: Tensor, room: Optional["PreparedTexts"] = None) -> "PreparedTexts":
        """Some of them (int64 places in packed order, ascending), in their order there.

        Args:
            room: of `room_for`, to be overwritten; None takes new memory.
        """
        lengths, rows = packed.select(self.lengths, places)
        tokens, own = (
            None if x is None else torch.index_select(x, 0, rows, out=None if to is None else to[: len(rows)])
            for x, to in zip(self[:2], room[:2] if room else (None, None))
        )
        return PreparedTexts(tokens, own, lengths, torch.arange(len(lengths), device=places.device))

    def room_for(self, tokens: int) -> "PreparedTexts":
        """Memory for `select`, of texts with at most so many tokens together."""
        return PreparedTexts(
            *(None if x is None else x.new_empty(tokens, *x.shape[1:]) for x in self[:2]), [], self.order
        )


class HierarchicalFusion(nn.Module):
    """Scores of all image-text pairs.

    Args:
        width: joint width D of all features.
        heads: attention heads of the local part; divides D.
        scale_t2i, scale_i2t: inverse temperatures of the attention over regions and over tokens, in [0, 30].
        local_weight: u1 in [0, 1]; 1 scores by local similarity alone, 0 by global similarity alone.
        learn_local_weight: True trains u1, starting from `local_weight`, then strictly between 0 and 1.
        gate: False replaces the gate by a plain mean of global vector and attended context.
        memory_bytes: what the intermediate values of the pairs may take, in training too. None: 128 MiB on the CPU,
            where small blocks stay in the cache and are fastest, and 1 GiB elsewhere. What is prepared once an image or
            text comes on top: heads x D values a token, twice that a region (if gated).
    """

    def __init__(
        self,
        width: int,
        heads: int = 1,
        scale_t2i: float = 9.0,
        scale_i2t: float = 4.0,
        local_weight: float = 0.8,
        learn_local_weight: bool = False,
        gate: bool = True,
        memory_bytes: Optional[int] = None,
    ):
        super().__init__()
        check_scales(scale_t2i, scale_i2t)
        check_heads(width, heads)
        if not 0 <= local_weight <= 1:
            raise ValueError(f"local_weight must lie in [0, 1], got {local_weight}")
        if memory_bytes is not None and memory_bytes < 1:
            raise ValueError(f"memory_bytes must be at least 1, got {memory_bytes}")
        if learn_local_weight and local_weight in (0, 1):
            raise ValueError(f"a learned local_weight must start between 0 and 1, got {local_weight}")
        self.width, self.heads, self.scale_t2i, self.scale_i2t = width, heads, scale_t2i, scale_i2t
        self.memory_bytes, self.fixed_weight, self.weight_logit = memory_bytes, local_weight, None
        if learn_local_weight:
            self.weight_logit = nn.Parameter(torch.tensor(math.log(local_weight / (1 - local_weight))))
        joint = local_weight < 1
        self.image_context = nn.Linear(width, width, bias=False) if joint else None  # U
        self.text_context = nn.Linear(width, width, bias=False) if joint else None  # P
        self.gate_global = nn.Linear(width, width) if joint and gate else None  # W, its half for v_i
        self.gate_context = nn.Linear(width, width, bias=False) if joint and gate else None  # W, its half for c_ij

    @property
    def local_weight(self) -> Union[float, Tensor]:
        """u1; a tensor if it is learned."""
        return self.fixed_weight if self.weight_logit is None else self.weight_logit.sigmoid()

    @uncompiled
    def forward(self, image: Tuple[Tensor, Tensor], text: Tuple[Tensor, Tensor]) -> Tensor:
        """Every image against every text; no score sees another pair.

        Under autocast the large matrix products run in its dtype; softmax, norms and scores do not. torch.compile
        leaves the head as it is and compiles what is around it.

        Args:
            image: global vectors N x D and regions N x R x D.
            text: tokens M x L x D and their mask M x L (bool, True on real tokens).
        Returns:
            N x M in [-1, 1], float32 (float64 if the features are); 0 for a text without tokens.
        Raises:
            ValueError: shapes that do not fit each other.
        """
        return self.score(self.prepare_images(image), self.prepare_texts(text))

    @uncompiled
    def prepare_images(self, image: Tuple[Tensor, Tensor]) -> PreparedImages:
        """What is done once an image, whatever the texts; arguments and errors as in `forward`."""
        vectors, regions = image
        check_regions(regions, self.width)
        if vectors.shape != (len(regions), self.width):
            raise ValueError(f"expected global vectors {len(regions)} x {self.width}, got {tuple(vectors.shape)}")
        vectors, regions = unit_rows(vectors), unit_rows(regions)
        if self.image_context is None:
            return PreparedImages(split_heads(regions, self.heads), ())
        weight = self.image_context.weight
        if self.gate_context is not None:
            weight = torch.cat([weight, self.gate_context.weight @ weight])  # U and W U
        parts = (vectors, self._project_heads(weight, regions))
        if self.gate_global is not None:
            parts += (self._gate(vectors),)
        return PreparedImages(split_heads(regions, self.heads), parts)

    @uncompiled
    def prepare_texts(self, text: Tuple[Tensor, Tensor]) -> PreparedTexts:
        """What is done once a text, whatever the images; arguments and errors as in `forward`."""
        tokens, mask = text
        check_texts(tokens, mask, self.width)
        packing = packed.Packing.of(mask)
        tokens = unit_rows(packing.pack(tokens))
        rows = None if self.text_context is None else self._project_heads(self.text_context.weight, tokens)
        return PreparedTexts(tokens.unflatten(1, (self.heads, -1)), rows, packing.lengths, packing.order)

    @uncompiled
    def score(self, images: PreparedImages, texts: PreparedTexts) -> Tensor:
        """N x M scores, as `forward` gives them."""
        settings = Settings(self.scale_t2i, self.scale_i2t, self.memory_bytes, product_dtype(images.regions))
        features = Features(images.regions, texts.tokens)
        if images.parts:
            settings = settings._replace(joint_width=self.width)
            weight = torch.as_tensor(self.local_weight, dtype=images.regions.dtype, device=images.regions.device)
            features = features._replace(weight=weight, text_rows=texts.rows, image_parts=images.parts)
        with torch.autocast(images.regions.device.type, enabled=False):
            scores = score_pairs(features, texts.lengths, settings)
            return scores.index_select(1, texts.order.argsort())

    def explain(self, image: Tuple[Tensor, Tensor], text: Tuple[Tensor, Tensor]) -> Explanation:
        """Which regions each word looks at and the reverse, for one image and one text.

        Args:
            image, text: as in `forward`, with N = M = 1.
        Raises:
            ValueError: several images or texts.
        """
        (_, regions), (tokens, mask) = image, text
        check_regions(regions, self.width)
        check_texts(tokens, mask, self.width)
        if len(regions) != 1 or len(tokens) != 1:
            raise ValueError(f"expected one image and one text, got {len(regions)} and {len(tokens)}")
        with torch.autocast(regions.device.type, enabled=False):
            return explain(regions[0], tokens[0][mask[0]], self.heads, self.scale_t2i, self.scale_i2t)

    def extra_repr(self) -> str:
        weight = "learned" if self.weight_logit is not None else self.fixed_weight
        return (
            f"width={self.width}, heads={self.heads}, scale_t2i={self.scale_t2i}, scale_i2t={self.scale_i2t}, "
            f"local_weight={weight}"
        )

    def _gate(self, vectors: Tensor) -> Tensor:
        """W's half for v_i, whatever the weights' dtype."""
        weight, bias = (parameter.to(vectors.dtype) for parameter in (self.gate_global.weight, self.gate_global.bias))
        return F.linear(vectors, weight, bias).to(vectors.dtype)

    def _project_heads(self, weight: Tensor, rows: Tensor) -> Tensor:
        """... x D -> ... x H x E: each head's share of a row through its columns of the E x D weight."""
        shares = rows.flatten(0, -2).unflatten(-1, (self.heads, -1))
        columns = weight.to(rows.dtype).unflatten(1, (self.heads, -1)).transpose(0, 1)
        return grouped_product(shares, columns, product_dtype(rows)).contiguous().unflatten(0, rows.shape[:-1])

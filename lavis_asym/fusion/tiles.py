"""How the pairs of N images and M texts are cut to a budget of memory: into tiles, and those into blocks.

`attention` runs in blocks that stay in the cache and hold texts of one length. The global part is one matrix product
per image and per text and runs in tiles of many more pairs, so that the rows it reads once serve many.
"""

from typing import Iterator, List, NamedTuple, Optional, Sequence, Tuple

import torch
from torch import Tensor

from lavis_asym.fusion.attention import Attention
from lavis_asym.fusion.joint import Joint, TileAttention
from lavis_asym.fusion.texts import Run, clip, even_slices, runs, split

CPU_BYTES, ACCELERATOR_BYTES = 128 * 2**20, 2**30
BLOCK_SHARE = 16  # a block takes a sixteenth of the memory: on the CPU about what stays in the cache
IMAGES_A_BLOCK = 8  # at least, where there are so many: fewer make slow matrix products
TEXTS_A_TILE = 256  # at most
JOINT_TILE_FLOATS = 2  # that the global part holds for a pair and a channel throughout its tile


class Settings(NamedTuple):
    """How pairs are scored.

    scale_t2i, scale_i2t: inverse temperatures of the attention over regions and over tokens.
    memory_bytes: what the intermediate values may take; None leaves it to the device.
    dtype: of the large matrix products.
    joint_width: D, if the global part counts too; None scores by local similarity alone.
    """

    scale_t2i: float
    scale_i2t: float
    memory_bytes: Optional[int] = None
    dtype: torch.dtype = torch.float32
    joint_width: Optional[int] = None

    def floats(self, like: Tensor) -> int:
        """The budget in values of a tensor like this one."""
        default = CPU_BYTES if like.device.type == "cpu" else ACCELERATOR_BYTES
        return (self.memory_bytes or default) // like.element_size()

    def keeps_attention(self, regions: Tensor, lengths: List[int]) -> bool:
        """Whether what the global part takes of all pairs' attention fits in the budget."""
        heads, images, n_regions, _ = regions.shape
        floats = heads * images * (n_regions * len(lengths) + sum(lengths))
        return self.joint_width is not None and floats <= self.floats(regions)

    def joint(self, like: Tensor) -> Optional[Joint]:
        """The global part, with a block's share of the budget."""
        if self.joint_width is None:
            return None
        return Joint(self.joint_width, self.dtype, self.floats(like) // BLOCK_SHARE)


class Tile(NamedTuple):
    """Some images with some neighbouring packed texts."""

    images: slice
    texts: slice
    runs: List[Run]

    def attention(self, regions: Tensor, mixes: bool) -> TileAttention:
        """Room for it. `regions`: H x N x R x d."""
        heads, _, n_regions, _ = regions.shape
        images, texts = _count(self.images), _count(self.texts)
        similarity = regions.new_empty(images, texts)
        if not mixes:
            return TileAttention(similarity)
        token_mix = tuple(regions.new_empty(_count(run.texts), images, run.length, heads) for run in self.runs)
        return TileAttention(similarity, regions.new_empty(images, texts, n_regions, heads), token_mix)

    def of_block(self, attention: TileAttention, place: int, texts: slice, images: slice) -> Attention:
        """Views of what belongs to one block, whose texts lie in the run at `place`."""
        own, columns = _within(images, self.images), _within(texts, self.texts)
        if attention.region_mix is None:
            return Attention(attention.similarity[own, columns])
        return Attention(
            attention.similarity[own, columns],
            attention.region_mix[own, columns].permute(1, 3, 0, 2),  # T x H x I x R
            attention.token_mix[place][_within(texts, self.runs[place].texts), own].permute(
                3, 0, 2, 1
            ),  # H x T x L x I
        )


def tiles(regions: Tensor, lengths: List[int], settings: Settings) -> Iterator[Tile]:
    """All pairs but those of texts without tokens. Without a global part one tile holds them all."""
    heads, images, n_regions, _ = regions.shape
    all_runs = list(runs(lengths))
    if not images or not all_runs:
        return
    first = all_runs[0].texts.start
    count, most_images = len(lengths) - first, images
    texts = count
    if settings.joint_width is not None:
        per_pair = JOINT_TILE_FLOATS * settings.joint_width + 2 * heads * (n_regions + lengths[-1])
        pairs = settings.floats(regions) * (BLOCK_SHARE - 1) // BLOCK_SHARE // per_pair
        texts = max(1, min(count, TEXTS_A_TILE, pairs))
        most_images = max(1, pairs // texts)
    for piece in even_slices(count, texts):
        span = slice(first + piece.start, first + piece.stop)
        clipped = [clip(run, span) for run in all_runs if run.texts.start < span.stop and span.start < run.texts.stop]
        for own in even_slices(images, most_images):
            yield Tile(own, span, clipped)


def block_shape(regions: Tensor, run: Run, tile: Tile, settings: Settings, values: int) -> Tuple[int, int]:
    """Texts and images of the largest block of a tile's run, which holds `values` values for each of S."""
    heads, _, n_regions, _ = regions.shape
    images = _count(tile.images)
    pairs = max(1, settings.floats(regions) // BLOCK_SHARE // (values * heads * n_regions * run.length))
    texts = min(_count(run.texts), max(1, pairs // min(images, IMAGES_A_BLOCK)))
    return texts, min(images, max(1, pairs // texts))


def blocks(regions: Tensor, tile: Tile, settings: Settings, values: int) -> Iterator[Tuple[int, Run, List[slice]]]:
    """(place of a run in the tile, a piece of it, slices of images): the blocks that share their texts."""
    for place, run in enumerate(tile.runs):
        texts, images = block_shape(regions, run, tile, settings, values)
        own = [
            slice(tile.images.start + piece.start, tile.images.start + piece.stop)
            for piece in even_slices(_count(tile.images), images)
        ]
        for piece in split(run, texts):
            yield place, piece, own


def workspace(regions: Tensor, all_tiles: Sequence[Tile], settings: Settings, buffers: int, values: int) -> Tensor:
    """Buffers for S of the largest block."""
    heads, _, n_regions, _ = regions.shape
    largest = 0
    for tile in all_tiles:
        for run in tile.runs:
            texts, images = block_shape(regions, run, tile, settings, values)
            largest = max(largest, texts * images * run.length)
    return regions.new_empty(buffers, heads * n_regions * largest)


def _count(span: slice) -> int:
    return span.stop - span.start


def _within(inner: slice, outer: slice) -> slice:
    return slice(inner.start - outer.start, inner.stop - outer.start)

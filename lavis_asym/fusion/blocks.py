"""The scores of all pairs, tile by tile and block by block, forward and backward.

The forward pass keeps nothing but its inputs; the backward pass computes each tile and block again and at once its
gradients, so training too needs the memory of one tile. `attention` holds the mathematics, `tiles` the cutting.
"""

from typing import List, NamedTuple, Sequence, Tuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from lavis_asym.fusion.attention import (
    BACKWARD_BUFFERS,
    FORWARD_BUFFERS,
    Block,
    attend,
    attend_again,
    attend_backward,
)
from lavis_asym.fusion.texts import Run
from lavis_asym.fusion.tiles import Joint, Settings, Tile, TileAttention, blocks, tiles, workspace


class Features(NamedTuple):
    """What is scored: N images, M texts packed to K tokens (see `texts.Packing`). Rows are unit vectors."""

    regions: Tensor  # H x N x R x d
    tokens: Tensor  # H x K x d
    image_parts: Tuple[Tensor, ...] = ()  # N rows each, what `Settings.joint` wants of the images
    text_parts: Tuple[Tensor, ...] = ()  # K rows each, what it wants of the tokens
    shared: Tuple[Tensor, ...] = ()  # further tensors it wants

    @classmethod
    def from_flat(cls, tensors: Sequence[Tensor], counts: Tuple[int, int]) -> "Features":
        parts, end = tuple(tensors[2:]), sum(counts)
        return cls(*tensors[:2], parts[: counts[0]], parts[counts[0] : end], parts[end:])

    @property
    def counts(self) -> Tuple[int, int]:
        return len(self.image_parts), len(self.text_parts)

    def flat(self) -> Tuple[Tensor, ...]:
        return (self.regions, self.tokens, *self.image_parts, *self.text_parts, *self.shared)

    def tokens_of(self, run: Run) -> Tensor:
        """H x T x L x d"""
        return self.tokens[:, run.tokens].unflatten(1, (-1, run.length))

    def joint_inputs(self, tile: Tile):
        """As `joint` takes them: image parts (I rows), the text parts of each run (T x L rows), and shared."""
        images = [part[tile.images] for part in self.image_parts]
        texts = [[part[run.tokens].unflatten(0, (-1, run.length)) for part in self.text_parts] for run in tile.runs]
        return images, texts, list(self.shared)


def score_pairs(features: Features, lengths: List[int], settings: Settings) -> Tensor:
    """N x M scores of all pairs, columns in packed order; 0 for a text without tokens.

    Args:
        lengths: of the M packed texts, ascending.
    """
    if torch.is_grad_enabled() and any(x.requires_grad for x in features.flat()):
        return _Scores.apply(lengths, settings, features.counts, *features.flat())
    return _forward(features, lengths, settings)


def _forward(features: Features, lengths: List[int], settings: Settings) -> Tensor:
    all_tiles = list(tiles(features.regions, lengths, settings))
    buffers = workspace(features.regions, all_tiles, settings, FORWARD_BUFFERS)
    region_gram = features.regions @ features.regions.transpose(2, 3)
    scores = features.regions.new_zeros(features.regions.shape[1], len(lengths))
    for tile in all_tiles:
        attention = _attend_tile(features, region_gram, tile, settings, buffers)
        if settings.joint is None:
            scores[tile.images, tile.texts] = attention.similarity
        else:
            scores[tile.images, tile.texts] = settings.joint(attention, *features.joint_inputs(tile))
    return scores


def _attend_tile(
    features: Features, region_gram: Tensor, tile: Tile, settings: Settings, buffers: Tensor
) -> TileAttention:
    mixes = settings.joint is not None
    whole = tile.attention(features.regions, mixes)
    for place, run, image_slices in blocks(features.regions, tile, settings, len(buffers)):
        tokens = features.tokens_of(run).contiguous()
        token_gram = tokens @ tokens.transpose(2, 3)
        for images in image_slices:
            block = Block(features.regions[:, images], region_gram[:, images], tokens, token_gram, settings.dtype)
            own = attend(block, settings.scale_t2i, settings.scale_i2t, buffers, mixes)
            for room, values in zip(tile.of_block(whole, place, run.texts, images), own):
                if values is not None:
                    room.copy_(values)
    return whole


def _backward(features: Features, lengths: List[int], settings: Settings, grad_scores: Tensor) -> Tuple[Tensor, ...]:
    all_tiles = list(tiles(features.regions, lengths, settings))
    buffers = workspace(features.regions, all_tiles, settings, BACKWARD_BUFFERS)
    region_gram = features.regions @ features.regions.transpose(2, 3)
    sums = Features.from_flat([torch.zeros_like(x) for x in features.flat()], features.counts)
    region_gram_sum = torch.zeros_like(region_gram)
    for tile in all_tiles:
        gradient = TileAttention(grad_scores[tile.images, tile.texts])
        if settings.joint is not None:
            attention = _attend_tile(features, region_gram, tile, settings, buffers)
            inputs, input_sums = features.joint_inputs(tile), sums.joint_inputs(tile)
            gradient = _joint_backward(settings.joint, attention, inputs, input_sums, gradient.similarity)
        for place, run, image_slices in blocks(features.regions, tile, settings, BACKWARD_BUFFERS):
            tokens = features.tokens_of(run).contiguous()
            token_gram = tokens @ tokens.transpose(2, 3)
            token_sum, token_gram_sum = sums.tokens_of(run), torch.zeros_like(token_gram)
            for images in image_slices:
                block = Block(features.regions[:, images], region_gram[:, images], tokens, token_gram, settings.dtype)
                kept = attend_again(block, settings.scale_t2i, settings.scale_i2t, buffers)
                own = tile.of_block(gradient, place, run.texts, images)
                parts = attend_backward(block, kept, own, buffers)
                totals = (sums.regions[:, images], region_gram_sum[:, images], token_sum, token_gram_sum)
                for total, part in zip(totals, parts):
                    total += part
            token_sum += 2 * token_gram_sum @ tokens  # of T T^T, whose gradient is symmetric
    sums.regions.add_(region_gram_sum @ features.regions, alpha=2)
    return sums.flat()


def _joint_backward(joint: Joint, attention: TileAttention, inputs, sums, gradient: Tensor) -> TileAttention:
    """The gradient of the attention; those of the other inputs of `joint` are added to `sums`."""
    attention, inputs = TileAttention(*_map(_leaf, attention)), _map(_leaf, inputs)
    with torch.enable_grad():
        scores = joint(attention, *inputs)
    own, leaves = _flatten(attention), _flatten(inputs)
    gradients = torch.autograd.grad(scores, own + leaves, gradient)
    for total, part in zip(_flatten(sums), gradients[len(own) :]):
        total += part
    return TileAttention(gradients[0], gradients[1], gradients[2 : len(own)])


def _leaf(tensor: Tensor) -> Tensor:
    return tensor.detach().requires_grad_()


def _map(function, tree):
    """The same nest of tuples and lists, of what the function makes of each tensor."""
    return function(tree) if isinstance(tree, Tensor) else [_map(function, branch) for branch in tree]


def _flatten(tree) -> List[Tensor]:
    return [tree] if isinstance(tree, Tensor) else [leaf for branch in tree for leaf in _flatten(branch)]


class _Scores(torch.autograd.Function):
    @staticmethod
    def forward(ctx, lengths, settings, counts, *tensors):
        ctx.lengths, ctx.settings, ctx.counts = lengths, settings, counts
        ctx.save_for_backward(*tensors)
        with torch.autocast(tensors[0].device.type, enabled=False):
            return _forward(Features.from_flat(tensors, counts), lengths, settings)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_scores):
        features = Features.from_flat(ctx.saved_tensors, ctx.counts)
        with torch.autocast(grad_scores.device.type, enabled=False):
            return (None, None, None, *_backward(features, ctx.lengths, ctx.settings, grad_scores))

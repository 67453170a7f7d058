"""The scores of all pairs, tile by tile and block by block, forward and backward.

The forward pass keeps its inputs and, if that fits in the budget, the attention that the global part takes, R + L
values a pair and head. The backward pass computes each tile and block again and at once its gradients, so training
too needs the memory of one tile. `attention` and `joint` hold the mathematics, `tiles` the cutting.
"""

from typing import List, NamedTuple, Optional, Sequence, Tuple

import torch
from torch import Tensor

from lavis_asym.fusion.attention import (
    BACKWARD_BUFFERS,
    BACKWARD_VALUES,
    FORWARD_BUFFERS,
    FORWARD_VALUES,
    Block,
    attend,
    attend_again,
    attend_backward,
)
from lavis_asym.fusion.joint import JointInputs, TileAttention
from lavis_asym.fusion.texts import Run
from lavis_asym.fusion.tiles import Settings, Tile, blocks, tiles, workspace


class Features(NamedTuple):
    """What is scored: N images, M texts packed to K tokens (see `texts.Packing`). Rows are unit vectors."""

    regions: Tensor  # H x N x R x d
    tokens: Tensor  # K x H x d
    weight: Optional[Tensor] = None  # u1, a scalar; None without a global part, which has no parts either
    text_rows: Optional[Tensor] = None  # K x H x D, see `joint.JointInputs`
    image_parts: Tuple[Tensor, ...] = ()  # N rows each, see `joint.Joint`

    @classmethod
    def from_flat(cls, tensors: Sequence[Tensor]) -> "Features":
        return cls(*tensors[:4], tuple(tensors[4:]))

    def flat(self) -> Tuple[Optional[Tensor], ...]:
        return (*self[:4], *self.image_parts)

    def tokens_of(self, run: Run) -> Tensor:
        """T x L x H x d"""
        return self.tokens[run.tokens].unflatten(0, (-1, run.length))

    def joint_inputs(self, tile: Tile) -> JointInputs:
        texts = [self.text_rows[run.tokens].unflatten(0, (-1, run.length)) for run in tile.runs]
        return JointInputs([part[tile.images] for part in self.image_parts], texts, self.weight)


def score_pairs(features: Features, lengths: List[int], settings: Settings) -> Tensor:
    """N x M scores of all pairs, columns in packed order; 0 for a text without tokens.

    Args:
        lengths: of the M packed texts, ascending.
    """
    if torch.is_grad_enabled() and any(x is not None and x.requires_grad for x in features.flat()):
        return _Scores.apply(lengths, settings, *features.flat())
    return _forward(features, lengths, settings)


def _forward(
    features: Features, lengths: List[int], settings: Settings, kept: Optional[List[TileAttention]] = None
) -> Tensor:
    """The scores; the attention of each tile is added to `kept`, if given."""
    all_tiles = list(tiles(features.regions, lengths, settings))
    buffers = workspace(features.regions, all_tiles, settings, FORWARD_BUFFERS, FORWARD_VALUES)
    region_gram = features.regions @ features.regions.transpose(2, 3)
    scores = features.regions.new_zeros(features.regions.shape[1], len(lengths))
    joint = settings.joint(features.regions)
    for tile in all_tiles:
        attention = _attend_tile(features, region_gram, tile, settings, buffers, FORWARD_VALUES)
        if kept is not None:
            kept.append(attention)
        scores[tile.images, tile.texts] = (
            attention.similarity if joint is None else joint.scores(attention, features.joint_inputs(tile))
        )
    return scores


def _attend_tile(
    features: Features, region_gram: Tensor, tile: Tile, settings: Settings, buffers: Tensor, values: int
) -> TileAttention:
    mixes = settings.joint_width is not None
    whole = tile.attention(features.regions, mixes)
    for place, run, image_slices in blocks(features.regions, tile, settings, values):
        tokens = features.tokens_of(run)
        token_gram = _gram(tokens)
        for images in image_slices:
            block = Block(features.regions[:, images], region_gram[:, images], tokens, token_gram, settings.dtype)
            own = attend(block, settings.scale_t2i, settings.scale_i2t, buffers, mixes)
            for room, part in zip(tile.of_block(whole, place, run.texts, images), own):
                if part is not None:
                    room.copy_(part)
    return whole


def _backward(
    features: Features, lengths: List[int], settings: Settings, grad_scores: Tensor, kept: Optional[List[TileAttention]]
) -> Tuple[Optional[Tensor], ...]:
    all_tiles = list(tiles(features.regions, lengths, settings))
    buffers = workspace(features.regions, all_tiles, settings, BACKWARD_BUFFERS, BACKWARD_VALUES)
    region_gram = features.regions @ features.regions.transpose(2, 3)
    sums = Features.from_flat([None if x is None else x.new_zeros(x.shape) for x in features.flat()])
    region_gram_sum = torch.zeros_like(region_gram)
    joint = settings.joint(features.regions)
    for number, tile in enumerate(all_tiles):
        gradient = TileAttention(grad_scores[tile.images, tile.texts])
        if joint is not None:
            attention = (
                kept[number] if kept else _attend_tile(features, region_gram, tile, settings, buffers, BACKWARD_VALUES)
            )
            inputs, input_sums = features.joint_inputs(tile), sums.joint_inputs(tile)
            gradient = joint.backward(attention, inputs, gradient.similarity, input_sums)
        for place, run, image_slices in blocks(features.regions, tile, settings, BACKWARD_VALUES):
            tokens = features.tokens_of(run)
            token_gram = _gram(tokens)
            token_sum, token_gram_sum = sums.tokens_of(run), torch.zeros_like(token_gram)
            for images in image_slices:
                block = Block(features.regions[:, images], region_gram[:, images], tokens, token_gram, settings.dtype)
                again = attend_again(block, settings.scale_t2i, settings.scale_i2t, buffers)
                own = tile.of_block(gradient, place, run.texts, images)
                parts = attend_backward(block, again, own, buffers)
                totals = (sums.regions[:, images], region_gram_sum[:, images], token_sum, token_gram_sum)
                for total, part in zip(totals, parts):
                    total += part
            token_sum += 2 * (token_gram_sum @ tokens.permute(2, 0, 1, 3)).permute(1, 2, 0, 3)  # the gram is symmetric
    sums.regions.add_(region_gram_sum @ features.regions, alpha=2)
    return sums.flat()


def _gram(tokens: Tensor) -> Tensor:
    """T x L x H x d -> H x T x L x L"""
    heads = tokens.permute(2, 0, 1, 3)
    return heads @ heads.transpose(2, 3)


class _Scores(torch.autograd.Function):
    @staticmethod
    def forward(ctx, lengths, settings, *tensors):
        ctx.lengths, ctx.settings = lengths, settings
        ctx.save_for_backward(*tensors)
        features = Features.from_flat(tensors)
        ctx.kept = [] if settings.keeps_attention(features.regions, lengths) else None
        with torch.autocast(tensors[0].device.type, enabled=False):
            return _forward(features, lengths, settings, ctx.kept)

    @staticmethod
    def backward(ctx, grad_scores):
        if torch.is_grad_enabled():
            raise RuntimeError(
                "the scores of the fusion head can be differentiated once; create_graph=True asks for more"
            )
        features = Features.from_flat(ctx.saved_tensors)
        kept, ctx.kept = ctx.kept, None  # a second pass through a retained graph computes it again
        with torch.autocast(grad_scores.device.type, enabled=False):
            return (None, None, *_backward(features, ctx.lengths, ctx.settings, grad_scores, kept))

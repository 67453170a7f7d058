"""The scores of all pairs, block by block within a budget of memory, forward and backward.

The forward pass keeps nothing but its inputs; the backward pass computes each block again and at once its gradients,
so training too needs the memory of one block. `attention` holds the mathematics of a block.
"""

from typing import Callable, List, NamedTuple, Optional, Sequence, Tuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from lavis_asym.fusion.attention import (
    BACKWARD_BUFFERS,
    FORWARD_BUFFERS,
    Attention,
    Block,
    attend,
    attend_and_keep,
    attend_backward,
)
from lavis_asym.fusion.texts import Run, even_slices, runs, split

CPU_BYTES, ACCELERATOR_BYTES = 16 * 2**20, 2**30  # of a block: stays in the cache; fills the device
IMAGES_A_BLOCK = 8  # at least, where there are so many: fewer make slow matrix products

Joint = Callable[[Attention, Sequence[Tensor], Sequence[Tensor], Sequence[Tensor]], Tensor]


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

    def flat(self) -> Tuple[Tensor, ...]:
        return (self.regions, self.tokens, *self.image_parts, *self.text_parts, *self.shared)

    def tokens_of(self, run: Run) -> Tensor:
        """H x T x L x d"""
        return self.tokens[:, run.tokens].unflatten(1, (-1, run.length))

    def joint_inputs(self, run: Run, images: slice) -> Tuple[List[Tensor], List[Tensor], Tuple[Tensor, ...]]:
        """Image parts (I rows), text parts (T x L rows) and shared, as `joint` takes them."""
        texts = [part[run.tokens].unflatten(0, (-1, run.length)) for part in self.text_parts]
        return [part[images] for part in self.image_parts], texts, self.shared


class Settings(NamedTuple):
    """How blocks are scored.

    scale_t2i, scale_i2t: inverse temperatures of the attention over regions and over tokens.
    memory_bytes: what the intermediate values of a block may take; None leaves it to the device.
    dtype: of the large matrix products.
    joint: (attention, image parts, text parts, shared) of a block -> scores; None scores by local similarity alone.
    joint_floats: values that `joint` holds for a pair.
    """

    scale_t2i: float
    scale_i2t: float
    memory_bytes: Optional[int] = None
    dtype: torch.dtype = torch.float32
    joint: Optional[Joint] = None
    joint_floats: int = 0


def score_pairs(features: Features, lengths: List[int], settings: Settings) -> Tensor:
    """N x M scores of all pairs, columns in packed order; 0 for a text without tokens.

    Args:
        lengths: of the M packed texts, ascending.
    """
    if torch.is_grad_enabled() and any(x.requires_grad for x in features.flat()):
        counts = (len(features.image_parts), len(features.text_parts))
        return _Scores.apply(lengths, settings, counts, *features.flat())
    return _forward(features, lengths, settings)


class _Blocks:
    """The blocks of all pairs and the buffers they share."""

    def __init__(self, features: Features, lengths: List[int], settings: Settings, buffers: int):
        self.features, self.lengths, self.settings = features, lengths, settings
        self.region_gram = features.regions @ features.regions.transpose(2, 3)
        self.heads, self.images, self.regions, _ = features.regions.shape
        default = CPU_BYTES if features.regions.device.type == "cpu" else ACCELERATOR_BYTES
        self.floats = (settings.memory_bytes or default) // features.regions.element_size()
        shapes = [(run, *self._shape(run, buffers)) for run in runs(lengths)]
        largest = max((run.length * texts * images for run, texts, images in shapes), default=0)
        self.shapes = shapes
        self.buffers = features.regions.new_empty(buffers, self.heads * self.regions * largest)

    def _shape(self, run: Run, buffers: int) -> Tuple[int, int]:
        """Texts and images of the largest block of a run."""
        per_pair = buffers * self.heads * self.regions * run.length + self.settings.joint_floats
        pairs = max(1, self.floats // per_pair)
        texts = min(run.texts.stop - run.texts.start, max(1, pairs // min(self.images, IMAGES_A_BLOCK)))
        return texts, min(self.images, max(1, pairs // texts))

    def __iter__(self):
        """(run of texts, their tokens, their Gram matrices, slices of images): the blocks that share their texts."""
        for whole, texts, images in self.shapes:
            for run in split(whole, texts):
                tokens = self.features.tokens_of(run).contiguous()
                yield run, tokens, tokens @ tokens.transpose(2, 3), even_slices(self.images, images)

    def block(self, tokens: Tensor, token_gram: Tensor, images: slice) -> Block:
        regions, gram = self.features.regions[:, images], self.region_gram[:, images]
        return Block(regions, gram, tokens, token_gram, self.settings.dtype)


def _forward(features: Features, lengths: List[int], settings: Settings) -> Tensor:
    blocks = _Blocks(features, lengths, settings, FORWARD_BUFFERS)
    scores = features.regions.new_zeros(blocks.images, len(lengths))
    scales, mixes = (settings.scale_t2i, settings.scale_i2t), settings.joint is not None
    for run, tokens, token_gram, image_slices in blocks:
        for images in image_slices:
            attention = attend(blocks.block(tokens, token_gram, images), *scales, blocks.buffers, mixes)
            if mixes:
                scores[images, run.texts] = settings.joint(attention, *features.joint_inputs(run, images))
            else:
                scores[images, run.texts] = attention.similarity
    return scores


def _backward(features: Features, lengths: List[int], settings: Settings, grad_scores: Tensor) -> Tuple[Tensor, ...]:
    blocks = _Blocks(features, lengths, settings, BACKWARD_BUFFERS)
    counts = (len(features.image_parts), len(features.text_parts))
    sums = Features.from_flat([torch.zeros_like(x) for x in features.flat()], counts)
    region_gram_sum = torch.zeros_like(blocks.region_gram)
    scales, mixes = (settings.scale_t2i, settings.scale_i2t), settings.joint is not None
    for run, tokens, token_gram, image_slices in blocks:
        token_gram_sum = torch.zeros_like(token_gram)
        token_sum = sums.tokens_of(run)
        for images in image_slices:
            block = blocks.block(tokens, token_gram, images)
            attention, kept = attend_and_keep(block, *scales, blocks.buffers, mixes)
            gradient = Attention(grad_scores[images, run.texts])
            if mixes:
                inputs, input_sums = features.joint_inputs(run, images), sums.joint_inputs(run, images)
                gradient = _joint_backward(settings.joint, attention, inputs, input_sums, gradient.similarity)
            regions, region_gram, own_tokens, own_gram = attend_backward(block, kept, gradient, blocks.buffers)
            sums.regions[:, images] += regions
            region_gram_sum[:, images] += region_gram
            token_sum += own_tokens
            token_gram_sum += own_gram
        token_sum += 2 * token_gram_sum @ tokens  # of T T^T, whose gradient is symmetric
    sums.regions.add_(region_gram_sum @ features.regions, alpha=2)
    return sums.flat()


def _joint_backward(joint: Joint, attention: Attention, inputs, sums, gradient: Tensor) -> Attention:
    """The gradient of the attention; those of the other inputs of `joint` are added to `sums`."""
    with torch.enable_grad():
        attention = Attention(*(x.detach().requires_grad_() for x in attention))
        inputs = [[x.detach().requires_grad_() for x in group] for group in inputs]
        leaves = [x for group in inputs for x in group]
        scores = joint(attention, *inputs)
    gradients = torch.autograd.grad(scores, [*attention, *leaves], gradient)
    for total, own in zip([x for group in sums for x in group], gradients[len(attention) :]):
        total += own
    return Attention(*gradients[: len(attention)])


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

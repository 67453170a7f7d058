"""Texts of unequal length without padding: their real tokens, packed, texts of one length side by side.

Legend: M texts, L tokens of a padded text, K real tokens of all texts together, D width.
"""

from itertools import groupby
from typing import Iterator, List, NamedTuple, Tuple

import torch
from torch import Tensor


class Packing(NamedTuple):
    """Where the tokens of padded texts go, and the way back."""

    lengths: List[int]  # of the M texts, ascending
    order: Tensor  # M int64: the p-th packed text is the order[p]-th given one
    rows: Tensor  # K int64: the packed tokens' places in the flattened padded ones

    @classmethod
    def of(cls, mask: Tensor) -> "Packing":
        """The packing of texts with an M x L mask (bool, True on real tokens, wherever they stand)."""
        lengths, order = mask.sum(1).sort(stable=True)
        text, position = mask[order].nonzero(as_tuple=True)
        return cls(lengths.tolist(), order, order[text] * mask.shape[1] + position)

    def pack(self, tokens: Tensor) -> Tensor:
        """M x L x D -> K x D."""
        return tokens.flatten(0, 1).index_select(0, self.rows)

    def restore(self, scores: Tensor) -> Tensor:
        """Columns in packed order -> columns in the given order."""
        return scores.index_select(1, self.order.argsort())


class Run(NamedTuple):
    """Neighbouring packed texts of one length."""

    texts: slice
    tokens: slice
    length: int


def runs(lengths: List[int]) -> Iterator[Run]:
    """The runs of equal length. Texts without tokens belong to none."""
    text = token = 0
    for length, group in groupby(lengths):
        count = len(list(group))
        if length:
            yield Run(slice(text, text + count), slice(token, token + count * length), length)
        text, token = text + count, token + count * length


def clip(run: Run, texts: slice) -> Run:
    """The part of a run within a slice of the packed texts."""
    start, stop = max(run.texts.start, texts.start), min(run.texts.stop, texts.stop)
    first = run.tokens.start - run.texts.start * run.length
    return Run(slice(start, stop), slice(first + start * run.length, first + stop * run.length), run.length)


def split(run: Run, texts: int) -> Iterator[Run]:
    """A run in pieces of nearly equal size, at most `texts` texts each."""
    for piece in even_slices(run.texts.stop - run.texts.start, texts):
        yield clip(run, slice(run.texts.start + piece.start, run.texts.start + piece.stop))


def even_slices(count: int, size: int) -> List[slice]:
    """range(count) in as few slices of at most `size` as it takes, of nearly equal size."""
    pieces = -(-count // size)
    edges = [count * k // pieces for k in range(pieces + 1)]
    return [slice(start, stop) for start, stop in zip(edges, edges[1:])]


def select(lengths: List[int], texts: Tensor) -> Tuple[List[int], Tensor]:
    """Lengths and token rows of some packed texts (int64 indices), in the order of the indices."""
    length = torch.tensor(lengths, device=texts.device)
    first = length.cumsum(0) - length
    chosen = length[texts]
    start = first[texts] - (chosen.cumsum(0) - chosen)
    rows = torch.arange(int(chosen.sum()), device=texts.device) + start.repeat_interleave(chosen)
    return chosen.tolist(), rows

"""Which texts are right for an image, and which images for a text: any number of each.

Two images with three texts and one: `texts` has the rows [0, 1, 2] and [3], `images` the rows [0], [0], [0] and [1].
"""

from dataclasses import dataclass
from itertools import chain
from typing import Iterable, List, Mapping, NamedTuple, Sequence, Tuple, Union

import numpy as np

Rows = Union[Mapping[int, Sequence[int]], Sequence[Sequence[int]]]


@dataclass(frozen=True, eq=False)
class Ragged:
    """Rows of indices of any length in two arrays.

    Attributes:
        values: int64, all rows one after another.
        starts: int64, rows + 1; row i is `values[starts[i] : starts[i + 1]]`.
    """

    values: np.ndarray
    starts: np.ndarray

    @classmethod
    def of(cls, lists: Iterable[Sequence[int]]) -> "Ragged":
        rows = list(lists)
        starts = np.cumsum([0] + [len(row) for row in rows], dtype=np.int64)
        return cls(np.fromiter(chain.from_iterable(rows), np.int64, starts[-1]), starts)

    @classmethod
    def of_ones(cls, values: np.ndarray) -> "Ragged":
        """Rows of one index each."""
        return cls(np.asarray(values, dtype=np.int64), np.arange(len(values) + 1))

    @classmethod
    def of_pairs(cls, rows: np.ndarray, values: np.ndarray, length: int) -> "Ragged":
        """`length` rows from (row, value) pairs in any order; each row sorted, each pair once."""
        width = int(np.max(values, initial=0)) + 1
        rows, values = np.divmod(np.unique(np.asarray(rows, dtype=np.int64) * width + values), width)
        return cls(values, np.searchsorted(rows, np.arange(length + 1)))

    def __len__(self) -> int:
        return len(self.starts) - 1

    def row(self, i: int) -> np.ndarray:
        return self.values[self.starts[i] : self.starts[i + 1]]

    def counts(self) -> np.ndarray:
        """Length of each row, int64."""
        return np.diff(self.starts)

    def rows(self) -> np.ndarray:
        """The row of each value, int64."""
        return np.repeat(np.arange(len(self)), self.counts())

    def take(self, rows: np.ndarray) -> "Ragged":
        """These rows, in this order; one may be taken several times."""
        counts = self.counts()[rows]
        starts = np.concatenate([[0], np.cumsum(counts)])
        places = np.arange(starts[-1]) + np.repeat(self.starts[:-1][rows] - starts[:-1], counts)
        return Ragged(self.values[places], starts)


class Truth(NamedTuple):
    """The right pairs, seen from both sides.

    Attributes:
        texts: for each of N images its right texts.
        images: for each of M texts its right images.
    """

    texts: Ragged
    images: Ragged

    @classmethod
    def from_maps(cls, txt2img: Union[Mapping[int, int], Sequence[int]], img2txt: Rows) -> "Truth":
        """From LAVIS's maps: text index -> index of its image, image index -> indices of its texts.

        Raises:
            ValueError: indices that do not count from 0, or maps that contradict each other.
        """
        owner = np.array(_in_order("txt2img", txt2img), dtype=np.int64).reshape(-1)
        texts = Ragged.of(_in_order("img2txt", img2txt))
        order = np.argsort(texts.values, kind="stable")
        listed, images = texts.values[order], texts.rows()[order]
        if not np.array_equal(listed, np.arange(len(owner))):
            wrong = sorted(set(range(len(owner))) ^ set(listed.tolist())) or listed[:-1][np.diff(listed) == 0].tolist()
            raise ValueError(
                f"txt2img has {len(owner)} texts, img2txt lists {len(listed)}: text {wrong[0]} must stand once in each"
            )
        if not np.array_equal(images, owner):
            text = int(np.flatnonzero(images != owner)[0])
            raise ValueError(f"text {text}: of image {owner[text]} in txt2img, but of image {images[text]} in img2txt")
        return cls(texts, Ragged.of_ones(owner))

    def with_groups(self, groups: np.ndarray) -> "Truth":
        """Texts that say the same are right for the images of all of them.

        Args:
            groups: M int64; texts with the same number say the same.
        """
        groups = np.unique(groups, return_inverse=True)[1]
        of_group = Ragged.of_pairs(groups[self.images.rows()], self.images.values, int(groups.max(initial=-1)) + 1)
        images = of_group.take(groups)
        return Truth(Ragged.of_pairs(images.values, images.rows(), len(self.texts)), images)

    def of_images(self, images: np.ndarray) -> Tuple["Truth", np.ndarray]:
        """The gallery of these images and of all texts that are right for one of them.

        Args:
            images: int64, each once; they are numbered anew in this order.
        Returns:
            the truth of that gallery, and the indices its texts have here: int64, ascending.
        """
        number = np.full(len(self.texts), -1)
        number[images] = np.arange(len(images))
        kept = self.texts.take(images)
        texts = np.unique(kept.values)
        own = self.images.take(texts)
        inside = number[own.values] >= 0
        pairs = Ragged.of_pairs(own.rows()[inside], number[own.values[inside]], len(texts))
        return Truth(Ragged(np.searchsorted(texts, kept.values), kept.starts), pairs), texts


def _in_order(name: str, values: Union[Mapping, Sequence]) -> List:
    """A mapping's values by key 0, 1, ..., or the sequence itself."""
    if not isinstance(values, Mapping):
        return list(values)
    try:
        return [values[i] for i in range(len(values))]
    except KeyError as missing:
        raise ValueError(f"{name} has {len(values)} entries but none for {missing}; they must count from 0") from None

"""How much captions have in common: ROUGE-L and CIDEr-D of one text with all texts of a gallery at once.

The numbers are pycocoevalcap's (the test compares them), several hundred times faster, so that a COCO-size gallery can
be graded. D distinct texts, each a sequence of words; N images, each with the texts that describe it as its references.
"""

from collections import Counter
from typing import List, Sequence

import numpy as np

from lavis_asym.evaluation.truth import Ragged

ONE = np.uint64(1)
BITS = np.array([bin(number).count("1") for number in range(1 << 16)], dtype=np.int64)


class RougeL:
    """ROUGE-L (Lin 2004) against several references: F of the best precision and the best recall, beta 1.2; in [0, 1].

    Args:
        texts: D texts as lists of words.
        references: for each of N images the indices of its texts, at least one.
    """

    BETA = 1.2

    def __init__(self, texts: Sequence[List[str]], references: Ragged):
        texts = [text or [""] for text in texts]
        numbers = {word: number for number, word in enumerate(sorted({word for text in texts for word in text}))}
        self.texts = [np.array([numbers[word] for word in text]) for text in texts]
        self.lengths = np.array([len(text) for text in texts])
        self.references = references
        self.words = len(numbers)
        self.order = np.argsort(-self.lengths, kind="stable")
        self.columns = [
            np.array([self.texts[text][place] for text in self.order[: (self.lengths > place).sum()]])
            for place in range(self.lengths.max())
        ]

    def common(self, text: int) -> np.ndarray:
        """Lengths of the longest common subsequences of one text and all texts, D int64.

        Bit-parallel over the words of the one text (Hyyro 2004), over all texts at once: a zero bit of `state` is a
        word of the subsequence. 64 words fill an integer; of longer texts the sum's carry goes on to the next.
        """
        pattern = self.texts[text]
        integers = -(-len(pattern) // 64)
        mask = np.zeros((integers, self.words), dtype=np.uint64)
        for place, word in enumerate(pattern):
            mask[place // 64, word] |= ONE << np.uint64(place % 64)
        state = np.full((integers, len(self.texts)), ~np.uint64(0))
        for column in self.columns:
            carry = np.zeros(len(column), dtype=np.uint64)
            for of_integer, row in zip(mask, state[:, : len(column)]):
                hits = row & of_integer[column]
                total = row + hits
                carried = total + carry
                carry = ((total < row) | (carried < total)).astype(np.uint64)
                np.bitwise_or(carried, row - hits, out=row)
        lengths = np.empty(len(self.texts), dtype=np.int64)
        lengths[self.order] = BITS[(~state).view(np.uint16).reshape(integers, -1, 4)].sum((0, 2))
        return lengths

    def of_text(self, text: int) -> np.ndarray:
        """Similarity of one text to each image's references, N float64."""
        values, starts = self.references.values, self.references.starts[:-1]
        common = self.common(text)[values]
        recall = np.maximum.reduceat(common / self.lengths[values], starts)
        return self._f(np.maximum.reduceat(common, starts) / self.lengths[text], recall)

    def of_image(self, image: int) -> np.ndarray:
        """Similarity of each text to one image's references, D float64."""
        references = self.references.row(image)
        common = np.stack([self.common(text) for text in references])
        recall = (common / self.lengths[references, None]).max(0)
        return self._f(common.max(0) / self.lengths, recall)

    def _f(self, precision: np.ndarray, recall: np.ndarray) -> np.ndarray:
        below = recall + self.BETA**2 * precision
        return (1 + self.BETA**2) * precision * recall / np.where(below > 0, below, 1)


class Cider:
    """CIDEr-D (Vedantam et al. 2015) against several references, over its factor 10; in [0, 1].

    An n-gram's document frequency is the number of images whose references hold it. For n = 1 to 4: the cosine of the
    tf-idf vectors with the text's counts clipped to the reference's, times a Gaussian (sigma 6) of the difference in
    length; the mean over n and over the references. Same arguments as RougeL.

    min(a, b) b = sum over t = 1, 2, ... of [a >= t] [b >= t] b turns the clipped product into a plain one over the
    pairs (n-gram, t). Each pair keeps the list of texts that hold it; one text meets all others by walking through its
    lists.
    """

    LONGEST = 4
    SIGMA = 6.0

    def __init__(self, texts: Sequence[List[str]], references: Ragged):
        self.references = references
        self.lengths = np.array([max(len(text) - 1, 0) for text in texts], dtype=np.float64)
        held = [Counter(tuple(text[i : i + n]) for n in range(1, self.LONGEST + 1) for i in range(len(text) - n + 1))
                for text in texts]  # fmt: skip
        rows = (references.row(image) for image in range(len(references)))
        documents = Counter(gram for row in rows for gram in set().union(*(held[t] for t in row)))
        pairs = [(t, (gram, times), count) for t, of_text in enumerate(held) for gram, count in of_text.items()
                 for times in range(count)]  # fmt: skip
        numbers = {pair: number for number, pair in enumerate(dict.fromkeys(pair for _, pair, _ in pairs))}
        self.text = np.array([t for t, _, _ in pairs], dtype=np.int64)
        self.pair = np.array([numbers[pair] for _, pair, _ in pairs], dtype=np.int64)
        idf = np.log(len(references)) - np.log([max(documents[gram], 1) for _, (gram, _), _ in pairs])
        count = np.array([count for _, _, count in pairs])
        # The squared norm of a text's n-grams of one n: count^2 idf^2 of each n-gram, spread over its `count` pairs.
        norm_of = self.text * self.LONGEST + [len(gram) - 1 for _, (gram, _), _ in pairs]
        norms = np.sqrt(np.bincount(norm_of, count * idf**2, minlength=len(texts) * self.LONGEST))[norm_of]
        self.as_text = idf / np.where(norms > 0, norms, 1)
        self.as_reference = count * self.as_text
        self.text_starts = np.searchsorted(self.text, np.arange(len(texts) + 1))
        self.by_pair = np.argsort(self.pair, kind="stable")
        self.pair_starts = np.searchsorted(self.pair[self.by_pair], np.arange(len(numbers) + 1))

    def _meet(self, text: int, own: np.ndarray, others: np.ndarray) -> np.ndarray:
        """Products of one text, weighted by `own`, with all texts, weighted by `others`: D float64."""
        mine = slice(*self.text_starts[text : text + 2])
        first = self.pair_starts[self.pair[mine]]
        held_by = self.pair_starts[self.pair[mine] + 1] - first
        ends = np.cumsum(held_by)
        met = self.by_pair[np.arange(held_by.sum()) + np.repeat(first - ends + held_by, held_by)]
        products = np.bincount(self.text[met], others[met] * np.repeat(own[mine], held_by), minlength=len(self.lengths))
        gaussian = np.exp(-((self.lengths - self.lengths[text]) ** 2) / (2 * self.SIGMA**2))
        return products * gaussian / self.LONGEST

    def of_text(self, text: int) -> np.ndarray:
        """Similarity of one text to each image's references, N float64."""
        to_all = self._meet(text, self.as_text, self.as_reference)[self.references.values]
        return np.add.reduceat(to_all, self.references.starts[:-1]) / self.references.counts()

    def of_image(self, image: int) -> np.ndarray:
        """Similarity of each text to one image's references, D float64."""
        own = self.references.row(image)
        return np.mean([self._meet(text, self.as_reference, self.as_text) for text in own], axis=0)

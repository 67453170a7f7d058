"""Asks a model for the scores that the probe needs: each text once, a block of texts at a time."""

from typing import Callable, Dict, Iterable, Iterator, List, NamedTuple, Optional, Sequence, Set, Tuple

import numpy as np

TEXTS_AT_ONCE = 1024
Pair = Tuple[int, str]  # an image's place in the gallery, a text
Rank = Tuple[int, int]  # wrong images above the right one, wrong images equal to it
ScoreAll = Callable[[Sequence[str]], np.ndarray]
ScoreOwn = Callable[[Sequence[Sequence[str]]], Sequence[np.ndarray]]


class OwnScores(NamedTuple):
    """Scores of texts with a photo, and their mean scores with all other photos (None where not asked for)."""

    own: Dict[Pair, float]
    elsewhere: Optional[Dict[Pair, float]]


class Scorer:
    """A model before a gallery of N images.

    Args:
        images: N.
        score_all: M different texts -> N x M scores, higher is better.
        score_own: N lists of different texts, empty ones among them -> N arrays, the scores of each image with its own
            texts. None takes them out of `score_all`.
    """

    def __init__(self, images: int, score_all: ScoreAll, score_own: Optional[ScoreOwn] = None):
        self.images, self._score_all, self._score_own = images, score_all, score_own

    def ranks(self, pairs: Iterable[Pair]) -> Dict[Pair, Rank]:
        """How many other images score above the pair's image for the text, and how many as high.

        NaN counts against the model: another image's NaN is the highest score, the own image's the lowest.
        """
        found = {}
        for own, others, pair in self._columns(pairs):
            ahead = np.isnan(own) | np.isnan(others) | (others > own)
            found[pair] = int(ahead.sum()), int((others == own).sum())
        return found

    def own(self, pairs: Iterable[Pair]) -> OwnScores:
        """Scores of these pairs; with their mean elsewhere where they come out of `score_all` and N > 1."""
        if self._score_own is not None:
            return OwnScores(self._own_alone(set(pairs)), None)
        own, elsewhere = {}, {}
        for score, others, pair in self._columns(pairs):
            own[pair] = float(score)
            if len(others):
                elsewhere[pair] = float(others.mean())
        return OwnScores(own, elsewhere if self.images > 1 else None)

    def _own_alone(self, pairs: Set[Pair]) -> Dict[Pair, float]:
        texts: List[List[str]] = [[] for _ in range(self.images)]
        for image, text in sorted(pairs):
            texts[image].append(text)
        scores = self._score_own(texts)
        lengths, expected = [len(own) for own in scores], [len(own) for own in texts]
        if lengths != expected:
            wrong = next((i for i, (a, b) in enumerate(zip(lengths, expected)) if a != b), len(lengths))
            raise ValueError(f"score_own: expected {self.images} arrays, each as long as the image's list of texts; "
                             f"image {wrong} differs")  # fmt: skip
        return {(i, t): float(s) for i, (own, some) in enumerate(zip(texts, scores)) for t, s in zip(own, some)}

    def _columns(self, pairs: Iterable[Pair]) -> Iterator[Tuple[float, np.ndarray, Pair]]:
        """The pair's score, the text's scores with all other images (N - 1), and the pair."""
        of: Dict[str, Set[int]] = {}
        for image, text in sorted(set(pairs)):
            of.setdefault(text, set()).add(image)
        texts = list(of)
        for start in range(0, len(texts), TEXTS_AT_ONCE):
            block = texts[start : start + TEXTS_AT_ONCE]
            scores = np.asarray(self._score_all(block), dtype=np.float64)
            if scores.shape != (self.images, len(block)):
                raise ValueError(f"score_all: expected {self.images} images x {len(block)} texts, got {scores.shape}")
            for column, text in enumerate(block):
                for image in of[text]:
                    yield scores[image, column], np.delete(scores[:, column], image), (image, text)

"""The text-only baseline: how often the true text can be told from the false ones without the photo.

Human and generated negatives alike leave traces in their words (SugarCrepe, arXiv 2306.14610, found earlier benchmarks
solved by text-only models). An accuracy says something of a model's sight only so far as it exceeds this one.
"""

import random
import zlib
from typing import List, Optional, Sequence, Tuple

import numpy as np

from lavis_asym.asymmetry.text import words
from lavis_asym.evaluation.probe import chosen_expected
from lavis_asym.probe.texts import Item

FOLDS = 5
BUCKETS = 1 << 16
STEPS, RATE, DECAY = 100, 0.5, 1e-3


def text_only_accuracy(items: Sequence[Item], seed: int = 0) -> Optional[float]:
    """Percent of items whose true text a classifier of words prefers that was trained on other images' items.

    Logistic regression on hashed words and pairs of neighbouring words, trained on (true, wrong) pairs in 5 folds;
    all items of an image are in one fold. Ties count as their expected value, so that it is never below what it knows.

    Args:
        items: each with one wrong text at least.
    Returns:
        None where there are less than two images.
    """
    images = sorted({item.image for item in items})
    if len(images) < 2:
        return None
    random.Random(seed).shuffle(images)
    fold = {image: number % FOLDS for number, image in enumerate(images)}
    features = [(_features(item.true), [_features(text) for text in item.wrong]) for item in items]
    hits: List[float] = []
    for held_out in sorted(set(fold.values())):
        train = [own for item, own in zip(items, features) if fold[item.image] != held_out]
        test = [own for item, own in zip(items, features) if fold[item.image] == held_out]
        weights = _fit([(true, wrong) for true, many in train for wrong in many])
        scores = [(weights[true].sum(), [weights[wrong].sum() for wrong in many]) for true, many in test]
        hits += chosen_expected(*zip(*scores)).tolist()
    return 100.0 * float(np.mean(hits))


def _features(text: str) -> np.ndarray:
    """Buckets of the words and of the pairs of neighbouring words, with the text's ends."""
    sequence = ("<", *words(text), ">")
    grams = [*sequence, *map(" ".join, zip(sequence, sequence[1:]))]
    return np.array([zlib.crc32(gram.encode()) % BUCKETS for gram in grams], dtype=np.int64)


def _fit(pairs: Sequence[Tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """BUCKETS weights that give a pair's first text the higher sum: logistic loss, L2 decay, Adagrad on all pairs."""
    index = np.concatenate([gram for pair in pairs for gram in pair])
    sign = np.concatenate([np.repeat((1.0, -1.0), (len(true), len(wrong))) for true, wrong in pairs])
    row = np.repeat(np.arange(len(pairs)), [len(true) + len(wrong) for true, wrong in pairs])
    weights, squares = np.zeros(BUCKETS), np.full(BUCKETS, 1e-12)
    for _ in range(STEPS):
        margin = np.bincount(row, weights[index] * sign, len(pairs))
        pull = 1.0 / (1.0 + np.exp(np.clip(margin, -30, 30)))  # how wrong the pair is
        gradient = DECAY * weights - np.bincount(index, pull[row] * sign, BUCKETS) / len(pairs)
        squares += gradient**2
        weights -= RATE * gradient / np.sqrt(squares)
    return weights

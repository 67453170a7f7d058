"""Alignment and uniformity of an embedding (Wang and Isola, ICML 2020): how near pairs lie, how far the rest spreads.

alignment = mean over matching pairs of |v_i - t_j|^2, in [0, 4], lower is better;
uniformity = log of the mean over pairs p != q of exp(-2 |x_p - x_q|^2), in [-8, 0], lower is more evenly spread.
"""

from typing import Dict

import numpy as np

from lavis_asym.evaluation.truth import Ragged

ROWS_AT_ONCE = 1024


def unit(vectors: np.ndarray) -> np.ndarray:
    """Rows of length 1, float32 becomes float64; a zero row has no direction and becomes NaN."""
    vectors = np.asarray(vectors, dtype=np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def alignment(images: np.ndarray, texts: np.ndarray, right: Ragged) -> float:
    """Mean squared distance of matching pairs. N x D, M x D, and for each image its right texts (`Truth.texts`)."""
    images, texts, rows = unit(images), unit(texts), right.rows()
    distances = 0.0
    for start in range(0, len(right.values), ROWS_AT_ONCE):
        pairs = slice(start, start + ROWS_AT_ONCE)
        distances += float(((images[rows[pairs]] - texts[right.values[pairs]]) ** 2).sum())
    return distances / len(right.values)


def uniformity(vectors: np.ndarray) -> float:
    """Log of the mean potential of all pairs of two rows, from rows Q x D; NaN for fewer than two rows."""
    vectors = unit(vectors)
    count = len(vectors)
    if count < 2:
        return float("nan")
    potential = 0.0
    for start in range(0, count, ROWS_AT_ONCE):
        block = vectors[start : start + ROWS_AT_ONCE]
        # |x - y|^2 = 2 - 2 <x, y>; each block meets itself and the rows after it, so pairs are counted once.
        energy = np.exp(4 * (block @ vectors[start:].T) - 4)
        energy[np.tril_indices(len(block))] = 0
        potential += float(energy.sum())
    return float(np.log(potential / (count * (count - 1) / 2)))


def alignment_and_uniformity(
    images: np.ndarray, texts: np.ndarray, right: Ragged, groups: np.ndarray
) -> Dict[str, float]:
    """The "geometry" section of a result.

    Identical captions have one vector: their distance of 0 says nothing of the model and would bound the uniformity of
    the texts from below. So each group of identical texts counts once there; alignment counts every matching pair.

    Args:
        images, texts: vectors N x D and M x D, of any length.
        right: for each image its right texts.
        groups: M, equal for identical texts (`words.groups_of`).
    Returns:
        `alignment`, `uniformity_image`, `uniformity_text`; NaN where a vector is NaN or zero.
    """
    first = np.sort(np.unique(groups, return_index=True)[1])
    return {
        "alignment": alignment(images, texts, right),
        "uniformity_image": uniformity(images),
        "uniformity_text": uniformity(np.asarray(texts)[first]),
    }

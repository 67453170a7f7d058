"""Alignment and uniformity against loops over pairs."""

import numpy as np
import pytest

from lavis_asym.evaluation import geometry as module
from lavis_asym.evaluation.geometry import alignment, alignment_and_uniformity, uniformity
from lavis_asym.evaluation.truth import Ragged

RIGHT = Ragged.of([[0, 1, 2], [3], [4, 5]])


def vectors(rows, seed):
    return np.random.default_rng(seed).normal(size=(rows, 7)).astype(np.float32)


def naive_uniformity(rows):
    rows = [row / np.linalg.norm(row) for row in rows.astype(float)]
    pairs = [np.exp(-2 * ((x - y) ** 2).sum()) for i, x in enumerate(rows) for y in rows[:i]]
    return np.log(np.mean(pairs))


@pytest.mark.parametrize("at_once", [1, 4, 1024])
def test_equal_loops_over_pairs(monkeypatch, at_once):
    monkeypatch.setattr(module, "ROWS_AT_ONCE", at_once)
    images, texts = vectors(3, 0), vectors(6, 1)
    pairs = [(i, t) for i in range(3) for t in RIGHT.row(i)]
    distances = [
        ((images[i] / np.linalg.norm(images[i]) - texts[t] / np.linalg.norm(texts[t])) ** 2).sum() for i, t in pairs
    ]
    assert alignment(images, texts, RIGHT) == pytest.approx(np.mean(distances), rel=1e-6)
    assert uniformity(texts) == pytest.approx(naive_uniformity(texts), rel=1e-6)


def test_identical_texts_count_once_for_uniformity():
    images, texts = vectors(3, 0), vectors(6, 1)
    texts[4] = texts[0]
    found = alignment_and_uniformity(images, texts, RIGHT, np.array([7, 1, 2, 3, 7, 5]))
    assert found == {
        "alignment": pytest.approx(alignment(images, texts, RIGHT)),
        "uniformity_image": pytest.approx(naive_uniformity(images), rel=1e-6),
        "uniformity_text": pytest.approx(naive_uniformity(texts[[0, 1, 2, 3, 5]]), rel=1e-6),
    }
    assert found["uniformity_text"] < uniformity(texts)


def test_the_ends_of_the_scale():
    one = np.ones((4, 3))
    assert alignment(one, 2 * one, Ragged.of([[0], [1], [2], [3]])) == 0 and uniformity(one) == pytest.approx(0)
    assert alignment(one, -one, Ragged.of([[0], [1], [2], [3]])) == pytest.approx(4)
    assert uniformity(np.array([[1.0, 0], [-1, 0]])) == pytest.approx(-8)


def test_what_has_no_direction_is_nan():
    images = vectors(3, 0)
    assert np.isnan(uniformity(images[:1]))
    for bad in (0.0, np.nan):
        images[2] = bad
        assert np.isnan(uniformity(images)) and np.isnan(alignment(images, vectors(6, 1), RIGHT))

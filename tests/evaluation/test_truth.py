"""Right pairs from both sides: maps, groups of texts that say the same, galleries of some of the images."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracles import of_owners

from lavis_asym.evaluation import Ragged, Truth

owners = st.integers(1, 6).flatmap(
    lambda images: st.lists(st.integers(0, images - 1), max_size=15).map(lambda more: list(range(images)) + more)
)


def rows(ragged):
    return [ragged.row(i).tolist() for i in range(len(ragged))]


def pairs(truth):
    return {(i, t) for i, row in enumerate(rows(truth.texts)) for t in row}


def test_rows_of_any_length():
    ragged = Ragged.of([[3, 1], [], [2]])
    assert len(ragged) == 3 and rows(ragged) == [[3, 1], [], [2]]
    assert ragged.counts().tolist() == [2, 0, 1] and ragged.rows().tolist() == [0, 0, 2]
    assert ragged.values.dtype == ragged.starts.dtype == np.int64
    assert rows(ragged.take(np.array([2, 0, 0, 1]))) == [[2], [3, 1], [3, 1], []]
    assert rows(Ragged.of_pairs(np.array([2, 0, 2, 2]), np.array([5, 1, 0, 5]), 4)) == [[1], [], [0, 5], []]


@pytest.mark.parametrize("kind", [dict, list])
def test_maps_or_sequences(kind):
    txt2img, img2txt = [1, 0, 1], [[1], [0, 2]]
    if kind is dict:
        txt2img, img2txt = dict(enumerate(txt2img)), dict(enumerate(img2txt))
    truth = Truth.from_maps(txt2img, img2txt)
    assert rows(truth.texts) == [[1], [0, 2]] and rows(truth.images) == [[1], [0], [1]]


@pytest.mark.parametrize(
    "txt2img, img2txt, problem",
    [
        ([0, 1], [[1], [0]], "text 0: of image 0 in txt2img, but of image 1 in img2txt"),
        ([0, 0], [[0]], "txt2img has 2 texts, img2txt lists 1: text 1 must"),
        ([0], [[0, 0]], "txt2img has 1 texts, img2txt lists 2: text 0 must"),
        ([0], [[0, 7]], "text 7 must stand once in each"),
        ({1: 0}, {0: [1]}, "txt2img has 1 entries but none for 0; they must count from 0"),
    ],
)
def test_maps_that_contradict_each_other(txt2img, img2txt, problem):
    with pytest.raises(ValueError, match=problem):
        Truth.from_maps(txt2img, img2txt)


@given(owners, st.data())
def test_groups_against_a_loop(owner, data):
    groups = data.draw(st.lists(st.integers(-2, 3), min_size=len(owner), max_size=len(owner)))
    truth = of_owners(np.array(owner), max(owner) + 1).with_groups(np.array(groups))
    expected = {
        (owner[other], text)
        for text in range(len(owner))
        for other in range(len(owner))
        if groups[text] == groups[other]
    }
    assert pairs(truth) == expected
    assert {(i, t) for t, row in enumerate(rows(truth.images)) for i in row} == expected


@given(owners, st.data())
def test_gallery_of_some_images(owner, data):
    whole = of_owners(np.array(owner), max(owner) + 1)
    images = data.draw(st.lists(st.integers(0, max(owner)), unique=True, min_size=1))
    part, texts = whole.of_images(np.array(images))
    assert texts.tolist() == [t for t, image in enumerate(owner) if image in images]
    assert {(images[i], texts[t]) for i, t in pairs(part)} == {(i, t) for i, t in pairs(whole) if i in images}
    assert rows(part.images) == [[images.index(owner[t])] for t in texts]

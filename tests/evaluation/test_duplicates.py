"""Which captions say the same, and what it changes to count them as right."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from oracles import of_owners

from lavis_asym.asymmetry import normalise
from lavis_asym.evaluation.duplicates import metrics_with_duplicates
from lavis_asym.evaluation.metrics import metrics_of_ranks
from lavis_asym.evaluation.ranks import rank_queries
from lavis_asym.evaluation.words import groups_of, identical, near_identical, words_of


def test_words():
    assert words_of("A man's  T-shirt, n\u00b0 3!\n") == ["a", "man's", "t", "shirt", "n", "3"]
    assert words_of("Caf\u00e9, the dog\u2019s") == ["caf\u00e9", "the", "dog's"] and words_of(" ?! ") == []


@pytest.mark.parametrize(
    "one, other",
    [
        ("There is a white airplane.", "the white airplane"),
        ("It is a piece of farmland .", "Here is a piece of farmland"),
        ("Where was the photo taken? On a street.", "Where was this photo taken? On the street."),
    ],
)
def test_near_identical(one, other):
    assert identical(one) != identical(other) and near_identical(one) == near_identical(other)


@pytest.mark.parametrize(
    "one, other",
    [
        ("a red car", "a blue car"),
        ("a dog bites a man", "a man bites a dog"),
        ("a car", "cars"),
        ("two planes", "three planes"),
        ("a cat on the table", "a cat under the table"),
        ("no dog", "a dog"),
        ("there it is", "here they are"),
        ("?", "!"),
    ],
)
def test_what_differs_stays_apart(one, other):
    assert near_identical(one) != near_identical(other)


@example("A man’s T-shirt")
@example(" ?! ")
@given(st.text(alphabet="aBÉ1’'-_. \n"))
def test_training_and_the_report_have_one_form_of_what_says_the_same(text):
    assert normalise(text) == identical(text)


def test_groups_are_numbered_in_order_of_appearance():
    texts = ["A dog.", "a cat", "a  dog", "the dog", "A cat!"]
    assert groups_of(texts).tolist() == [0, 1, 0, 2, 1] and groups_of(texts).dtype == np.int64
    assert groups_of(texts, near_identical).tolist() == [0, 1, 0, 0, 1]
    assert groups_of([]).tolist() == []


def test_groups_refine_each_other():
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(["a", "the", "is", "dog", "Dog", "red"], 3)) for _ in range(300)]
    same, near = groups_of(texts), groups_of(texts, near_identical)
    assert len(set(zip(same, near))) == len(set(same)) > len(set(near))


def test_section_counts_and_metrics():
    texts = ["a dog", "A dog!", "the dog", "one cat", "one cat", "a bird"]
    truth = of_owners(np.array([0, 1, 2, 2, 2, 3]), 4)
    scores = np.random.default_rng(1).random((4, 6))
    section = metrics_with_duplicates(scores, scores.T, texts, truth)
    assert {name: (of["texts"], of["groups"]) for name, of in section.items()} == {"identical": (2, 1), "near": (3, 1)}
    right = {"identical": [[0, 1], [0, 1], [2], [2], [2], [3]], "near": [[0, 1, 2]] * 3 + [[2], [2], [3]]}
    for name, images in right.items():
        owners = [(i, t) for t, of_text in enumerate(images) for i in of_text]
        by_hand = [[t for i, t in owners if i == image] for image in range(4)]
        best_text = [max(scores[i, t] for t in own) for i, own in enumerate(by_hand)]
        first = [max(scores[i]) == best for i, best in enumerate(best_text)]
        assert section[name]["metrics"]["txt_r1"] == 100 * np.mean(first)
        best_image = [max(scores[i, t] for i in own) for t, own in enumerate(images)]
        assert section[name]["metrics"]["img_r1"] == 100 * np.mean(scores.max(0) == best_image)


def test_without_duplicates_nothing_changes_and_with_them_nothing_falls():
    rng = np.random.default_rng(2)
    truth, scores = of_owners(np.repeat(np.arange(10), 3), 10), rng.random((10, 30))
    plain = metrics_of_ranks(rank_queries(scores, truth.texts), rank_queries(scores.T, truth.images), "against")
    distinct = metrics_with_duplicates(scores, scores.T, [f"w{i}" for i in range(30)], truth)
    assert all(of["metrics"] == plain and of["texts"] == of["groups"] == 0 for of in distinct.values())
    shared = metrics_with_duplicates(scores, scores.T, [f"w{i % 12}" for i in range(30)], truth)
    recalls = [f"{side}_r{k}" for side in ("txt", "img") for k in (1, 5, 10)]
    assert all(shared["identical"]["metrics"][recall] >= plain[recall] for recall in recalls)


def test_a_constant_matrix_gains_nothing_from_duplicates():
    truth = of_owners(np.arange(40), 40)
    section = metrics_with_duplicates(np.zeros((40, 40)), np.zeros((40, 40)), ["a dog", "a cat"] * 20, truth)
    assert section["identical"]["texts"] == 40 and section["identical"]["metrics"]["rsum"] == 0

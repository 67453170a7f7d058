"""Type I by rearrangement, addition and negation."""

import random

import pytest

from lavis_asym.asymmetry import rearrange
from lavis_asym.asymmetry.parse import Context


def outcomes(operator, caption, *siblings, draws=40):
    context = Context((caption, *siblings))
    return {operator(caption, random.Random(seed), context) for seed in range(draws)}


@pytest.mark.parametrize(
    "caption,expected",
    [
        ("A cat on a table", {"A table on a cat"}),
        ("an elephant under a tree", {"a tree under an elephant"}),
        ("a cat and a dog", {None}),  # nothing would change
        ("a house next to a tree", {None}),
        ("cats on a table", {None}),  # numbers differ
        ("a puppy on a dog", {None}),  # one thing
    ],
)
def test_objects_change_places_around_a_directed_relation_only(caption, expected):
    assert outcomes(rearrange.swap_objects, caption) == expected


@pytest.mark.parametrize(
    "caption,expected",
    [
        ("a red bus and an orange car", {"an orange bus and a red car"}),
        ("Two dogs and three cats", {"Three dogs and two cats"}),
        ("a red and blue bus", {None}),  # one thing
        ("a large bus and a big car", {None}),  # one meaning
        ("a red bus and a blue bus", {None}),  # one kind of thing
    ],
)
def test_attributes_of_two_things_change_places(caption, expected):
    assert outcomes(rearrange.swap_attributes, caption) == expected


def test_an_object_is_added_with_its_article():
    texts = outcomes(rearrange.add_object, "a man in a kitchen", draws=200)
    assert any(" an " in text for text in texts if text) and any(text and text.endswith("nearby") for text in texts)
    assert all(text is None or text.startswith("a man in a kitchen ") for text in texts)


@pytest.mark.parametrize(
    "caption,expected",
    [
        ("There are two boats .", "There are no boats"),
        ("Many boats in a harbor", "No boats in a harbor"),
        ("It is a harbor", "It is not a harbor"),
        ("There are no boats", "There are some boats"),
        ("Where is the dog? On the bench.", "Where is the dog? Not on the bench"),
        ("Who is there? Nobody.", "Who is there? Somebody"),
        ("!?", None),
    ],
)
def test_negation(caption, expected):
    assert outcomes(rearrange.negate, caption, draws=1) == {expected}


def test_shuffling_keeps_the_words():
    for text in outcomes(rearrange.shuffle_words, "a cat on a table"):
        assert sorted(text.split()) == ["a", "a", "cat", "on", "table"] and text != "a cat on a table"
    assert outcomes(rearrange.shuffle_words, "cat") == {None}

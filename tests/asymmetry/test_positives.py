"""Types II and III: true wherever their sources are, and no dangling ends."""

import random

import pytest

from lavis_asym.asymmetry import join as joining
from lavis_asym.asymmetry import shorten
from lavis_asym.asymmetry.parse import Context


def outcomes(operator, caption, *siblings, draws=40):
    return {operator(caption, random.Random(seed), Context((caption, *siblings))) for seed in range(draws)}


def joined(caption, *siblings):
    return {text for text, _ in outcomes(joining.join, caption, *siblings)}


@pytest.mark.parametrize(
    "operator,caption,expected",
    [
        ("first_half", "A white dog sits on the top of the hill .", {"A white dog sits"}),
        ("first_half", "There is a red bus", {None}),
        ("first_half", "Where is the dog? On the bench.", {"Where is the dog?"}),
        ("first_half", "Where was the photo taken? On the bench.", {"On the bench"}),
        ("cut_at_phrase", "Cars on a road in a city", {"Cars", "Cars on a road"}),
        ("cut_at_phrase", "a part of a car", {None}),
        ("drop_modifiers", "An old house", {"A house"}),
        ("drop_modifiers", "a small white dog", {"a dog", "a small dog", "a white dog"}),
        ("drop_modifiers", "black and white dogs", {None}),
        ("drop_modifiers", "boats docked neatly at a pier", {"boats docked at a pier"}),
        ("drop_phrase", "the man in the hat is eating", {"the man is eating"}),
        ("drop_phrase", "a court with a road beside it", {"a court"}),
        ("drop_phrase", "a court is surrounded by trees", {None}),
        ("drop_conjunct", "a court with trees and houses", {"a court with trees", "a court with houses"}),
        ("drop_conjunct", "a man and a woman are eating", {None}),
        ("keep_phrase", "This is a baseball diamond .", {"A baseball diamond"}),
    ],
)
def test_what_is_left_is_a_whole_phrase(operator, caption, expected):
    assert outcomes(getattr(shorten, operator), caption) == expected


@pytest.mark.parametrize("caption", ["no cars on the road", "only dogs with a red leash", "all white cars in the lot"])
@pytest.mark.parametrize("operator", ["cut_at_phrase", "drop_phrase", "drop_modifiers", "keep_phrase", "first_half"])
def test_what_a_denial_or_a_quantifier_reaches_is_not_cut(operator, caption):
    assert outcomes(getattr(shorten, operator), caption) == {None}


def test_joined_as_one_sentence_or_two():
    assert joined("There is a red bus .", "It is a London street .") == {
        "There is a red bus. It is a London street",
        "There is a red bus, and it is a London street",
    }
    assert joined("Who is there? A man.", "Where is he? On a bus.") == {"Who is there? A man. Where is he? On a bus"}


def test_near_duplicates_are_not_joined():
    assert joined("a red bus", "A red bus .", "The red bus", "a red BUS") == {None}
    texts = joined("a red bus", "the red bus", "two men in a street")
    assert texts == {"a red bus. Two men in a street", "a red bus, and two men in a street"}


def test_joined_texts_fit_the_encoder():
    long = "a bus " + "and a tree " * 20
    context = Context(("a red dog", long), max_words=20)
    assert joining.join("a red dog", random.Random(0), context) == (None, ("a red dog",))


def test_sources_are_those_that_were_joined():
    captions = ("a red bus", "two men", "a street with a green tree")
    for seed in range(20):
        text, sources = joining.join(captions[0], random.Random(seed), Context(captions))
        assert sources[0] == captions[0] and len(sources) in (2, 3)
        assert all(source.lower() in text.lower() for source in sources)

"""The probe's own operators: what they make, and that it is true of no caption."""

import random

import pytest

from lavis_asym.asymmetry.builder import TEXT_OPERATORS, brings_in_only_new
from lavis_asym.asymmetry.lexicon import lexicon
from lavis_asym.asymmetry.parse import Context, parse
from lavis_asym.asymmetry.policy import operators
from lavis_asym.asymmetry.text import clean, normalise
from lavis_asym.probe.operators import OWN, deny_detail, lead_with_object, own_operators

GALLERY = (
    ("A man with a hat in a kitchen .", "The man is holding two plates in the kitchen ."),
    ("Three boats near a pier", "Some boats on the blue water with a lighthouse"),
    ("An elephant next to a giraffe", "two animals at the zoo ."),
    ("a woman in a red dress on some rocks", "a woman sitting on rocks in a shirt"),
    ("There is a piece of farmland .", "It is a piece of cropland ."),
    ("Where is the cat? On the couch.", "Who is there? A girl and a cat."),
    ("Where is the train? At the museum.", "Who is on the platform? No one."),
    ("Who's wearing a hat? A man with a beard.", "Where was this taken? At the airport."),
)
EVERY = [caption for own in GALLERY for caption in own]


def outcomes(operator, caption, *siblings, draws=40):
    context = Context((caption, *siblings))
    return {operator(caption, random.Random(seed), context) for seed in range(draws)}


def test_no_policy_can_train_on_them():
    assert not set(OWN) & ({*operators("I"), *operators("II"), *operators("III")} | set(TEXT_OPERATORS))
    assert tuple(own_operators(EVERY)) == OWN


@pytest.mark.parametrize(
    "caption,expected",
    [
        ("a man holding two hats", {"a man holding no hats"}),
        ("a house with a pool", {"a house with no pool"}),
        ("A cat and a dog on a table", {"A cat and no dog on a table"}),
        ("Who is there? A man and a dog", {"Who is there? A man and no dog"}),
        ("some houses with a pool", {None}),  # some others may have none
        ("a dog on a bench", {None}),
        ("a man with no hat and a dog", {None}),
        ("Who's wearing a hat? The woman", {None}),  # not in the question
    ],
)
def test_a_detail_is_denied(caption, expected):
    assert outcomes(deny_detail, caption) == expected


def test_the_first_thing_is_new_and_the_sentence_agrees():
    for text in outcomes(lead_with_object, "An orange on a bench", "a kitchen"):
        first, rest = text.split(" and ")
        article, name = first.split(" ", 1)
        assert rest == "an orange on a bench" and article in ("A", "An") and name in lexicon().concepts_of
    assert all(text.startswith("There is a") for text in outcomes(lead_with_object, "There is a dog"))
    for refused in ("A dog is on a bench", "No dogs", "Where is the dog? A bench"):
        assert outcomes(lead_with_object, refused) == {None}


def test_grafts_are_the_ends_of_other_captions():
    own = own_operators(EVERY)
    grafted = outcomes(own["graft_phrase"], "A man in a kitchen", *GALLERY[0])
    assert {"A man near a pier", "A man at the zoo", "A man next to a giraffe"} <= grafted
    assert not any(text and ("shirt" in text or "rocks" in text or "water" in text) for text in grafted)  # may be there
    answers = outcomes(own["graft_answer"], "Where is the cat? On the couch", *GALLERY[5])
    assert answers == {"Where is the cat? At the museum", "Where is the cat? At the airport"}
    assert outcomes(own["graft_phrase"], "three boats") == {None}
    assert outcomes(own["graft_answer"], "three boats in a lake") == {None}


def test_nothing_that_a_caption_says_is_brought_in():
    made = 0
    for captions in GALLERY:
        context = Context(captions)
        for name, operator in own_operators(EVERY).items():
            for caption in captions:
                for seed in range(30):
                    text = operator(caption, random.Random(seed), context)
                    if text is None:
                        continue
                    made += 1
                    assert normalise(text) not in map(normalise, captions)
                    assert brings_in_only_new(text, clean(caption), context), (name, text)
                    for unit in set(parse(text).units) - set(parse(caption).units):
                        concepts = lexicon().concepts_of.get(unit.lower, ())
                        assert name == "deny_detail" or not concepts or any(map(context.may_name, concepts)), text
    assert made > 300

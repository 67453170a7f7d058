"""Type I by replacement: in agreement, and false by all that the captions say."""

import random

import pytest

from lavis_asym.asymmetry import rearrange, replace
from lavis_asym.asymmetry.lexicon import lexicon
from lavis_asym.asymmetry.parse import Context


def outcomes(operator, caption, *siblings, draws=60):
    """All that an operator makes of a caption; None among them where it was not applicable."""
    context = Context((caption, *siblings))
    return {operator(caption, random.Random(seed), context) for seed in range(draws)}


@pytest.mark.parametrize(
    "operator,caption,expected",
    [
        ("replace_colour", "a green ball", {"an orange ball", "a red ball"}),
        ("replace_number", "two dogs", {"three dogs", "five dogs"}),
        ("replace_number", "Lots of boats at the pier", {"Two boats at the pier", "Five boats at the pier"}),
        ("replace_size", "A small dog", {"A large dog"}),
        ("replace_material", "a wooden bench", {"a metal bench", "a plastic bench"}),
        ("replace_state", "an old man", {"a young man"}),
        ("replace_state", "an old building", {"a new building"}),
        ("replace_action", "a man sitting on a bench", {"a man running on a bench"}),
        ("replace_relation", "a cat behind the door", {"a cat in front of the door"}),
        ("replace_relation", "a court with some trees", {"a court without any trees"}),
        ("replace_gender", "A man and his dog", {"A woman and her dog"}),
        ("replace_gender", "a girl waves, a cat with her", {"a boy waves, a cat with him"}),
        ("replace_answer", "Who is there? Nobody", {"Who is there? A man", "Who is there? Two boys"}),
        ("replace_answer", "Who is there? A man", {"Who is there? Nobody", "Who is there? No one"}),
    ],
)
def test_one_detail_becomes_another(operator, caption, expected):
    assert expected <= outcomes(getattr(replace, operator), caption)


def test_objects_keep_class_number_and_article():
    texts = outcomes(replace.replace_object, "An elephant in the water")
    animals = {concept.head for concept in lexicon().groups["animal"]}
    for text in texts:
        article, name = text.removesuffix(" in the water").split(" ", 1)
        assert name in animals and article == ("An" if name[0] in "aeiou" else "A")
    plurals = {concept.plural for concept in lexicon().groups["animal"]}
    assert all(text.split()[0] in plurals for text in outcomes(replace.replace_object, "elephants drinking"))


def test_a_place_keeps_its_preposition():
    for text in outcomes(replace.replace_object, "a man at the zoo"):
        place = next(c for c in lexicon().groups["site"] if c.head == text.split(" the ")[1])
        assert "at" in place.prepositions


@pytest.mark.parametrize(
    "caption,sibling,never",
    [
        ("a plane on the runway", "an aircraft", "airplane"),
        ("a truck and a house", "a building", "building"),
        ("a dog", "two cats and a horse", "cat"),
        ("a dog", "two cats and a horse", "horse"),
        ("a bus in the street", "traffic", "truck"),
    ],
)
def test_what_a_caption_names_by_another_word_is_never_brought_in(caption, sibling, never):
    for operator in (replace.replace_object, rearrange.add_object):
        texts = outcomes(operator, caption, sibling, draws=300)
        assert not any(text and never in text.replace(caption, "") for text in texts)


@pytest.mark.parametrize("caption", ["no cars on the road", "Who is kicking the ball? Nobody", "without trees"])
def test_behind_a_denial_nothing_is_replaced(caption):
    assert outcomes(replace.replace_object, caption) == {None}
    assert outcomes(rearrange.add_object, caption) == {None}


@pytest.mark.parametrize(
    "operator,caption",
    [
        ("replace_colour", "He ate an orange"),
        ("replace_number", "one of them"),
        ("replace_gender", "a man and a woman"),
        ("replace_object", "where would you shop"),
        ("replace_object", "a fire truck door"),
        ("replace_material", "a glass of water"),
        ("replace_answer", "a man on a bench"),
        ("replace_relation", "sea gulls over and over again"),
        ("replace_relation", "some houses with a pool"),  # others may have none
        ("replace_relation", "a court surrounded with trees"),
    ],
)
def test_not_applicable_is_none(operator, caption):
    assert outcomes(getattr(replace, operator), caption) == {None}

"""Queries and negatives: drawn by seed, of the right type, ambiguous where they fit another photo."""

from lavis_asym.asymmetry.parse import content_words
from lavis_asym.asymmetry.text import clean, words
from lavis_asym.probe.texts import FAMILIES, Drawn, Query, ambiguous, draw_captions, negatives, queries

IMAGES = ("1.jpg", "2.jpg", "3.jpg")
CAPTIONS = (
    ["A small red plane to the left of a large truck .", "a plane , a truck and two buses at the airport", "A plane"],
    ["A man with a hat in a kitchen", "a man with a hat in a kitchen .", "two plates on a wooden table"],
    ["A woman on a beach and a dog with a ball", "the dog is in the water"],
)
DRAWN = draw_captions(CAPTIONS, 100, 0)


def made(family, seed=0):
    return queries(family, DRAWN, IMAGES, CAPTIONS, seed)


def test_captions_are_drawn_once_by_seed_and_up_to_the_limit():
    assert len(DRAWN) == 7  # the man in the kitchen once
    some = [draw_captions(CAPTIONS, 3, seed) for seed in range(20)]
    assert all(len(own) == len(set(own)) == 3 and set(own) <= set(DRAWN) for own in some)
    assert some == [draw_captions(CAPTIONS, 3, seed) for seed in range(20)] and len(set(map(tuple, some))) > 5
    assert draw_captions([[], ["..."], ["a dog"]], 9, 0) == [Drawn(2, "a dog")]


def test_queries_say_less_or_more_of_their_sources():
    for family, (kind, _) in FAMILIES.items():
        assert made(family) and made(family) == made(family)
        for query in made(family):
            said = set().union(*map(content_words, query.sources))
            assert content_words(query.text) <= said
            assert set(query.sources) <= set(map(clean, CAPTIONS[query.image]))
            shortest = min(len(words(source)) for source in query.sources)
            assert len(words(query.text)) < shortest if kind == "II" else len(query.sources) > 1
    assert any(made("cut", seed) != made("cut") for seed in range(1, 9))


def test_a_query_is_ambiguous_where_another_photo_is_said_to_show_all_of_it():
    captions = (["a dog on a bench"], ["a cat", "a dog and a tree"], ["a cat on a bench"])
    texts = {"a dog": True, "the dog, the tree": False, "a cat on the bench": False, "a bench": True, "the": True}
    owner = {"the dog, the tree": 1, "a cat on the bench": 2}
    asked = [Query(owner.get(text, 0), text, ()) for text in texts]
    assert ambiguous(asked, captions) == list(texts.values())


def test_negatives_are_the_same_for_a_seed_and_name_their_caption():
    first, again = (dict(negatives(DRAWN, IMAGES, CAPTIONS, 0)) for _ in range(2))
    assert first == again and {"replace_colour", "negate", "lead_with_object"} <= {n for n in first if first[n]}
    assert any(dict(negatives(DRAWN, IMAGES, CAPTIONS, seed)) != first for seed in range(1, 5))
    for items in first.values():
        for item in items:
            assert item.true in map(clean, CAPTIONS[item.image]) and item.wrong[0] != item.true

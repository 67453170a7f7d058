"""The baseline finds what the words give away, and nothing where they give nothing away."""

import random

import pytest

from lavis_asym.probe.text_only import text_only_accuracy
from lavis_asym.probe.texts import Item

NOUNS = "dog cat bus tree boat house road plane chair table lamp horse".split()


def items(wrong, images=60, each=4, seed=0):
    rng = random.Random(seed)

    def sentence():
        return f"a {rng.choice(NOUNS)} next to a {rng.choice(NOUNS)} and a {rng.choice(NOUNS)}"

    return [
        Item(i, sentence(), tuple(wrong(sentence(), rng) for _ in range(3))) for i in range(images) for _ in range(each)
    ]


def test_a_planted_word_is_found():
    assert text_only_accuracy(items(lambda text, rng: f"{text} nearby")) > 99


def test_a_planted_order_of_words_is_found():
    assert text_only_accuracy(items(lambda text, rng: text.replace("next to a", "a next to"))) > 99


def test_a_word_that_is_false_more_often_is_found_in_part():
    accuracy = text_only_accuracy(items(lambda text, rng: text + (" giraffe" if rng.random() < 0.5 else "")))
    assert 30 < accuracy < 75


def test_it_stays_at_chance_where_the_words_tell_nothing():
    accuracies = [text_only_accuracy(items(lambda text, rng: text, seed=seed)) for seed in range(5)]
    assert sum(accuracies) / 5 == pytest.approx(25, abs=4)


def test_what_holds_of_one_image_only_is_not_learned():
    """True texts name their image: an item-wise split would tell them from the wrong ones, which name none."""
    own = [Item(i, f"a photo{i}", (f"a photo{i + 1000}",)) for i in range(50) for _ in range(4)]
    assert text_only_accuracy(own) == pytest.approx(50)  # no word is known: all are ties


def test_one_image_has_no_other_to_learn_from():
    assert text_only_accuracy([Item(0, "a dog", ("a cat",))] * 9) is None


def test_the_same_seed_gives_the_same_figure():
    some = items(lambda text, rng: text, images=20)
    assert text_only_accuracy(some, 3) == text_only_accuracy(some, 3)

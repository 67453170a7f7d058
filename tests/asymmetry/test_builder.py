"""Samples: determinism, fixed shape, and no true negative by construction."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lavis_asym.asymmetry import SampleBuilder, normalise
from lavis_asym.asymmetry.text import clean, words

SIBLINGS = [
    "A small red circle to the left of a large blue square.",
    "a red circle and two green stars",
    "There is a large square , a circle and two stars .",
]
CAPTION = SIBLINGS[0]


def draws(builder, captions=SIBLINGS, epochs=60):
    return [builder.build(captions[0], captions, "img", epoch) for epoch in range(epochs)]


def only(side, operator):
    policy = {"positives": {"truncate": 1.0}, "negatives": {"shuffle_words": 1.0}}
    return SampleBuilder({**policy, side: {operator: 1.0}})


def test_truncation_keeps_the_first_half():
    sample = only("positives", "truncate").build(CAPTION, SIBLINGS, "img").positives[0]
    assert sample == ("A small red circle to the", "II", "truncate", (CAPTION,))


def test_concatenation_joins_two_different_captions():
    for drawn in draws(only("positives", "concatenate")):
        sample = drawn.positives[0]
        assert sample.type == "III" and sample.sources[0] == CAPTION and sample.sources[1] in SIBLINGS[1:]
        assert sample.text == f"{clean(CAPTION)}. {clean(sample.sources[1])}"


def test_concatenation_needs_another_caption():
    builder = only("positives", "concatenate")
    for siblings in ([], [CAPTION], [CAPTION.upper(), CAPTION + " "]):
        assert builder.build(CAPTION, siblings, "img").positives[0].operator == "copy"


def test_replaced_word_is_of_its_class_and_mentioned_by_no_sibling():
    mentioned = {word for caption in SIBLINGS for word in words(caption)}
    for drawn in draws(only("negatives", "replace_word")):
        old, new = words(clean(CAPTION)), words(drawn.negatives[0].text)
        changed = [(a, b) for a, b in zip(old, new) if a != b and a not in ("a", "an")]
        assert len(old) == len(new) and len(changed) == 1
        assert changed[0][1] not in mentioned


def test_replacing_keeps_the_article_right():
    texts = {d.negatives[0].text for d in draws(only("negatives", "replace_word"), ["a red ball"], 200)}
    assert "an orange ball" in texts and "a blue ball" in texts
    assert not any(text.startswith(("a o", "an b", "an g")) for text in texts)


def test_swapped_words_are_of_one_class():
    texts = {d.negatives[0].text for d in draws(only("negatives", "swap_words"))}
    assert "A small blue circle to the left of a large red square" in texts
    assert "A large red circle to the left of a small blue square" in texts


def test_the_same_draw_gives_the_same_samples_and_the_next_epoch_others():
    assert draws(SampleBuilder(seed=1)) == draws(SampleBuilder(seed=1))
    assert draws(SampleBuilder(seed=1)) != draws(SampleBuilder(seed=2))
    assert len(set(draws(SampleBuilder()))) > 20


def test_a_zero_weight_switches_an_operator_off():
    builder = SampleBuilder({"positives": {"truncate": 1, "concatenate": 0}, "negatives": {"shuffle_words": 1}})
    assert {d.positives[0].operator for d in draws(builder)} == {"truncate"}


@pytest.mark.parametrize(
    "policy,message",
    [
        ({"negative": {}}, "unknown key 'negative'"),
        ({"negatives": {"truncate": 1}}, "unknown operator 'truncate'"),
        ({"positives": {"truncate": -1}}, "weight >= 0"),
    ],
)
def test_a_wrong_policy_is_named(policy, message):
    with pytest.raises(ValueError, match=message):
        SampleBuilder(policy)


captions = st.one_of(st.text(max_size=60), st.lists(st.sampled_from("a an red two man left of dog".split())).map(" ".join))


@settings(max_examples=300, deadline=None)
@given(captions, st.lists(captions, max_size=4), st.integers(0, 3))
def test_any_text_gives_samples_that_keep_the_rules(caption, siblings, epoch):
    drawn = SampleBuilder().build(caption, siblings, "key", epoch)
    assert len(drawn.positives) == len(drawn.negatives) == len(drawn.positive_negatives) == 1
    true = {normalise(text) for text in (caption, *siblings)}
    assert normalise(drawn.negatives[0].text) not in true
    positive = drawn.positives[0]
    assert normalise(drawn.positive_negatives[0].text) not in true | {normalise(positive.text)}
    assert set(words(positive.text)) <= {word for text in (caption, *siblings) for word in words(text)}
    assert positive.sources and not drawn.negatives[0].sources

"""The texts of a batch one by one: their order, their ids, and what is known to be true of which image."""

import pytest
import torch

from lavis_asym.asymmetry import normalise
from lavis_asym.models.batch import known_pairs, read_captions, read_texts, term_columns

FIELDS = {
    "caption": ["a dog", "A CAT", "a bird"],
    "negative": ["no dog\na dog", "no cat\na bus", "no bird\na cat"],
    "negative_operator": ["negate\nzero_token", "negate\nreplace_object", "negate\nreplace_object"],
    "positive": ["a dog. a pup", "a", "a bird. a dog"],
    "sources": ["a dog\na pup", "a cat", "a bird\na dog"],
    "siblings": ["a dog\na pup", "a cat\na dog", "a bird\na dog\na pup"],
}


IDS = [7, 8, 9]


def known_one_by_one(captions, texts):
    """As `known_pairs` is defined."""
    rows = []
    for own, image_id in zip(captions, IDS):
        true = own | {normalise(text.text) for text in texts if text.text_id == image_id and not text.operator}
        rows.append([not text.operator and (normalise(text.text) in true or text.sources <= true) for text in texts])
    return rows


def test_texts_stand_by_kind_and_then_by_image():
    texts = read_texts(FIELDS, [7, 8, 9])
    assert [text.text for text in texts[:5]] == ["a dog", "A CAT", "a bird", "no dog", "no cat"]
    assert [text.text_id for text in texts] == [7, 8, 9] + 6 * [-1] + [7, 8, 9]
    assert [text.term for text in texts] == 9 * ["caption"] + 3 * ["positive"]
    assert [text.operator for text in texts if text.operator] == ["zero_token"], "words are no operator on vectors"


def test_known_are_equal_captions_and_positives_whose_sources_are_all_the_images():
    texts = read_texts(FIELDS, [7, 8, 9])
    known = known_pairs(read_captions(FIELDS), IDS, texts)
    assert known.tolist() == known_one_by_one(read_captions(FIELDS), texts)
    assert known[:, :3].tolist() == [[True, False, False], [True, True, False], [True, False, True]]
    assert known[:, 9:].tolist() == [[True, False, False], [False, True, False], [True, False, True]]


def test_a_caption_whose_token_vectors_are_perturbed_is_known_of_no_image():
    texts = read_texts(FIELDS, [7, 8, 9])
    assert [(text.text, text.operator) for text in texts[6:9]] == [
        ("a dog", "zero_token"),
        ("a bus", ""),
        ("a cat", ""),
    ]
    assert known_pairs(read_captions(FIELDS), IDS, texts)[:, 6:9].tolist() == [
        [False, False, False], [False, False, True], [False, False, False],
    ]  # fmt: skip


def test_plain_captions_are_their_own_siblings():
    captions = ["a dog\n on a mat", "A dog on a mat", "a cat"]
    texts = read_texts(captions, [0, 1, 2])
    assert [text.text for text in texts] == ["a dog on a mat", "A dog on a mat", "a cat"]
    assert known_pairs(read_captions(captions), [0, 1, 2], texts).tolist() == [[True, True, False]] * 2 + [
        [False, False, True]
    ]


def test_captions_without_samples_are_known_of_every_image_whose_caption_they_are():
    captions, siblings = ["a red bus", "a dog"], ["a red bus\na bus", "a dog\nA red bus."]
    known = known_pairs(read_captions(captions, siblings), [0, 1], read_texts(captions, [0, 1]))
    assert known.tolist() == [[True, False], [True, True]]


def test_nothing_known_is_nothing_marked():
    texts = read_texts(["a dog"], [0])
    assert known_pairs(read_captions(["a cat", "a bird"]), [1, 2], texts).tolist() == [[False], [False]]


@pytest.mark.parametrize("left_out,columns", [((), 3), (("positive",), 0)])
def test_a_term_has_its_own_columns(left_out, columns):
    fields = {name: values for name, values in FIELDS.items() if name not in left_out}
    texts, captions = read_texts(fields, [7, 8, 9]), read_captions(fields)
    scores = torch.arange(3 * len(texts)).view(3, -1)
    known = known_pairs(captions, IDS, texts)
    own, ids, own_known = term_columns("caption", texts, scores, known)
    assert torch.equal(own, scores[:, :9]) and torch.equal(own_known, known[:, :9])
    assert ids.tolist() == [7, 8, 9] + 6 * [-1]
    positive = term_columns("positive", texts, scores, known)
    if not columns:
        assert positive is None
    else:
        assert torch.equal(positive[0], scores[:, 9:]) and torch.equal(positive[2], known[:, 9:])
        assert positive[1].tolist() == [7, 8, 9]


def test_equal_positives_of_two_images_are_true_of_both():
    fields = {
        "caption": ["a dog on a mat", "a dog"], "siblings": ["a dog on a mat", "a dog"],
        "positive": ["a pet", "A pet ."], "sources": ["a dog on a mat", "a dog"],
        "positive_negative": ["a pet", "a cat"],
    }  # fmt: skip
    texts = read_texts(fields, [3, 4])
    assert [(text.text, text.text_id, text.term) for text in texts[2:]] == [
        ("a pet", 3, "positive"), ("A pet .", 4, "positive"), ("a pet", -1, "positive"), ("a cat", -1, "positive"),
    ]  # fmt: skip
    known = known_pairs(read_captions(fields), [3, 4], texts)
    assert known.tolist() == [[True, False, True, True, True, False], [False, True, True, True, True, False]]

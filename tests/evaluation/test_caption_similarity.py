"""ROUGE-L and CIDEr-D against pycocoevalcap, text by text."""

import random

import numpy as np
import pytest

from lavis_asym.evaluation.caption_similarity import Cider, RougeL
from lavis_asym.evaluation.truth import Ragged

WORDS = "a man riding the red horse on wide field near two small dogs under blue sky".split()


@pytest.fixture(scope="module", params=[(0, 12), (60, 140)], ids=["short", "longer than an integer"])
def gallery(request):
    """Texts with repeated words, one of no word and one of a single word; images that share a text or repeat one."""
    rng = random.Random(0)
    texts = [rng.choices(WORDS, k=rng.randint(*request.param)) for _ in range(40)] + [[], ["sky"]]
    references = [sorted(rng.sample(range(40), rng.randint(1, 6))) for _ in range(12)] + [[3, 3, 5], [40, 41], [40]]
    return texts, references


def by_pycocoevalcap(scorer, texts, references):
    """D x N: one call a text, the images being the documents."""
    described = {image: [" ".join(texts[t]) for t in of_image] for image, of_image in enumerate(references)}
    return np.array(
        [scorer.compute_score(described, {image: [" ".join(text)] for image in described})[1] for text in texts]
    )


def naive_common(a, b):
    table = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]
    for i, x in enumerate(a):
        for j, y in enumerate(b):
            table[i + 1][j + 1] = table[i][j] + 1 if x == y else max(table[i][j + 1], table[i + 1][j])
    return table[-1][-1]


def test_rouge_is_pycocoevalcaps(gallery):
    from pycocoevalcap.rouge.rouge import Rouge

    texts, references = gallery
    expected = by_pycocoevalcap(Rouge(), texts, references)
    ours = RougeL(texts, Ragged.of(references))
    np.testing.assert_allclose([ours.of_text(t) for t in range(len(texts))], expected, atol=1e-12)
    np.testing.assert_allclose([ours.of_image(i) for i in range(len(references))], expected.T, atol=1e-12)


def test_cider_is_pycocoevalcaps_over_ten(gallery):
    from pycocoevalcap.cider.cider import Cider as Reference

    texts, references = gallery
    expected = by_pycocoevalcap(Reference(), texts, references) / 10
    ours = Cider(texts, Ragged.of(references))
    assert expected.max() > 0.1
    np.testing.assert_allclose([ours.of_text(t) for t in range(len(texts))], expected, atol=1e-12)
    np.testing.assert_allclose([ours.of_image(i) for i in range(len(references))], expected.T, atol=1e-12)


@pytest.mark.parametrize("length", [1, 63, 64, 65, 128, 129])
def test_common_words_around_the_size_of_an_integer(length):
    rng = random.Random(length)
    lengths = [length] * 2 + [rng.randint(1, 150) for _ in range(30)]
    texts = [rng.choices("ab", k=words) for words in lengths]
    common = RougeL(texts, Ragged.of([[0]])).common(0)
    assert common.tolist() == [naive_common(texts[0], text) for text in texts] and common[0] == length


def test_one_image_tells_nothing_by_cider():
    assert Cider([["a", "dog"]], Ragged.of([[0]])).of_text(0).tolist() == [0.0]

"""NDCG against scikit-learn; scores that know nothing; the whole of a small gallery by a loop."""

import numpy as np
import pytest
from oracles import of_owners

from lavis_asym.evaluation.caption_similarity import RougeL
from lavis_asym.evaluation.graded import graded_metrics, ndcg

TEXTS = ["A dog runs.", "a dog runs", "The dog is running!", "two red cars", "red cars", "a blue car on the road",
         "a man and a dog", "A man walks his dog", "people on a road", "a road"]  # fmt: skip
TRUTH = of_owners(np.repeat(np.arange(5), 2), 5)


@pytest.mark.parametrize("candidates", [3, 25, 26, 200])
@pytest.mark.parametrize("levels", [2, 10, 10**6])
def test_ndcg_is_scikit_learns(candidates, levels):
    sklearn = pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed")
    rng = np.random.default_rng(levels)
    scores = rng.integers(0, levels, (20, candidates)).astype(np.float32)
    gains = 2 ** rng.random((20, candidates)) - 1
    ours = [ndcg(row, own) for row, own in zip(scores, gains)]
    assert ours == pytest.approx([sklearn.ndcg_score([own], [row], k=25) for row, own in zip(scores, gains)], abs=1e-12)


def test_a_hand_computed_value():
    assert ndcg(np.array([3.0, 2, 1]), np.array([0.0, 1, 0.5]), at=2) == pytest.approx(
        (1 / np.log2(3)) / (1 + 0.5 / np.log2(3))
    )


@pytest.mark.parametrize("value", [0.0, np.inf, -np.inf])
def test_a_constant_score_is_chance_and_never_luck(value):
    rng = np.random.default_rng(0)
    gains = np.sort(rng.random(60))[::-1]
    assert ndcg(gains, gains) == pytest.approx(1)
    chance = np.mean([ndcg(rng.random(60), gains) for _ in range(3000)])
    assert ndcg(np.full(60, value), gains) == pytest.approx(chance, abs=0.005)
    assert ndcg(np.full(60, value), gains) == pytest.approx(ndcg(np.full(60, value), gains[::-1]))


def test_nan_never_helps():
    rng = np.random.default_rng(1)
    gains, scores = rng.random(40), rng.random(40)
    assert ndcg(np.full(40, np.nan), gains) == 0
    for known in (gains > np.median(gains), gains <= np.median(gains)):
        assert ndcg(np.where(known, 0.0, np.nan), gains) <= ndcg(np.zeros(40), gains)
    for candidate in range(40):
        assert ndcg(np.where(np.arange(40) == candidate, np.nan, scores), gains) <= ndcg(scores, gains)


def test_no_candidate_of_worth_and_one_candidate():
    assert ndcg(np.arange(5.0), np.zeros(5)) == 0
    assert ndcg(np.zeros(1), np.ones(1)) == 1


def test_the_whole_gallery_by_a_loop():
    scores = np.random.default_rng(2).random((5, 10))
    found = graded_metrics(scores, scores.T, TEXTS, TRUTH, at=3)["rouge_l"]
    words = [text.lower().strip(".!").split() for text in TEXTS]
    rouge = RougeL(words, TRUTH.texts)
    relevance = np.array([rouge.of_image(i) for i in range(5)])
    for side, values, related in (("txt", scores, relevance), ("img", scores.T, relevance.T)):
        each = [ndcg(row, 2**own - 1, 3) for row, own in zip(values, related)]
        assert found[f"{side}_ndcg3"] == pytest.approx(np.mean(each)) and found[f"{side}_queries"] == len(each)


def test_own_captions_first_is_better_than_chance_and_a_constant_is_chance():
    right = np.repeat(np.eye(5), 2, axis=1)
    good = graded_metrics(right, right.T, TEXTS, TRUTH, at=2)
    constant = graded_metrics(np.zeros((5, 10)), np.zeros((10, 5)), TEXTS, TRUTH, at=2)
    assert set(good) == {"rouge_l", "cider"}
    for name, values in good.items():
        for side in ("txt", "img"):
            assert values[f"{side}_chance2"] == constant[name][f"{side}_ndcg2"] < values[f"{side}_ndcg2"] <= 1


def test_a_sample_of_queries_is_counted_and_repeats():
    scores = np.random.default_rng(3).random((5, 10))
    wrapped = []

    def progress(queries):
        wrapped.append(len(queries))
        return queries

    found = graded_metrics(scores, scores.T, TEXTS, TRUTH, most_queries=4, progress=progress)["cider"]
    assert found["txt_queries"] == found["img_queries"] == 4 and len(wrapped) == 4
    assert found == graded_metrics(scores, scores.T, TEXTS, TRUTH, most_queries=4)["cider"]


def test_scores_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match="5 images and 10 texts"):
        graded_metrics(np.zeros((5, 9)), np.zeros((9, 5)), TEXTS, TRUTH)
    with pytest.raises(ValueError, match="image 1 has no text"):
        graded_metrics(np.zeros((2, 1)), np.zeros((1, 2)), ["a dog"], of_owners(np.array([0]), 2))

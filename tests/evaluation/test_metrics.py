"""Ranks against a naive sort, LAVIS's own function, and matrices that reward nothing."""

import numpy as np
import pytest

from lavis_asym.evaluation import ranks_against_ties, recall_table, retrieval_metrics


def id_maps(captions_per_image):
    img2txt, txt2img = {}, {}
    for image, count in enumerate(captions_per_image):
        img2txt[image] = list(range(len(txt2img), len(txt2img) + count))
        txt2img.update({text: image for text in img2txt[image]})
    return txt2img, img2txt


def naive_rank(row, right):
    """Wrong candidates first among equals; NaN is worst for a right candidate and best for a wrong one."""
    worth = [(-np.inf if k in right else np.inf) if np.isnan(score) else score for k, score in enumerate(row)]
    order = sorted(range(len(row)), key=lambda k: (-worth[k], k in right))
    return next(place for place, k in enumerate(order) if k in right)


@pytest.mark.parametrize("levels", [3, 50])
def test_ranks_equal_a_naive_sort_with_ties_and_nan(levels):
    rng = np.random.default_rng(0)
    scores = rng.integers(0, levels, (300, 12)).astype(float)
    scores[rng.random(scores.shape) < 0.1] = np.nan
    right = [sorted(rng.choice(12, rng.integers(1, 4), replace=False).tolist()) for _ in range(300)]
    expected = [naive_rank(row, own) for row, own in zip(scores, right)]
    assert ranks_against_ties(scores, right).tolist() == expected


def test_equals_lavis_where_there_are_no_ties(registered, tmp_path, monkeypatch):
    from lavis.common.registry import registry
    from lavis.tasks.retrieval import RetrievalTask

    monkeypatch.setitem(registry.mapping["paths"], "output_dir", str(tmp_path))
    rng = np.random.default_rng(1)
    txt2img, img2txt = id_maps(rng.integers(1, 8, 60))
    scores = rng.permutation(60 * len(txt2img)).reshape(60, -1).astype(float)
    scores[[txt2img[t] for t in txt2img], list(txt2img)] += 60 * len(txt2img) / 2 + 0.5
    lavis = RetrievalTask._report_metrics(scores, scores.T, txt2img, img2txt)
    ours = retrieval_metrics(scores, scores.T, txt2img, img2txt)
    assert 0 < ours["txt_r1"] < 100
    assert {k: v for k, v in lavis.items() if k != "agg_metrics"} == pytest.approx(
        {k: ours[k] for k in lavis if k != "agg_metrics"}
    )
    assert ours["agg_metrics"] == ours["rsum"] == sum(ours[f"{s}_r{k}"] for s in ("txt", "img") for k in (1, 5, 10))


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf, -np.inf])
def test_a_constant_matrix_ranks_last(value):
    txt2img, img2txt = id_maps([5] * 30)
    scores = np.full((30, 150), value)
    metrics = retrieval_metrics(scores, scores.T, txt2img, img2txt)
    assert metrics["rsum"] == 0 and metrics["img_medr"] == 30 and metrics["txt_medr"] == 146


def test_one_image_one_text():
    metrics = retrieval_metrics(np.zeros((1, 1)), np.zeros((1, 1)), {0: 0}, {0: [0]})
    assert metrics["rsum"] == 600 and metrics["txt_medr"] == metrics["img_medr"] == 1


def test_median_rank_counts_from_one():
    scores = np.array([[3.0, 2, 1], [3, 2, 1], [3, 2, 1]])
    metrics = retrieval_metrics(scores, scores.T, {0: 0, 1: 1, 2: 2}, {0: [0], 1: [1], 2: [2]})
    assert metrics["txt_medr"] == 2 and metrics["txt_r1"] == pytest.approx(100 / 3)


def test_what_does_not_fit_is_named():
    with pytest.raises(ValueError, match="2 rows of scores"):
        ranks_against_ties(np.zeros((2, 2)), [[0]])
    with pytest.raises(ValueError, match="query 1 has no right candidate"):
        ranks_against_ties(np.zeros((2, 2)), [[0], []])
    with pytest.raises(ValueError, match="must be 3 x 2"):
        retrieval_metrics(np.zeros((2, 3)), np.zeros((2, 3)), {}, {})


def test_table_names_both_directions():
    txt2img, img2txt = id_maps([1, 1])
    table = recall_table(retrieval_metrics(np.eye(2), np.eye(2), txt2img, img2txt))
    assert "image to text  100.0  100.0  100.0  100.0    1.0" in table and "rSum 600.0" in table

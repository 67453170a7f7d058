"""Metrics against LAVIS's own function, and on matrices that reward nothing."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import distinct_scores, id_maps

from lavis_asym.evaluation import TIES, recall_table, retrieval_metrics


@pytest.fixture
def lavis_metrics(registered, tmp_path, monkeypatch):
    from lavis.common.registry import registry
    from lavis.tasks.retrieval import RetrievalTask

    monkeypatch.setitem(registry.mapping["paths"], "output_dir", str(tmp_path))
    return RetrievalTask._report_metrics


@pytest.mark.parametrize("ties", TIES)
@pytest.mark.parametrize("seed", range(5))
def test_equals_lavis_to_the_last_digit_where_there_are_no_ties(lavis_metrics, seed, ties):
    rng = np.random.default_rng(seed)
    txt2img, img2txt = id_maps(rng.integers(1, 8, 60 + seed))
    scores = distinct_scores(rng, txt2img, len(img2txt))
    lavis = lavis_metrics(scores, scores.T, txt2img, img2txt)
    ours = retrieval_metrics(scores, scores.T, txt2img, img2txt, ties)
    assert 0 < ours["txt_r1"] < 100
    assert lavis.pop("agg_metrics") == ours["txt_r_mean"]
    assert lavis == {name: ours[name] for name in lavis}
    assert ours["agg_metrics"] == ours["rsum"] == sum(ours[f"{s}_r{k}"] for s in ("txt", "img") for k in (1, 5, 10))


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf, -np.inf])
def test_a_constant_matrix_ranks_last(value):
    txt2img, img2txt = id_maps([5] * 30)
    scores = np.full((30, 150), value)
    metrics = retrieval_metrics(scores, scores.T, txt2img, img2txt)
    assert metrics["rsum"] == 0
    assert metrics["img_medr"] == metrics["img_meanr"] == 30 and metrics["txt_medr"] == metrics["txt_meanr"] == 146


def chance(images, captions, k):
    """Probability that some of an image's texts, and that a text's image, are among k drawn at random."""
    missed = np.prod([(images * captions - captions - i) / (images * captions - i) for i in range(k)])
    return 100 * (1 - missed), 100 * k / images


@pytest.mark.parametrize("value, share", [(0.0, 1), (np.inf, 1), (np.nan, 0)])
def test_a_constant_matrix_is_chance_in_expectation_and_nan_is_nothing(value, share):
    txt2img, img2txt = id_maps([5] * 30)
    scores = np.full((30, 150), value)
    metrics = retrieval_metrics(scores, scores.T, txt2img, img2txt, ties="expected")
    for k in (1, 5, 10):
        text, image = chance(30, 5, k)
        assert metrics[f"txt_r{k}"] == pytest.approx(share * text)
        assert metrics[f"img_r{k}"] == pytest.approx(share * image)


@pytest.mark.parametrize("ties", TIES)
@pytest.mark.parametrize("side", ["right", "wrong"])
def test_nan_on_one_side_earns_nothing(side, ties):
    txt2img, img2txt = id_maps([5] * 30)
    own = np.array(list(txt2img.values())) == np.arange(30)[:, None]
    scores = np.where(own, 9.0, np.random.default_rng(0).random((30, 150)))
    scores[own if side == "right" else ~own] = np.nan
    metrics = retrieval_metrics(scores, scores.T, txt2img, img2txt, ties)
    assert metrics["rsum"] == 0 and metrics["txt_medr"] == 146 and metrics["img_medr"] == 30


@pytest.mark.parametrize("ties", TIES)
def test_duplicated_captions_are_never_above_chance(ties):
    """Every image has the same caption, so its score tells the images apart but no text from another."""
    txt2img, img2txt = id_maps([1] * 40)
    scores = np.repeat(np.random.default_rng(0).random((40, 1)), 40, axis=1)
    metrics = retrieval_metrics(scores, scores.T, txt2img, img2txt, ties)
    for k in (1, 5, 10):
        assert metrics[f"txt_r{k}"] == pytest.approx(100 * k / 40 if ties == "expected" else 0)
        assert metrics[f"img_r{k}"] == 100 * k / 40  # the first k images in the order of the one caption


@pytest.mark.parametrize("value", [0.0, np.nan, -np.inf])
@pytest.mark.parametrize("ties", TIES)
def test_one_image_one_text(ties, value):
    scores = np.full((1, 1), value)
    metrics = retrieval_metrics(scores, scores, {0: 0}, {0: [0]}, ties)
    assert metrics["rsum"] == 600 and metrics["txt_medr"] == metrics["img_meanr"] == 1


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.sampled_from(TIES))
def test_the_order_of_images_and_texts_changes_nothing(seed, images, ties):
    rng = np.random.default_rng(seed)
    txt2img, img2txt = id_maps(rng.integers(1, 5, images))
    owner = np.array(list(txt2img.values()))
    scores = rng.integers(0, 6, (images, len(owner))).astype(float)
    scores[rng.random(scores.shape) < 0.1] = np.nan
    before = retrieval_metrics(scores, scores.T, txt2img, img2txt, ties)
    image, text = rng.permutation(images), rng.permutation(len(owner))
    place = np.argsort(image)
    new_owner = place[owner[text]]
    moved = scores[image][:, text]
    after = retrieval_metrics(
        moved, moved.T, new_owner.tolist(), [np.flatnonzero(new_owner == i) for i in range(images)], ties
    )
    assert after == pytest.approx(before)
    worse = retrieval_metrics(scores, scores.T, txt2img, img2txt)
    assert all(worse[f"{side}_r{k}"] <= before[f"{side}_r{k}"] + 1e-9 for side in ("txt", "img") for k in (1, 5, 10))


def test_median_and_mean_rank_count_from_one():
    scores = np.array([[3.0, 2, 1, 0]] * 4)
    metrics = retrieval_metrics(scores, scores.T, range(4), [[0], [1], [2], [3]])
    assert metrics["txt_medr"] == metrics["txt_meanr"] == 2.5 and metrics["txt_r1"] == 25


def test_what_does_not_fit_is_named():
    with pytest.raises(ValueError, match="must be 3 x 2, not 2 x 3"):
        retrieval_metrics(np.zeros((2, 3)), np.zeros((2, 3)), {}, {})
    with pytest.raises(ValueError, match="query 1 has no right candidate"):
        retrieval_metrics(np.zeros((2, 1)), np.zeros((1, 2)), {0: 0}, {0: [0], 1: []})
    with pytest.raises(ValueError, match="text 0: of image 1 in txt2img"):
        retrieval_metrics(np.zeros((2, 1)), np.zeros((1, 2)), {0: 1}, {0: [0], 1: []})


def test_table_names_both_directions():
    txt2img, img2txt = id_maps([1, 1])
    table = recall_table(retrieval_metrics(np.eye(2), np.eye(2), txt2img, img2txt))
    assert "image to text  100.0  100.0  100.0  100.0    1.0    1.0" in table and "rSum 600.0" in table

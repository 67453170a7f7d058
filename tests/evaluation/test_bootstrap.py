"""Intervals against scipy and a loop, coverage of a known truth, and what the test says when there is a difference."""

import numpy as np
import pytest

from lavis_asym.evaluation import TIES, Ranks
from lavis_asym.evaluation.bootstrap import (
    LEAST_IMAGES,
    RESAMPLES,
    _draw_images,
    _replicates,
    compare,
    holm,
    intervals,
    mean_interval,
)
from lavis_asym.evaluation.protocols import RankedGallery


def ranks_of(against):
    against = np.asarray(against, dtype=np.int64)
    return Ranks(against, np.zeros_like(against), np.ones_like(against))


def random_run(rng, images=40, captions=None, scale=6.0, fold=None):
    owner = np.repeat(np.arange(images), captions if captions is not None else rng.integers(1, 5, images))
    i2t, t2i = (Ranks(*rng.poisson(scale / 3, (2, n)), rng.integers(1, 3, n)) for n in (images, len(owner)))
    return RankedGallery(i2t, t2i, owner, fold)


def hits_only(hits, captions=1):
    """A run whose texts find their image first or not at all."""
    texts = np.where(hits, 0, 100).repeat(captions)
    return RankedGallery(ranks_of(np.where(hits, 0, 100)), ranks_of(texts), np.arange(len(hits)).repeat(captions))


@pytest.mark.parametrize("ties", TIES)
@pytest.mark.parametrize("fold", [None, 20])
def test_replicates_against_a_loop_that_repeats_images(ties, fold):
    run = random_run(np.random.default_rng(0), fold=fold)
    found = _replicates(run.parts(), _draw_images, ties, 60, 5)
    rng = np.random.default_rng(5)
    expected = []
    for part in run.parts():
        weights = np.concatenate([_draw_images(rng, len(part.i2t.ahead), n) for n in (50, 10)]).astype(int)
        rows = []
        for row in weights:
            images = np.repeat(np.arange(len(row)), row)
            texts = np.concatenate([np.flatnonzero(part.owner == image) for image in images])
            rows.append(RankedGallery(part.i2t.take(images), part.t2i.take(texts), part.owner).metrics(ties))
        expected.append(rows)
    for name, values in found.items():
        by_hand = np.mean([[row[name] for row in rows] for rows in expected], axis=0)
        assert values == pytest.approx(by_hand), name


def test_a_draw_takes_as_many_images_as_there_are():
    weights = _draw_images(np.random.default_rng(0), 30, 500)
    assert (weights.sum(1) == 30).all() and weights.mean(0) == pytest.approx(np.ones(30), abs=0.25)


def test_agrees_with_scipy():
    hits = np.random.default_rng(1).random(300) < 0.4
    low, high = intervals(hits_only(hits), resamples=4000)["txt_r1"]
    bootstrap = pytest.importorskip("scipy.stats").bootstrap
    scipy = bootstrap((100.0 * hits,), np.mean, n_resamples=4000, method="percentile").confidence_interval
    assert (low, high) == pytest.approx((scipy.low, scipy.high), abs=0.7)


def test_intervals_are_of_every_figure_and_hold_it():
    run = random_run(np.random.default_rng(2), images=200)
    metrics, found = run.metrics(), intervals(run)
    assert set(found) == set(metrics)
    assert all(low <= metrics[name] <= high for name, (low, high) in found.items())
    assert found == intervals(run)


@pytest.mark.parametrize("captions", [1, 5])
def test_coverage_where_the_truth_is_known(captions):
    """Texts that hit or miss together: 95% intervals hold the true 60% about as often as they say."""
    rng = np.random.default_rng(3)
    held = []
    for seed in range(200):
        low, high = intervals(hits_only(rng.random(150) < 0.6, captions), resamples=300, seed=seed)["img_r1"]
        held.append(low <= 60 <= high)
    assert 0.9 <= np.mean(held) <= 0.99


def test_the_p_value_is_uniform_where_runs_are_alike():
    rng = np.random.default_rng(4)
    p = [compare(random_run(rng, captions=2), random_run(rng, captions=2), resamples=100)["rsum"].p for _ in range(150)]
    assert 0.4 < np.mean(p) < 0.6 and np.mean(np.array(p) <= 0.05) < 0.11 and np.mean(np.array(p) <= 0.5) > 0.38


def test_a_large_difference_is_found_and_p_is_never_0():
    rng = np.random.default_rng(5)
    found = compare(hits_only(rng.random(200) < 0.2, 5), hits_only(rng.random(200) < 0.8, 5))
    r1 = found["img_r1"]
    assert r1.difference == r1.b - r1.a > 40 and 0 < r1.low < r1.difference < r1.high
    assert r1.p == found["rsum"].p == 1 / (RESAMPLES + 1)


def test_a_run_against_itself():
    run = random_run(np.random.default_rng(6), fold=20)
    assert all(d.difference == d.low == d.high == 0 and d.p == 1 for d in compare(run, run).values())


def test_the_p_value_against_all_swaps():
    """Six images: the randomised p is near that of all 64 ways to swap them."""
    rng = np.random.default_rng(7)
    a, b = (random_run(rng, images=6, captions=1, scale=10) for _ in range(2))
    rank_a, rank_b = a.t2i.against(), b.t2i.against()
    swaps = (np.arange(64)[:, None] >> np.arange(6)) & 1
    differences = np.where(swaps, rank_a - rank_b, rank_b - rank_a).mean(1)
    exact = np.mean(np.abs(differences) >= abs((rank_b - rank_a).mean()) - 1e-9)
    assert compare(a, b, resamples=4000)["img_meanr"].p == pytest.approx(exact, abs=0.03)


def test_other_queries_are_refused():
    rng = np.random.default_rng(8)
    with pytest.raises(ValueError, match="same images, texts and folds"):
        compare(random_run(rng, captions=2), random_run(rng, captions=3))


def test_holm_by_hand():
    adjusted = holm({"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.5})
    assert adjusted == pytest.approx({"a": 0.04, "c": 0.09, "b": 0.09, "d": 0.5})
    assert holm({"a": 0.6, "b": 0.7}) == {"a": 1.0, "b": 1.0}


def test_a_few_images_have_no_interval_however_many_texts_they_have():
    for images in (1, LEAST_IMAGES - 1):
        assert mean_interval(np.ones(20 * images), np.repeat(np.arange(images), 20)) is None
        assert intervals(hits_only(np.ones(images, bool), 20)) == {}
    assert len(mean_interval(np.ones(LEAST_IMAGES), range(LEAST_IMAGES))) == 2
    assert intervals(hits_only(np.ones(LEAST_IMAGES, bool)))["txt_r1"] == (100.0, 100.0)


def test_the_interval_of_a_mean_is_that_of_whole_images():
    rng = np.random.default_rng(0)
    image = np.repeat(np.arange(40), 5)
    values = np.repeat(rng.random(40), 5)  # an image's five values are one witness
    low, high = mean_interval(values, image, 2000)
    drawn = [np.mean([values[5 * k] for k in rng.integers(0, 40, 40)]) for _ in range(2000)]
    np.testing.assert_allclose([low, high], np.percentile(drawn, [2.5, 97.5]), atol=0.015)
    alone = mean_interval(values, np.arange(200), 2000)
    assert (high - low) > 1.8 * (alone[1] - alone[0])

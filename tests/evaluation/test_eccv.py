"""ECCV Caption through its package: called for real, and against whole rankings on a cut gallery."""

import sys

import numpy as np
import pytest

from lavis_asym.evaluation import eccv
from lavis_asym.evaluation.eccv import eccv_metrics


@pytest.fixture(scope="module")
def package():
    pytest.importorskip("eccv_caption", reason="eccv_caption is not installed: " + eccv.EXTRA)
    return eccv._package()


@pytest.fixture
def cut(package, monkeypatch):
    """The package's judgements on every tenth image, its captions in five folds of 100 images."""
    small = eccv._package()
    images = set(list(small.coco_gts["i2t"])[::10])
    small.coco_ids = np.array([t for t in small.coco_ids if small.coco_gts["t2i"][t][0] in images])
    texts = set(small.coco_ids.tolist())
    for name in eccv.BENCHMARKS:
        truth = getattr(small, name)
        kept = {}
        for way, queries, candidates in (("i2t", images, texts), ("t2i", texts, images)):
            rows = {q: [c for c in right if c in candidates] for q, right in truth[way].items() if q in queries}
            kept[way] = {q: right for q, right in rows.items() if right}
        setattr(small, name, kept)
    monkeypatch.setattr(eccv, "_package", lambda: small)
    return small, np.array(sorted(images)), np.array(sorted(texts))


def whole_rankings(scores, queries, candidates):
    return {q: candidates[np.argsort(-row)].tolist() for q, row in zip(queries.tolist(), scores)}


def test_short_rankings_give_what_whole_ones_give(cut):
    small, images, texts = cut
    scores = np.random.default_rng(0).random((len(images), len(texts)))
    owner = np.searchsorted(images, [small.coco_gts["t2i"][t][0] for t in texts])
    scores[owner, np.arange(len(texts))] += 0.2
    expected = small.compute_all_metrics(
        whole_rankings(scores, images, texts),
        whole_rankings(scores.T, texts, images),
        target_metrics=eccv.TARGETS,
    )
    found = eccv_metrics(scores, scores.T, images, texts)
    assert set(found) == {"eccv_map_at_r", "eccv_rprecision", "eccv_r1"} | {
        f"{data}_r{k}" for data in ("cxc", "coco_5k", "coco_1k") for k in (1, 5, 10)
    }
    assert 0 < found["coco_5k_r1"]["i2t"] < found["coco_1k_r1"]["i2t"] < 100
    for name, both in expected.items():
        assert found[name] == pytest.approx({way: 100 * value for way, value in both.items()})


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
def test_scores_that_know_nothing_earn_nothing(cut, value):
    _, images, texts = cut
    scores = np.full((len(images), len(texts)), value)
    assert all(set(both.values()) == {0.0} for both in eccv_metrics(scores, scores.T, images, texts).values())


def test_real_package_random_and_perfect_rankings(package):
    """COCO 5K with Karpathy's ten further captions, in an order of ours."""
    rng = np.random.default_rng(0)
    images = rng.permutation(list(package.coco_gts["i2t"]))
    texts = np.append(rng.permutation(list(package.coco_gts["t2i"])), -1 - np.arange(10))
    scores = rng.random((len(images), len(texts)), dtype=np.float32)
    chance = eccv_metrics(scores, scores.T, images, texts)
    assert all(value < 4 for both in chance.values() for value in both.values())
    assert 0 < chance["coco_1k_r10"]["t2i"] == pytest.approx(1, abs=0.3)
    place = {image: row for row, image in enumerate(images.tolist())}
    for column, text in enumerate(texts[:-10].tolist()):
        scores[place[package.coco_gts["t2i"][text][0]], column] += 1
    perfect = eccv_metrics(scores, scores.T, images, texts)
    assert {perfect[f"{data}_r1"][way] for data in ("coco_5k", "coco_1k") for way in ("i2t", "t2i")} == {100.0}
    assert 20 < perfect["eccv_map_at_r"]["i2t"] < 100


def test_a_missing_package_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "eccv_caption", None)
    with pytest.raises(ImportError, match=r'pip install "lavis-asym\[eccv\]"'):
        eccv_metrics(np.zeros((1, 1)), np.zeros((1, 1)), [1], [1])


def test_ids_that_are_not_cocos_are_named(package):
    square = np.zeros((2, 2))
    with pytest.raises(ValueError, match="image ids are <U"):
        eccv_metrics(square, square, ["a.jpg", "b.jpg"], [1, 2])
    with pytest.raises(ValueError, match="2 text ids, 1 distinct"):
        eccv_metrics(square, square, [1, 2], [3, 3])
    with pytest.raises(ValueError, match="5000 of the 5000 images of COCO's Karpathy test split"):
        eccv_metrics(square, square, [-1, -2], [-1, -2])
    with pytest.raises(ValueError, match="scores_t2i must be"):
        eccv_metrics(np.zeros((2, 3)), np.zeros((2, 3)), [1, 2], [1, 2, 3])

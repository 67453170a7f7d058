"""Folds by hand, galleries of the wrong size, the protocol line."""

import numpy as np
import pytest
from oracles import distinct_scores, id_maps, of_owners

from lavis_asym.evaluation import TIES, Truth, metrics_of_ranks, rank_queries, retrieval_metrics
from lavis_asym.evaluation.protocols import PROTOCOLS, Protocol, galleries, protocol_line, rank_gallery


def test_folds_by_hand():
    """Four images with a text each; in folds of two a text meets its own image and the fold's other one."""
    scores = np.array(
        [
            [5.0, 6.0, 9.0, 9.0],  # image 0: text 1 of its fold is better; texts 2 and 3 do not count
            [1.0, 7.0, 9.0, 9.0],  # image 1: first in its fold
            [9.0, 9.0, 3.0, 2.0],  # image 2: first
            [9.0, 9.0, 4.0, 5.0],  # image 3: first
        ]
    )
    truth = of_owners(np.arange(4), 4)
    metrics = rank_gallery(scores, scores.T, truth, Protocol("tiny", 4, 2)).metrics()
    assert metrics["txt_r1"] == (50 + 100) / 2  # image 0 fails in the first fold
    assert metrics["img_r1"] == (100 + 50) / 2  # text 2 finds image 3 in the second fold, all others their own
    assert metrics["txt_medr"] == (1.5 + 1) / 2 and metrics["img_meanr"] == (1 + 1.5) / 2
    assert metrics["rsum"] == 75 + 100 + 100 + 75 + 100 + 100
    assert rank_gallery(scores, scores.T, truth).metrics()["txt_r1"] == 0


@pytest.mark.parametrize("ties", TIES)
@pytest.mark.parametrize("shuffled", [False, True])
def test_folds_are_the_mean_of_their_own_matrices(ties, shuffled):
    rng = np.random.default_rng(0)
    owner = np.repeat(np.arange(30), rng.integers(1, 7, 30))
    if shuffled:
        rng.shuffle(owner)
    scores = rng.integers(0, 9, (30, len(owner))) + 3 * (owner == np.arange(30)[:, None])
    folds = []
    for start in range(0, 30, 10):
        texts = np.flatnonzero((owner >= start) & (owner < start + 10))
        own = scores[start : start + 10][:, texts]
        own_owner = owner[texts] - start
        img2txt = [np.flatnonzero(own_owner == i) for i in range(10)]
        folds.append(retrieval_metrics(own, own.T, own_owner, img2txt, ties))
    found = rank_gallery(scores, scores.T, of_owners(owner, 30), Protocol("tiny", None, 10)).metrics(ties)
    assert found == pytest.approx({name: np.mean([fold[name] for fold in folds]) for name in found})


def test_a_whole_gallery_is_ranked_without_copies_and_as_retrieval_metrics_does():
    txt2img, img2txt = id_maps([3, 1, 5] * 7)
    scores = distinct_scores(np.random.default_rng(0), txt2img, 21, 0.2)
    truth = Truth.from_maps(txt2img, img2txt)
    (gallery,) = galleries(PROTOCOLS["custom"], truth)
    assert gallery.images == slice(0, 21) and gallery.texts == slice(0, len(txt2img))
    assert rank_gallery(scores, scores.T, truth).metrics() == retrieval_metrics(scores, scores.T, txt2img, img2txt)


def test_texts_that_say_the_same_are_right_within_their_fold():
    scores = np.array([[0.0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    truth, groups = of_owners(np.arange(4), 4), np.array([7, 7, 7, 3])
    plain = rank_gallery(scores, scores.T, truth, Protocol("tiny", 4, 2))
    same = rank_gallery(scores, scores.T, truth, Protocol("tiny", 4, 2), groups)
    assert plain.metrics()["txt_r1"] == 50 and same.metrics()["txt_r1"] == same.metrics()["img_r1"] == 100
    grouped = truth.with_groups(groups)
    whole = metrics_of_ranks(rank_queries(scores, grouped.texts), rank_queries(scores.T, grouped.images))
    assert rank_gallery(scores, scores.T, truth, groups=groups).metrics() == whole


@pytest.mark.parametrize(
    "protocol, problem",
    [
        (PROTOCOLS["coco_1k"], "coco_1k is defined on 5000 images, this gallery has 3"),
        (PROTOCOLS["flickr30k_1k"], "flickr30k_1k is defined on 1000 images"),
        (Protocol("tiny", None, 2), "folds of 2 images, but 3 are no multiple"),
    ],
)
def test_a_gallery_of_another_size_is_refused(protocol, problem):
    with pytest.raises(ValueError, match=problem):
        rank_gallery(np.eye(3), np.eye(3), of_owners(np.arange(3), 3), protocol)


def test_the_literature_protocols():
    assert {name: (p.images, p.fold) for name, p in PROTOCOLS.items()} == {
        "flickr30k_1k": (1000, None),
        "coco_5k": (5000, None),
        "coco_1k": (5000, 1000),
        "custom": (None, None),
    }


def test_line():
    protocol = {
        "name": "custom",
        "data": "asym_custom",
        "split": "val",
        "images": 210,
        "captions": 1050,
        "distinct_captions": 391,
        "ties": "against the model",
        "k_test": 0,
        "precision": "float32",
        "weights": "0123456789ab",
        "seed": 42,
        "commit": None,
        "selection": "rsum of val",
        "epoch": "best",
    }
    assert protocol_line(protocol) == (
        "asym_custom val, protocol custom, 210 images, 1,050 captions (391 distinct), ties against the model, "
        "every pair scored, float32, weights 0123456789ab, epoch best, selected by rsum of val, seed 42"
    )
    assert protocol_line({"data": "coco", "k_test": 128, "captions": 25010}) == "coco, 25,010 captions, k 128"
    assert protocol_line({}) == ""

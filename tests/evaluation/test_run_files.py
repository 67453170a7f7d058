"""What a run file keeps: figures to the last digit, lists that agree with them, and clear words for a broken one."""

import gzip
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import distinct_scores, id_maps, of_owners, worth

from lavis_asym.evaluation import TIES, Ragged, Truth, retrieval_metrics
from lavis_asym.evaluation.protocols import Protocol, rank_gallery
from lavis_asym.evaluation.run_files import decode, encode, make_run
from lavis_asym.evaluation.top import top_candidates
from lavis_asym.evaluation.trec import trec_qrels, trec_run

FOLDS = Protocol("tiny", None, 5)


def random_scores(seed=0, images=20, levels=9):
    rng = np.random.default_rng(seed)
    owner = np.repeat(np.arange(images), rng.integers(1, 6, images))
    scores = rng.integers(0, levels, (images, len(owner))).astype(np.float32) / 7
    for value in (np.nan, np.inf, -np.inf):
        scores[rng.random(scores.shape) < 0.05] = value
    return scores, of_owners(owner, images)


def a_run(scores, truth, protocol=FOLDS, k=12):
    names = [f"photo {i}.jpg" for i in range(len(scores))]
    return make_run(scores, scores.T, truth, names, {"name": protocol.name, "seed": 3}, protocol, k)


def same(a, b):
    """Two lists, their scores as float32."""
    return all(np.array_equal(x.astype(np.float32), y.astype(np.float32), equal_nan=True) for x, y in zip(a, b))


@pytest.mark.parametrize("protocol", [FOLDS, Protocol("custom")])
@pytest.mark.parametrize("ties", TIES)
def test_scored_again_without_the_model(protocol, ties):
    scores, truth = random_scores()
    run = a_run(scores, truth, protocol)
    back = decode(encode(run), "val.run.json.gz")
    assert back.ranked.metrics(ties) == rank_gallery(scores, scores.T, truth, protocol).metrics(ties)
    assert back.protocol == {"name": protocol.name, "seed": 3} and back.images == run.images
    assert back.texts[:2] == ["photo 0.jpg#0", "photo 0.jpg#1"] and len(set(back.texts)) == scores.shape[1]
    assert same(back.texts_found, run.texts_found) and same(back.images_found, run.images_found)
    assert np.isnan(back.texts_found.scores).any() and np.isinf(back.images_found.scores).any()
    assert encode(run) == encode(back)


def test_float32_scores_come_back_exactly_and_in_place():
    scores = np.random.default_rng(0).standard_normal((20, 60)).astype(np.float32)
    back = decode(encode(a_run(scores, of_owners(np.arange(60) // 3, 20))), "")
    for queries, top in ((scores, back.texts_found), (scores.T, back.images_found)):
        listed = np.take_along_axis(queries, top.candidates, axis=1)
        assert np.array_equal(top.scores.astype(np.float32), listed) and (np.diff(listed) <= 0).all()


@pytest.mark.parametrize("lift", [0.2, 0.5])
def test_recalls_of_the_lists_agree(lift):
    txt2img, img2txt = id_maps([3, 1, 5, 2] * 6)
    scores = distinct_scores(np.random.default_rng(0), txt2img, 24, lift)
    run = a_run(scores, Truth.from_maps(txt2img, img2txt), Protocol("custom"))
    metrics = retrieval_metrics(scores, scores.T, txt2img, img2txt)
    for k in (1, 5, 10):
        texts = [bool(set(row[:k]) & set(img2txt[i])) for i, row in enumerate(run.texts_found.candidates.tolist())]
        images = [txt2img[t] in row[:k] for t, row in enumerate(run.images_found.candidates.tolist())]
        assert metrics[f"txt_r{k}"] == 100 * sum(texts) / len(texts)
        assert metrics[f"img_r{k}"] == 100 * sum(images) / len(images)


def test_lists_keep_to_the_fold():
    scores, truth = random_scores()
    run = a_run(scores, truth, FOLDS, k=100)
    owner = truth.images.values
    assert run.images_found.candidates.shape == (len(owner), 5)
    assert (run.images_found.candidates // 5 == owner[:, None] // 5).all()
    assert (owner[run.texts_found.candidates] // 5 == np.arange(20)[:, None] // 5).all()


@settings(deadline=None)
@given(st.data(), st.integers(1, 6))
def test_lists_equal_a_full_sort(data, k):
    values = st.sampled_from([0.0, 1.0, 2.0, np.nan, -np.inf, np.inf])
    row = np.array(data.draw(st.lists(values, min_size=k, max_size=12)), dtype=np.float32)
    right = data.draw(st.sets(st.integers(0, len(row) - 1), min_size=1))
    # as the file's own sort: NaN of wrong ones equal to inf, of right ones to -inf, wrong ones first among equals
    value = [float("inf") * sign if sign else score for sign, score in worth(row, right)]
    order = sorted(range(len(row)), key=lambda c: (-value[c], c in right, c))
    top = top_candidates(np.array([row] * 70), Ragged.of([sorted(right)] * 70), k)
    assert top.candidates.tolist() == [order[:k]] * 70
    assert np.array_equal(top.scores[69], row[order[:k]], equal_nan=True)


def changed(run, path, value):
    content = json.loads(gzip.decompress(encode(run)))
    *keys, last = path.split(".")
    holder = content
    for key in keys:
        holder = holder[key]
    if value is None:
        del holder[last]
    else:
        holder[last] = value(holder[last])
    return gzip.compress(json.dumps(content).encode())


@pytest.mark.parametrize(
    "path, value, problem",
    [
        ("format", lambda _: "other", "key 'format': 'other', expected 'lavis-asym run'"),
        ("version", lambda _: 9, "key 'version': 9, expected 1"),
        ("owner", None, "key 'owner' is missing"),
        ("owner", lambda owner: owner[1:], "key 'owner': expected 60 integers from 0 to 19"),
        ("images", lambda ids: ids[:1] * 20, "key 'images': expected ids, each once"),
        ("fold", lambda _: 7, "key 'fold': 7, expected null or a number that divides 20"),
        ("protocol", lambda _: [], r"key 'protocol': \[\], expected a dict"),
        ("image_to_text.tied", lambda _: [0.5] * 20, "'image_to_text.tied': expected 20 integers from 0"),
        ("text_to_image.right", lambda right: [0] + right[1:], "'text_to_image.right': expected 60 integers from 1"),
        ("text_to_image.candidates", lambda c: [c[0][1:]] + c[1:], "'text_to_image.candidates': expected 60 x k"),
        ("image_to_text.candidates", lambda c: [[60] * len(c[0])] + c[1:], "integers from 0 to 59"),
        ("image_to_text.scores", lambda s: s[1:], "'image_to_text.scores': expected 20 x 12 numbers"),
        ("image_to_text.scores", lambda s: [["x"] * 12] + s[1:], "'image_to_text.scores': expected 20 x 12 numbers"),
        ("image_to_text.ahead", lambda a: [a[0] + 1] + a[1:], "the ranks and the candidates of query 0 contradict"),
    ],
)
def test_a_broken_file_is_named_with_its_key(path, value, problem):
    scores = distinct_scores(np.random.default_rng(0), id_maps([3] * 20)[0], 20)
    run = a_run(scores, of_owners(np.arange(60) // 3, 20), Protocol("custom"))
    with pytest.raises(ValueError, match=f"val.run.json.gz: .*{problem}"):
        decode(changed(run, path, value), "val.run.json.gz")


@pytest.mark.parametrize("content", [b"", b"{}", gzip.compress(b"{"), gzip.compress(b"{}")[:-3], gzip.compress(b"[]")])
def test_other_files_are_no_run_files(content):
    with pytest.raises(ValueError, match="val.run.json.gz: (cannot be read|key 'format' is missing)"):
        decode(content, "val.run.json.gz")


def test_trec():
    scores = np.array([[3.0, np.nan, 1.0], [2.0, 0.0, 5.0]])
    run = make_run(scores, scores.T, of_owners(np.array([0, 0, 1]), 2), ["a b.jpg", "c%.jpg"], {}, k=2)
    assert trec_run(run, "image_to_text") == (
        "a%20b.jpg Q0 a%20b.jpg#0 1 2 lavis-asym\na%20b.jpg Q0 c%25.jpg#0 2 1 lavis-asym\n"
        "c%25.jpg Q0 c%25.jpg#0 1 2 lavis-asym\nc%25.jpg Q0 a%20b.jpg#0 2 1 lavis-asym\n"
    )
    assert trec_run(run, "text_to_image").splitlines()[2:4] == [
        "a%20b.jpg#1 Q0 c%25.jpg 1 2 lavis-asym",
        "a%20b.jpg#1 Q0 a%20b.jpg 2 1 lavis-asym",
    ]
    assert trec_qrels(run, "text_to_image").splitlines() == [
        "a%20b.jpg#0 0 a%20b.jpg 1",
        "a%20b.jpg#1 0 a%20b.jpg 1",
        "c%25.jpg#0 0 c%25.jpg 1",
    ]
    assert trec_qrels(run, "image_to_text").splitlines() == [
        "a%20b.jpg 0 a%20b.jpg#0 1",
        "a%20b.jpg 0 a%20b.jpg#1 1",
        "c%25.jpg 0 c%25.jpg#0 1",
    ]

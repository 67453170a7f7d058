"""What the pictures show, against the plainest computation of it."""

import numpy as np
import pytest

from lavis_asym.evaluation.top import top_candidates
from lavis_asym.evaluation.truth import Truth
from lavis_asym.report import collect


def problem(images=300, seed=0, ties=True):
    """Scores, truth and owners: one to three texts an image, more queries than rows at once, ties where wanted."""
    rng = np.random.default_rng(seed)
    owner = np.repeat(np.arange(images), rng.integers(1, 4, images))
    scores = rng.normal(size=(images, len(owner))).astype(np.float32)
    scores[owner, np.arange(len(owner))] += 1
    scores = scores.round(1) if ties else scores
    truth = Truth.from_maps(owner.tolist(), [np.flatnonzero(owner == i).tolist() for i in range(images)])
    return scores, truth, owner


def rank(row, right):
    return sum(row[c] >= max(row[r] for r in right) for c in range(len(row)) if c not in right)


def collected(scores, truth, **options):
    images, texts = scores.shape
    return collect(
        scores, scores.T, truth, [f"{i}.jpg" for i in range(images)], [f"{t}" for t in range(texts)], **options
    )


def test_curves_equal_brute_force():
    scores, truth, _ = problem()
    found = collected(scores, truth)
    for direction, matrix, right in ((found.i2t, scores, truth.texts), (found.t2i, scores.T, truth.images)):
        ranks = np.array([rank(row, set(right.row(q).tolist())) for q, row in enumerate(matrix.tolist())])
        assert len(direction.curve) == 100
        np.testing.assert_allclose(direction.curve, [100 * (ranks < k).mean() for k in range(1, 101)])


def test_histogram_counts_every_pair_once():
    scores, truth, owner = problem()
    histogram = collected(scores, truth).histogram
    own = scores[owner, np.arange(len(owner))]
    assert histogram.matching.sum() == own.size and histogram.left_out == 0
    assert histogram.matching.sum() + histogram.other.sum() == scores.size
    np.testing.assert_array_equal(histogram.matching, np.histogram(own, histogram.edges.astype(np.float32))[0])
    assert histogram.edges[0] == scores.min() and histogram.edges[-1] == scores.max()


def test_scores_that_are_none_stay_out_of_the_histogram():
    scores, truth, _ = problem()
    scores[:10], scores[10], scores[11] = np.nan, np.inf, -4
    histogram = collected(scores, truth, floor=-3.9).histogram
    kept = np.isfinite(scores) & (scores >= -3.9)
    assert histogram.left_out == (~kept).sum() == scores.size - histogram.matching.sum() - histogram.other.sum()


@pytest.mark.parametrize("value", [0.5, np.nan])
def test_a_constant_matrix_is_drawn(value):
    _, truth, owner = problem(images=5)
    found = collected(np.full((5, len(owner)), value, dtype=np.float32), truth)
    assert found.i2t.curve[0] == 0 and not found.i2t.best and len(found.i2t.worst) == 5
    assert not any(candidate.right for example in found.t2i.worst for candidate in example.found)


def test_what_examples_found_is_the_top_of_their_ranking():
    scores, truth, _ = problem(images=40)
    scores[np.random.default_rng(1).random(scores.shape) < 0.02] = np.nan
    found = collected(scores, truth)
    for direction, matrix, right in ((found.i2t, scores, truth.texts), (found.t2i, scores.T, truth.images)):
        top = top_candidates(matrix, right, 3)
        for example in direction.worst + direction.best:
            assert [own.number for own in example.found] == top.candidates[example.query].tolist()
            np.testing.assert_array_equal([own.score for own in example.found], top.scores[example.query])


def test_worst_and_best_queries():
    scores, truth, owner = problem(ties=False)
    found = collected(scores, truth, examples=4)
    queries = []
    for text, row in enumerate(scores.T):
        wrong = np.delete(row, owner[text])
        queries.append((text, rank(row, {owner[text]}), row[owner[text]], row[owner[text]] - wrong.max()))

    def distinct(ordered):
        first = {}
        for text, *_ in ordered:
            first.setdefault(owner[text], text)
        return list(first.values())[:4]

    assert [e.query for e in found.t2i.worst] == distinct(sorted(queries, key=lambda q: (-q[1], q[2])))
    assert [e.query for e in found.t2i.best] == distinct(sorted((q for q in queries if not q[1]), key=lambda q: -q[3]))
    for example in found.t2i.worst + found.t2i.best:
        row = scores[:, example.query]
        assert [f.number for f in example.found] == np.argsort(-row)[:3].tolist()
        assert [f.right for f in example.found] == [f.number == owner[example.query] for f in example.found]
        assert (
            example.rank == rank(row, {owner[example.query]}) and example.best_right.score == row[owner[example.query]]
        )


def test_no_two_examples_share_image_or_text():
    scores, truth, owner = problem()
    texts = [str(t % 3) for t in range(len(owner))]
    found = collect(scores, scores.T, truth, [str(i) for i in range(len(scores))], texts)
    for direction in (found.t2i.worst, found.t2i.best):
        assert len({texts[e.query] for e in direction}) == len(direction) == 3
        assert len({owner[e.query] for e in direction}) == 3


def test_a_gallery_of_one():
    truth = Truth.from_maps([0], [[0]])
    found = collected(np.zeros((1, 1), dtype=np.float32), truth)
    assert found.i2t.curve.tolist() == [100.0] and found.i2t.best[0].best_right.right

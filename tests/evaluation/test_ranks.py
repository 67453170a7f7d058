"""Ranks by counting against a full sort, and expected ranks against all orders."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import naive_rank, ranks_over_all_orders

from lavis_asym.evaluation import Ragged, Ranks, Truth, rank_both, rank_queries, ranks

LAYOUTS = {
    "rows": np.ascontiguousarray,
    "columns": np.asfortranarray,
    "part of rows": lambda scores: np.repeat(scores, 2, 1)[:, ::2],
    "backwards": lambda scores: np.asfortranarray(scores[::-1, ::-1])[::-1, ::-1],
}


def case(seed, levels, dtype=float, queries=300, candidates=12):
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, levels, (queries, candidates)).astype(dtype)
    if np.issubdtype(dtype, np.floating):
        for value in (np.nan, np.inf, -np.inf):
            scores[rng.random(scores.shape) < 0.1] = value
    right = [rng.choice(candidates, rng.integers(1, 4), replace=False) for _ in range(queries)]
    return scores, right


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int32])
@pytest.mark.parametrize("levels", [3, 50])
def test_equal_a_naive_sort_with_ties_and_nan(levels, dtype, layout):
    scores, right = case(0, levels, dtype)
    found = rank_queries(LAYOUTS[layout](scores), Ragged.of(right))
    assert found.against().tolist() == [naive_rank(row, own) for row, own in zip(scores, right)]
    assert (found.ahead >= 0).all() and (found.tied >= 0).all() and (found.right >= 1).all()


def test_more_candidates_than_a_byte_counts(monkeypatch):
    scores, right = case(1, 4, np.float32, queries=7, candidates=1000)
    expected = [naive_rank(row, own) for row, own in zip(scores, right)]
    for block in (ranks.BLOCK, 50):
        monkeypatch.setattr(ranks, "BLOCK", block)
        assert rank_queries(np.asfortranarray(scores), Ragged.of(right)).against().tolist() == expected


@pytest.mark.parametrize("copy", [False, True], ids=["view", "copy"])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", [(300, 12), (9, 700), (1, 1)])
def test_both_directions_equal_each_alone(shape, layout, copy, monkeypatch):
    monkeypatch.setattr(ranks, "BLOCK", 2000)
    scores = LAYOUTS[layout](case(2, 5, np.float32, *shape)[0] if shape != (1, 1) else np.zeros(shape))
    owner = np.random.default_rng(3).permutation(np.arange(max(shape)) % shape[0])[: shape[1]]
    owner[: min(shape)] = np.arange(min(shape))
    right = Ragged.of([np.flatnonzero(owner == row) if row in owner else [0] for row in range(shape[0])])
    truth = Truth(right, Ragged.of_ones(owner))
    transposed = scores.T.copy() if copy else scores.T
    both = rank_both(scores, transposed, truth)
    for found, alone in zip(both, (rank_queries(scores, truth.texts), rank_queries(transposed, truth.images))):
        np.testing.assert_array_equal(found, alone)
    for found, fast in zip(both, rank_both(scores, transposed, truth, ties_apart=False)):
        assert not fast.tied.any()
        np.testing.assert_array_equal(found.against(), fast.against())


@settings(deadline=None)
@given(
    st.lists(st.sampled_from([0.0, 1.0, 2.0, np.nan, -np.inf, np.inf]), min_size=1, max_size=6),
    st.integers(1, 6),
    st.integers(1, 7),
)
def test_expected_value_is_the_mean_over_all_orders(row, own, k):
    right = list(range(min(own, len(row))))
    orders = list(ranks_over_all_orders(row, right))
    found = rank_queries(np.array([row]), Ragged.of([right]))
    assert found.expected()[0] == pytest.approx(np.mean(orders))
    assert found.hits(k, "expected")[0] == pytest.approx(np.mean([rank < k for rank in orders]))
    assert found.against()[0] == max(orders)
    assert found.hits(k)[0] == (max(orders) < k)


def test_a_constant_matrix_is_chance_in_expectation():
    found = rank_queries(np.zeros((2, 20)), Ragged.of([[3], [4, 5, 6]]))
    assert found.hits(5, "expected") == pytest.approx([5 / 20, 1 - (17 * 16 * 15 * 14 * 13) / (20 * 19 * 18 * 17 * 16)])
    assert found.expected() == pytest.approx([9.5, 17 / 4])


def test_of_some_queries():
    found = rank_queries(np.array([[2.0, 1, 0]] * 3), Ragged.of([[0], [1], [2]])).take(np.array([2, 0]))
    assert isinstance(found, Ranks) and found.against().tolist() == [2, 0]


@pytest.mark.parametrize(
    "scores, right, problem",
    [
        (np.zeros((2, 2)), [[0]], "2 rows of scores but right candidates for 1 queries"),
        (np.zeros((0, 2)), [], "0 rows of scores"),
        (np.zeros((2, 2)), [[0], []], "query 1 has no right candidate"),
        (np.zeros((2, 2)), [[0], [2]], "right candidates 0 to 2, but scores of 2"),
        (np.zeros((2, 2)), [[0], [-1]], "right candidates -1 to 0"),
    ],
)
def test_what_does_not_fit_is_named(scores, right, problem):
    with pytest.raises(ValueError, match=problem):
        rank_queries(scores, Ragged.of(right))


def test_unknown_ties():
    with pytest.raises(ValueError, match="ties 'best', expected one of against, expected"):
        rank_queries(np.zeros((1, 1)), Ragged.of([[0]])).hits(1, "best")

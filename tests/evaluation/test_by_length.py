"""Recall by length: bins, counts and recalls worked out by hand."""

import numpy as np
import pytest

from lavis_asym.evaluation.by_length import recall_by_length
from lavis_asym.evaluation.ranks import TIES, Ranks


def ranks_of(ahead):
    ahead = np.asarray(ahead, dtype=np.int64)
    return Ranks(ahead, np.zeros_like(ahead), np.ones_like(ahead))


def test_bounds_belong_to_the_bin_that_they_end():
    rows = recall_by_length(ranks_of([0, 3, 9, 10, 0, 4, 0]), np.array([2, 5, 5, 5, 5, 6, 20]))  # bounds 5, 5, 5, 5
    assert [(row["words"], row["queries"]) for row in rows] == [("2-5", 5), ("6-20", 2)]
    assert [(row["img_r1"], row["img_r5"], row["img_r10"]) for row in rows] == [(40, 60, 80), (50, 100, 100)]


def test_quintiles_share_the_queries_out():
    lengths = np.random.default_rng(0).permutation(np.arange(1, 101))
    rows = recall_by_length(ranks_of(np.zeros(100)), lengths)
    assert [row["words"] for row in rows] == ["1-20", "21-40", "41-60", "61-80", "81-100"]
    assert {row["queries"] for row in rows} == {20}


def test_bins_of_one_length_and_no_query():
    assert [row["words"] for row in recall_by_length(ranks_of(np.arange(7)), np.full(7, 4))] == ["4"]
    assert recall_by_length(ranks_of([]), np.array([], dtype=int)) == []


def test_every_query_is_in_one_bin():
    rng = np.random.default_rng(1)
    ranks, lengths = rng.integers(0, 20, 500), rng.integers(3, 12, 500)
    rows = recall_by_length(ranks_of(ranks), lengths)
    assert sum(row["queries"] for row in rows) == 500
    assert sum(row["queries"] * row["img_r5"] for row in rows) == pytest.approx(100 * (ranks < 5).sum())


def test_one_length_a_rank():
    with pytest.raises(ValueError, match="2 ranks but 3 lengths"):
        recall_by_length(ranks_of([0, 0]), np.zeros(3))


def test_intervals_hold_the_recalls_where_images_are_given():
    rng = np.random.default_rng(0)
    ranks, lengths, image = rng.integers(0, 15, 200), rng.integers(3, 12, 200), np.arange(200) // 5
    for row in recall_by_length(ranks_of(ranks), lengths, image=image):
        for k in (1, 5, 10):
            low, high = row[f"img_r{k}_interval"]
            assert low <= row[f"img_r{k}"] <= high and low < high


def test_ties_count_by_the_rule_that_is_asked_for():
    tied = Ranks(*np.tile([[0], [9], [1]], 10))  # of ten images with one score
    (against,), (expected,) = (recall_by_length(tied, [4] * 10, image=range(10), ties=ties) for ties in TIES)
    assert (against["img_r1"], against["img_r5"], against["img_r10"]) == (0, 0, 100)
    assert [expected[f"img_r{k}"] for k in (1, 5, 10)] == pytest.approx([10, 50, 100])
    assert expected["img_r1_interval"] == pytest.approx([10, 10])

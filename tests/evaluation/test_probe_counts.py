"""The choice of the true text: ties and NaN against the model, or by their expected value."""

import numpy as np
import pytest

from lavis_asym.evaluation.probe import chance, chosen, chosen_expected

TRUE = [1.0, 1.0, 1.0, np.nan, 1.0, 1.0]
WRONG = [[0.0, 0.5], [1.0], [2.0, 0.0], [0.0], [np.nan, 0.0], [1.0, 1.0, 0.0]]


def test_ties_and_nan_count_against():
    assert chosen(TRUE, WRONG).tolist() == [True, False, False, False, False, False]


def test_ties_count_as_the_draw_decides():
    assert chosen_expected(TRUE, WRONG) == pytest.approx([1, 1 / 2, 0, 0, 0, 1 / 3])


def test_chance():
    assert chance(WRONG) == pytest.approx((1 / 3 + 1 / 2 + 1 / 3 + 1 / 2 + 1 / 3 + 1 / 4) / 6)

"""The loss of two stages, against scores where it is known."""

import numpy as np
from oracles import of_owners

from lavis_asym.evaluation.two_stage import two_stage_loss


def test_a_right_pair_that_the_first_stage_misses_is_a_loss():
    exact = np.eye(4) + 0.1 * np.arange(16).reshape(4, 4) / 16
    staged = exact.copy()
    staged[2, 2] = -4.0  # not among the candidates
    truth = of_owners(np.arange(4), 4)
    every = np.arange(4)
    loss = two_stage_loss(staged, every, exact, every, exact, truth)
    assert loss["images"] == loss["texts"] == 4
    assert loss["exact"]["txt_r1"] == loss["exact"]["img_r1"] == 100.0
    assert loss["staged"]["txt_r1"] == loss["staged"]["img_r1"] == 75.0 and loss["largest"] == 25.0
    few = np.array([3, 0])
    assert two_stage_loss(staged, few, exact[few], few, exact[:, few], truth)["largest"] == 0.0

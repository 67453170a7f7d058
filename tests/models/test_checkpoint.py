"""What a checkpoint says of how its weights came about."""

import pytest

from lavis_asym.models.checkpoint import Training

CONFIG = {"run": {"valid_splits": ["val"], "iters_per_inner_epoch": 3}, "datasets": {"asym_custom": None}}


@pytest.mark.parametrize(
    "counted, selection, passes",
    [
        ({"iters": 6, "best_iters": 6}, "rsum of val", 2),
        ({"iters": 12, "best_iters": 6}, "last weights", 4),
        ({"epoch": 4, "best_epoch": 4}, "rsum of val", 5),
        ({"epoch": 4, "best_epoch": 2}, "last weights", 5),
        ({}, "rsum of val", None),
    ],
)
def test_how_the_weights_of_a_checkpoint_were_chosen(counted, selection, passes):
    training = Training.of_checkpoint({"model": {}, "config": CONFIG, **counted})
    assert (training.selection, training.passes) == (selection, passes)


def test_of_weights_alone_nothing_is_known():
    assert Training.of_checkpoint({"model": {}}) == (None, None, None)

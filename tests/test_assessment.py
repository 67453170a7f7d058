"""A final evaluation's sections agree with its main table, and with the line above it."""

from types import SimpleNamespace

import numpy as np
import pytest
from torch import nn

COLOURS = ("red", "green", "blue", "yellow", "black", "white")
TEXTS = [f"a {colour} bus in a street" for colour in COLOURS]


@pytest.fixture
def blind(registered):
    """A scorer that gives every pair one score, before six photos with a caption each."""
    numbers = range(len(TEXTS))
    dataset = SimpleNamespace(
        image=[f"{n}.jpg" for n in numbers],
        text=list(TEXTS),
        txt2img={n: n for n in numbers},
        img2txt={n: [n] for n in numbers},
    )
    return SimpleNamespace(
        dataset=dataset, score_own=None, score_all=lambda texts: np.zeros((len(TEXTS), len(texts)), np.float32)
    )


@pytest.mark.parametrize("ties,r1", [("against", 0), ("expected", 100 / 6)])
def test_every_recall_takes_ties_as_the_main_table_does(blind, ties, r1):
    from lavis_asym.assessment import Settings, rank, sections
    from lavis_asym.scorers import Scored

    scores = np.zeros((len(TEXTS),) * 2, np.float32)
    scored, settings = Scored(scores, scores.T, 0), Settings(ties=ties, resamples=0, graded=False)
    ranked = rank(scored, blind.dataset, settings)
    assert ranked.metrics(ties)["img_r1"] == pytest.approx(r1)
    found = dict(sections(blind, scored, ranked, settings))
    assert [row["img_r1"] for row in found["by_length"]] == pytest.approx([r1])
    assert found["probe"]["recall"]
    for row in found["probe"]["recall"].values():
        assert row["texts"]["img_r1"] == row["captions"]["img_r1"] == pytest.approx(r1)


def test_captions_that_say_the_same_are_not_distinct(blind):
    from lavis_asym.assessment import Settings, protocol_of
    from lavis_asym.scorers import Scored

    blind.dataset.text[1:4] = ["a red bus", "A red-bus .", "a  red bus"]
    scores = np.zeros((len(TEXTS),) * 2, np.float32)
    protocol = protocol_of(nn.Linear(1, 1), blind.dataset, Scored(scores, scores.T, 0), Settings())
    assert (protocol["captions"], protocol["distinct_captions"]) == (6, 4)

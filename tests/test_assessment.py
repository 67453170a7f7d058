"""A final evaluation's sections agree with its main table, and with the line above it."""

from types import SimpleNamespace

import numpy as np
import pytest
from torch import nn

COLOURS = ("red", "green", "blue", "yellow", "black", "white")
TEXTS = [f"a {colour} {vehicle} in a street" for vehicle in ("bus", "car") for colour in COLOURS]


def intervals_in(section):
    """Every interval of a section, None as well, however deep it lies."""
    for key, value in section.items() if isinstance(section, dict) else enumerate(section):
        if str(key).endswith("interval"):
            yield from value.values() if isinstance(value, dict) else [value]
        elif isinstance(value, (dict, list)):
            yield from intervals_in(value)


@pytest.fixture
def blind(registered):
    """A scorer that gives every pair one score, before twelve photos with a caption each."""
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


@pytest.mark.parametrize("ties,r1", [("against", 0), ("expected", 100 / 12)])
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


def test_no_resamples_are_no_interval_in_any_section_and_the_seed_reaches_all(blind):
    from lavis_asym.assessment import Settings, rank, sections
    from lavis_asym.scorers import Scored

    scores = np.random.default_rng(0).random((len(TEXTS),) * 2).astype(np.float32)
    blind.score_all = lambda texts: np.random.default_rng(1).random((len(TEXTS), len(texts)))
    scored = Scored(scores, scores.T, 0)

    def found(**given):
        settings = Settings(**given)
        return dict(sections(blind, scored, rank(scored, blind.dataset, settings), settings))

    none, one, other = (found(resamples=n, seed=seed) for n, seed in ((0, 1), (50, 1), (50, 2)))
    assert "intervals" in one and "intervals" not in none
    for name in ("by_length", "graded", "probe"):
        assert not any(intervals_in(none[name]))
        assert list(filter(None, intervals_in(one[name]))) != list(filter(None, intervals_in(other[name])))


def test_captions_that_say_the_same_are_not_distinct(blind):
    from lavis_asym.assessment import Settings, protocol_of
    from lavis_asym.scorers import Scored

    blind.dataset.text[1:4] = ["a red bus", "A red-bus .", "a  red bus"]
    scores = np.zeros((len(TEXTS),) * 2, np.float32)
    protocol = protocol_of(nn.Linear(1, 1), blind.dataset, Scored(scores, scores.T, 0), Settings())
    assert (protocol["captions"], protocol["distinct_captions"]) == (12, 10)

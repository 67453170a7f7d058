"""`lavis-asym compare`: the table, the JSON, and what it says to runs that cannot be compared."""

import argparse
import json

import numpy as np
import pytest

from lavis_asym.cli import compare
from lavis_asym.errors import UserError
from lavis_asym.evaluation import Truth
from lavis_asym.evaluation.protocols import Protocol
from lavis_asym.evaluation.run_files import encode, make_run

PROTOCOL = {"name": "custom", "data": "asym_custom", "split": "val", "images": 60, "captions": 120, "k_test": 0}


def run_bytes(lift, images=60, names="photo{}.jpg", fold=None, **changes):
    owner = np.arange(2 * images) // 2
    scores = np.random.default_rng(0).standard_normal((images, len(owner)))
    scores[owner, np.arange(len(owner))] += lift
    protocol = {**PROTOCOL, "weights": f"{lift:.6f}", **changes}
    ids = [names.format(i) for i in range(images)]
    truth = Truth.from_maps(owner, np.arange(2 * images).reshape(images, 2))
    return encode(make_run(scores, scores.T, truth, ids, protocol, Protocol("t", None, fold)))


@pytest.fixture
def folders(tmp_path):
    """Run folders `weak` and `strong`, each with val; `strong` also with test."""
    for name, lift in (("weak", 1.0), ("strong", 4.0)):
        (tmp_path / name / "result").mkdir(parents=True)
        (tmp_path / name / "result" / "val.run.json.gz").write_bytes(run_bytes(lift))
    (tmp_path / "strong" / "result" / "test.run.json.gz").write_bytes(run_bytes(4.0, split="test"))
    return tmp_path


def call(*arguments):
    parser = argparse.ArgumentParser()
    compare.add_arguments(parser)
    return compare.run(parser.parse_args([str(a) for a in arguments]))


def test_table_and_json(folders, capsys):
    out = folders / "difference.json"
    call(folders / "weak", folders / "strong", "--split", "val", "--json", out)
    text = capsys.readouterr().out
    assert text.startswith(
        "val, protocol custom, 60 images, 120 captions, ties against the model\n"
        f"A: {folders / 'weak' / 'result' / 'val.run.json.gz'}: asym_custom, every pair scored, weights 1.000000\nB: "
    )
    assert "95% interval" in text and "as one of 11 figures tested (Holm): i2t R@1, i2t R@5" in text
    content = json.loads(out.read_text())
    rsum = content["figures"]["rsum"]
    assert rsum["difference"] == rsum["b"] - rsum["a"] and 0 < rsum["low"] < rsum["difference"] < rsum["high"]
    assert 0 < rsum["p"] <= rsum["p_holm"] <= 0.05 and content["runs"]["b"]["weights"] == "4.000000"
    assert len(content["figures"]) == 11


def test_a_run_against_itself_shows_nothing(folders, capsys):
    file = folders / "weak" / "result" / "val.run.json.gz"
    call(file, file.parent, "--ties", "expected")
    text = capsys.readouterr().out
    assert "each figure alone: none" in text and "(Holm): none" in text and "ties expected value" in text


@pytest.mark.parametrize(
    "other, problem",
    [
        (dict(split="test"), "protocol split: 'val' and 'test'"),
        (dict(name="coco_5k"), "protocol name: 'custom' and 'coco_5k'"),
        (dict(fold=30), "images in a fold: None and 30"),
        (dict(names="other{}.jpg"), "images: 60 and 60, only A has 'photo0.jpg', only B has 'other0.jpg'"),
        (dict(images=59), "texts: 120 and 118, only A has 'photo59.jpg#0'"),
    ],
)
def test_other_galleries_are_refused(folders, tmp_path, other, problem):
    (tmp_path / "b.run.json.gz").write_bytes(run_bytes(1.0, **other))
    with pytest.raises(UserError, match=problem):
        call(folders / "weak", tmp_path / "b.run.json.gz")


@pytest.mark.parametrize(
    "arguments, problem",
    [
        (("weak", "strong"), "has run files of test, val; choose one with --split test|val"),
        (("weak", "strong", "--split", "test"), "has run files of val; choose one with --split val"),
        (("weak", "nowhere"), "nowhere: not there; expected a run folder"),
        (("weak", "empty"), "empty: has no [*].run.json.gz; evaluate the run first"),
        (("weak", "broken.run.json.gz"), "broken.run.json.gz: cannot be read as gzipped JSON"),
    ],
)
def test_what_is_no_run(folders, monkeypatch, arguments, problem):
    monkeypatch.chdir(folders)
    (folders / "empty").mkdir()
    (folders / "broken.run.json.gz").write_bytes(b"no")
    with pytest.raises(UserError, match=problem.replace("|", "[|]")):
        call(*arguments)


def test_a_table_that_cannot_be_written(folders):
    with pytest.raises(UserError, match="--json .* cannot be written"):
        call(folders / "weak", folders / "weak", "--json", folders / "no" / "x.json")

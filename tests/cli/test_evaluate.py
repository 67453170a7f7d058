"""`lavis-asym evaluate --scores`: the table of a run file again, without the model."""

import numpy as np
import pytest
import torch

from lavis_asym.cli import main
from lavis_asym.evaluation import PROTOCOLS, Truth, make_run
from lavis_asym.evaluation.run_files import encode


@pytest.fixture
def run_file(tmp_path):
    """Ten images with a caption each; every score is equal."""
    scores, truth = np.zeros((10, 10)), Truth.from_maps(range(10), [[k] for k in range(10)])
    names, path = [f"{k}.jpg" for k in range(10)], tmp_path / "val.run.json.gz"
    path.write_bytes(encode(make_run(scores, scores.T, truth, names, {"name": "custom"}, PROTOCOLS["custom"])))
    return str(path)


@pytest.mark.parametrize("ties, recall", [("against", "0.0"), ("expected", "10.0")])
def test_a_run_file_is_scored_again(run_file, capsys, ties, recall):
    assert main(["evaluate", "--scores", run_file, "--ties", ties]) == 0
    row = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("image to text"))
    assert row.split()[3] == recall


def test_options_that_it_cannot_heed_are_refused_by_name(run_file, capsys):
    assert main(["evaluate", "--scores", run_file, "--k-test", "5", "--checkpoint", "best.pth", "--no-probe"]) == 2
    message = capsys.readouterr().err
    assert all(option in message for option in ("--k-test", "--checkpoint", "--no-probe", "--scores"))
    assert "--split" not in message


@pytest.mark.skipif(torch.cuda.is_available(), reason="the fault shows only without a GPU")
def test_a_device_that_is_not_there_is_refused(scenes_root, tmp_path, capsys):
    given = ["evaluate", "--root", str(scenes_root), "--checkpoint", "best.pth", "--out", str(tmp_path)]
    assert main([*given, "--device", "cuda"]) == 2
    assert "--device: cuda, but torch finds 0 GPUs here" in capsys.readouterr().err

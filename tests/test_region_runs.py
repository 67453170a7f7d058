"""Runs on region features of the user's own: trained, evaluated and resumed on, refused where others are meant."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from lavis_asym.cli import main as command
from lavis_asym.errors import UserError
from lavis_asym.run import main

COCO = "projects/asym/coco.yaml"
REGIONS = "model.vision_encoder=regions"
SHORT = [
    "run.max_epoch=2", "run.batch_size_train=8", "run.num_workers=0", "run.warmup_steps=1",
    "run.evaluation.protocol=custom", "run.evaluation.probe=false", "run.evaluation.graded=false",
    "run.evaluation.resamples=0",
]  # fmt: skip


@pytest.fixture(scope="module")
def shards(scenes_root, registered, tmp_path_factory):
    """Packed: images; encoded, by Lite0; own, again, small, of files of their own; named, as own by name; wide, shaped
    as Lite0's."""
    folder = tmp_path_factory.mktemp("shards")
    assert command(["pack", "custom", str(scenes_root), "--out", f"{folder}/images", "--shard-samples", "6"]) == 0
    assert command(["features", f"{folder}/images", "--model-type", "tiny", "--out", f"{folder}/encoded"]) == 0
    for name, shape in {"own": (5, 8), "again": (5, 8), "small": (5, 6), "wide": (49, 1280)}.items():
        (folder / "npy" / name).mkdir(parents=True)
        for number, path in enumerate(sorted((scenes_root / "images").iterdir())):
            regions = np.random.default_rng(number).normal(size=shape).astype(np.float32)
            np.save(folder / "npy" / name / f"{path.stem}.npy", regions)
        pack(folder, name, name)
    return folder


def pack(folder, npy, out, *more):
    given = ["features", f"{folder}/images", "--npy", f"{folder}/npy/{npy}", "--out", f"{folder}/{out}", *more]
    assert command(given) == 0


def run(verb, folder, *given):
    return main(verb, ["--cfg-path", COCO, "--options", f"datasets.asym_coco.shards={folder}", *SHORT, *given])


def evaluate(folder, checkpoint, out, *given):
    few = ["--no-probe", "--no-graded", "--resamples", "0"]
    return command(
        ["evaluate", "--shards", str(folder), "--checkpoint", str(checkpoint), "--out", str(out), *few, *given]
    )


def figures(path):
    return {name: value for name, value in json.loads(Path(path).read_text()).items() if isinstance(value, float)}


def results(out):
    (folder,) = out.iterdir()
    return figures(folder / "result" / "val.json")


@pytest.fixture(scope="module")
def checkpoint(shards, tmp_path_factory):
    out = tmp_path_factory.mktemp("trained") / "out"
    assert run("train", shards / "own", REGIONS, f"run.output_dir={out}", "model.fusion.heads=8") == 0
    return next(out.glob("*/checkpoint_best.pth"))


def test_a_checkpoint_is_evaluated_as_it_was_trained(checkpoint, shards, tmp_path):
    trained = figures(checkpoint.parent / "result" / "val.json")
    again = [f"model.finetuned={checkpoint}", "model.fusion.heads=8", f"run.output_dir={tmp_path / 'out'}"]
    assert run("evaluate", shards / "own", REGIONS, *again) == 0
    assert results(tmp_path / "out") == trained
    assert evaluate(shards / "own", checkpoint, tmp_path / "cli") == 0
    assert figures(tmp_path / "cli" / "val.json") == trained


def test_a_run_resumes(checkpoint, shards, tmp_path):
    still = [f"run.{rate}=0.0" for rate in ("init_lr", "min_lr", "warmup_lr", "weight_decay")]
    given = [f"run.resume_ckpt_path={checkpoint}", "model.fusion.heads=8", f"run.output_dir={tmp_path / 'out'}", *still]
    assert run("train", shards / "own", REGIONS, *given, "run.max_epoch=3") == 0
    assert results(tmp_path / "out") == figures(checkpoint.parent / "result" / "val.json")


def test_features_of_one_extractor_go_together(checkpoint, shards, tmp_path):
    fingerprint = json.loads((shards / "own" / "index.json").read_text())["features"]["fingerprint"]
    pack(shards, "again", "named", "--extractor", fingerprint.partition("/")[2])
    assert evaluate(shards / "named", checkpoint, tmp_path) == 0


def test_a_checkpoint_keeps_the_settings_of_its_model(checkpoint, scenes_root):
    import lavis_asym

    model = lavis_asym.load_model(checkpoint=str(checkpoint))
    assert (model.vision_encoder.name, model.vision_encoder.width, model.fusion.heads) == ("regions", 8, 8)
    with pytest.raises(UserError, match="takes region features, no images"):
        model.similarity([next((scenes_root / "images").iterdir())], ["a star"])
    with pytest.raises(UserError, match="takes region features, no images"):
        model.encode_images({"image": torch.zeros(1, 3, 224, 224)})


@pytest.mark.parametrize(
    "verb, folder, given, messages",
    [
        ("train", "own", [], ["regions/npy/", "5 x 8", "efficientnet_lite0/", f"--options {REGIONS}"]),
        ("train", "images", [REGIONS], ["holds images", "datasets.asym_coco.shards", "--npy"]),
        ("train", "encoded", [REGIONS], ["features of efficientnet_lite0, but model.vision_encoder is regions"]),
        ("train", "own", [REGIONS, "datasets.asym_coco.data_type=images"], ["datasets.asym_coco: has images"]),
        (
            "train",
            "again",
            [REGIONS, "model.fusion.heads=8", "run.resume_ckpt_path={}"],
            ["checkpoint_best.pth", "--extractor npy/"],
        ),
        ("train", "small", [REGIONS, "model.finetuned={}"], ["5 x 6", "5 x 8", "or train on the former"]),
        (
            "evaluate",
            "again",
            [REGIONS, "model.fusion.heads=8", "model.finetuned={}"],
            ["datasets.NAME.shards", "--extractor npy/"],
        ),
        ("evaluate", "own", ["model.finetuned={}"], ["add to --options", REGIONS]),
        ("train", "images", ["model.finetuned={}"], ["49 x 1280", "the model's regions/npy/"]),
    ],
)
def test_a_run_refuses_other_features_and_says_what_to_set(
    checkpoint, shards, tmp_path, monkeypatch, capsys, verb, folder, given, messages
):
    monkeypatch.chdir(tmp_path)
    assert run(verb, shards / folder, *(option.format(checkpoint) for option in given)) == 2
    error = capsys.readouterr().err
    assert all(message in error for message in messages) and "Traceback" not in error


def test_evaluate_refuses_other_features(checkpoint, model, shards, tmp_path, capsys):
    torch.save({"model": model.state_dict()}, tmp_path / "tiny.pth")
    assert evaluate(shards / "wide", tmp_path / "tiny.pth", tmp_path) == 2
    assert REGIONS in capsys.readouterr().err, "they have the shape of the encoder's own"
    assert evaluate(shards / "again", checkpoint, tmp_path) == 2
    assert "--extractor npy/" in capsys.readouterr().err
    assert evaluate(shards / "images", checkpoint, tmp_path) == 2
    assert "takes region features, no images" in capsys.readouterr().err


def test_lavis_own_models_take_no_features(shards, tmp_path, capsys):
    given = ["--model", "blip_retrieval", "--model-type", "coco", "--out", str(tmp_path)]
    assert command(["evaluate", "--shards", str(shards / "own"), *given]) == 2
    assert "holds features, but blip_retrieval takes images" in capsys.readouterr().err

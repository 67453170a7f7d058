"""`lavis-asym pack`, `check` and `features` as a user types them."""

import json
import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "data"))
import kills  # noqa: E402
from test_damage import KINDS, Shards  # noqa: E402

from lavis_asym.cli import main  # noqa: E402
from lavis_asym.data.shards import load_index, read_index  # noqa: E402


@pytest.fixture(scope="module")
def coco(tmp_path_factory):
    root = tmp_path_factory.mktemp("coco")
    return kills.coco(root, 30)


@pytest.fixture(scope="module")
def shards(coco, tmp_path_factory):
    out = tmp_path_factory.mktemp("shards") / "coco"
    assert main([*coco, "--out", str(out), "--processes", "1", "--shard-samples", "6"]) == 0
    return out


@pytest.fixture
def copy(shards, tmp_path):
    return Path(shutil.copytree(shards, tmp_path / "copy"))


@pytest.mark.parametrize("command", [["pack"], ["pack", "coco"], ["pack", "karpathy"], ["check"], ["features"]])
def test_help_teaches_by_examples(command, capsys):
    with pytest.raises(SystemExit) as stop:
        main([*command, "--help"])
    shown = capsys.readouterr().out
    assert stop.value.code == 0 and "examples:" in shown and f"lavis-asym {command[0]}" in shown


def test_pack_says_what_it_wrote_and_what_comes_next(coco, tmp_path, capsys):
    assert main([*coco, "--out", str(tmp_path / "a"), "--processes", "1"]) == 0
    shown = capsys.readouterr().out
    assert "train: 24 images, 120 captions in 8 shard(s)" in shown and "lavis-asym check" in shown
    assert main([*coco, "--out", str(tmp_path / "a"), "--processes", "1"]) == 0, "done already"


def test_pack_custom_and_flickr30k(scenes_root, tmp_path):
    assert main(["pack", "custom", str(scenes_root), "--out", str(tmp_path / "a"), "--processes", "1"]) == 0
    for split in ("train", "val", "test"):
        (tmp_path / f"flickr30k_{split}.json").write_text((scenes_root / f"{split}.json").read_text())
    given = ["--annotations", str(tmp_path), "--images", str(scenes_root / "images"), "--out", str(tmp_path / "b")]
    assert main(["pack", "flickr30k", *given, "--processes", "1"]) == 0
    counts = [read_index(tmp_path / name)["counts"] for name in "ab"]
    assert counts[0] == counts[1]


@pytest.mark.parametrize(
    "more,message",
    [
        (["--shard-bytes", "much"], "'much': no size"),
        (["--shard-samples", "0"], "--shard-samples 0: expected at least 1"),
        (["--processes", "0"], "--processes 0: expected at least 1"),
    ],
)
def test_an_option_without_sense_is_refused(coco, tmp_path, capsys, more, message):
    assert main([*coco, "--out", str(tmp_path / "a"), *more]) == 2
    assert message in capsys.readouterr().err


def test_check_of_good_shards(shards, capsys):
    assert main(["check", str(shards), "--deep", "--processes", "2"]) == 0
    report = json.loads((shards / "check.json").read_text())
    assert report["errors"] == 0 and report["images"] == 30 and report["captions"] == 150 and report["deep"]
    assert "0 error(s)" in capsys.readouterr().out


@pytest.mark.parametrize("files", [{}, {"index.json": '{"name": "of another program"}', "data.tar": ""}])
def test_check_writes_nothing_into_a_folder_that_is_none_of_shards(tmp_path, capsys, files):
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    assert main(["check", str(tmp_path)]) == 2
    assert str(tmp_path / "index.json") in capsys.readouterr().err
    assert {path.name for path in tmp_path.iterdir()} == set(files)


def test_captions_of_several_images_are_counted(scenes_root, tmp_path, capsys):
    for name in ("train", "val"):
        records = json.loads((scenes_root / f"{name}.json").read_text())
        same = [{**r, "caption": "the same" if name == "train" else ["The same!", "Another."]} for r in records]
        (tmp_path / f"{name}.json").write_text(json.dumps(same))
    (tmp_path / "images").symlink_to(scenes_root / "images")
    assert main(["pack", "custom", str(tmp_path), "--out", str(tmp_path / "a"), "--processes", "1"]) == 0
    assert main(["check", str(tmp_path / "a")]) == 0
    assert "2 captions stand under several images" in capsys.readouterr().out


def test_check_prints_shard_and_key_and_exits_with_1(copy, capsys):
    Shards(copy).field("jpg", b"")
    assert main(["check", str(copy), "--report", str(copy.parent / "r.json")]) == 1
    assert "error: train-00001.tar, key 000000007: its image is empty" in capsys.readouterr().out
    assert json.loads((copy.parent / "r.json").read_text())["findings"][0]["key"] == "000000007"


@pytest.mark.parametrize(
    "kind,left",
    [
        ("image of zero bytes", 1),
        ("bit flipped in an image", 1),
        ("blank caption", 1),
        ("the same id twice", 1),
        ("the same image in two splits", 1),
        ("shard missing", 6),
        ("second half cut off", None),
        ("sample doubled", 2),
        ("samples out of order", 0),
        ("pickle", None),
        ("wrong counts", 0),
    ],
)
def test_fix_packs_what_is_good_and_lists_the_rest(copy, capsys, kind, left):
    KINDS[kind][0](Shards(copy))
    out = copy.parent / "fixed"
    assert main(["check", str(copy), "--deep", "--fix", str(out), "--processes", "1"]) == 1
    left_out = json.loads((out / "left_out.json").read_text())
    assert capsys.readouterr().out.count("left out: ") == len(left_out)
    kept = sum(count["images"] for count in load_index(out)["counts"].values())
    promised = sum(e["samples"] for entries in load_index(copy)["splits"].values() for e in entries)
    assert kept == promised - len({item["key"] for item in left_out}) and 0 < kept
    assert left is None or len(left_out) == left
    assert main(["check", str(out), "--deep", "--processes", "1"]) == 0


def test_an_image_in_two_splits_is_left_out_of_train(copy):
    KINDS["the same image in two splits"][0](Shards(copy))
    main(["check", str(copy), "--fix", str(copy.parent / "fixed")])
    left_out = json.loads((copy.parent / "fixed" / "left_out.json").read_text())
    assert [item["shard"] for item in left_out] == ["train-00001.tar"]


def test_features_of_another_encoder_stop_a_run_and_both_are_named(
    scenes_root, registered, tmp_path, capsys, monkeypatch
):
    from lavis_asym.encoders import VISION_ENCODERS
    from lavis_asym.run import main as launch

    small = {"train": 4, "val": 2}
    (tmp_path / "images").symlink_to(scenes_root / "images")
    for split, count in small.items():
        records = json.loads((scenes_root / f"{split}.json").read_text())
        ids = sorted({r["image_id"] for r in records})[:count]
        (tmp_path / f"{split}.json").write_text(json.dumps([r for r in records if r["image_id"] in ids]))
    assert main(["pack", "custom", str(tmp_path), "--out", str(tmp_path / "s"), "--processes", "1"]) == 0
    assert main(["features", str(tmp_path / "s"), "--model-type", "tiny", "--out", str(tmp_path / "f")]) == 0
    fingerprint = VISION_ENCODERS["efficientnet_lite0"].fingerprint
    assert fingerprint in capsys.readouterr().out
    monkeypatch.setattr(VISION_ENCODERS["efficientnet_lite0"], "fingerprint", "another/224")
    options = [f"datasets.asym_coco.shards={tmp_path / 'f'}", f"run.output_dir={tmp_path / 'out'}"]
    assert launch("train", ["--cfg-path", "projects/asym/coco.yaml", "--options", *options]) == 2
    error = capsys.readouterr().err
    assert fingerprint in error and "another/224" in error and "lavis-asym features" in error


@pytest.mark.parametrize(
    "given,message",
    [
        (["--model-type", "tinny"], "did you mean 'tiny'"),
        (["--model-type", "tiny", "--extractor", "butd36"], "--extractor: is for features of your own"),
        (["--npy", "nowhere"], "nowhere: no such folder"),
        (["--scan", "nowhere"], "and not both"),
    ],
)
def test_features_refuse_what_is_not_there(shards, tmp_path, capsys, given, message):
    assert main(["features", str(shards), *given, "--out", str(tmp_path / "f")]) == 2
    assert message in capsys.readouterr().err

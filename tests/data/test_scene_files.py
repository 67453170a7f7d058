"""The folder of scenes: the same bytes again, whole or written anew."""

import hashlib
import json
import re

import pytest
from PIL import Image

from lavis_asym.data.scenes import SPLITS, draw, files, make_scene, read_truth, render, write_scenes

COUNTS = {"train": 6, "val": 3, "test": 2}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenes")
    assert write_scenes(folder, seed=3, counts=COUNTS, progress=False)
    return folder


def _contents(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def _copy(folder, target):
    for name, content in _contents(folder).items():
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (target / name).write_bytes(content)
    return target


def test_two_runs_are_the_same_to_the_byte(written, tmp_path):
    write_scenes(tmp_path, seed=3, counts=COUNTS, progress=False)
    assert _contents(tmp_path) == _contents(written)


def test_another_seed_gives_other_files(written, tmp_path):
    write_scenes(tmp_path, seed=4, counts=COUNTS, progress=False)
    ours, others = _contents(tmp_path), _contents(written)
    assert ours.keys() == others.keys()
    assert all(ours[name] != others[name] for name in ours)


def test_the_layout_is_that_of_a_lavis_retrieval_set(written):
    train = json.loads((written / "train.json").read_text())
    assert len(train) == 5 * COUNTS["train"]
    assert all(record.keys() == {"image", "caption", "image_id"} for record in train)
    assert all(isinstance(record["caption"], str) for record in train)
    for split in ("val", "test"):
        records = json.loads((written / f"{split}.json").read_text())
        assert len(records) == COUNTS[split]
        assert all(record.keys() == {"image", "caption", "image_id"} for record in records)
        assert all(len(set(record["caption"])) == 5 for record in records)
        train = train + records
    assert {record["image"] for record in train} == {path.name for path in (written / "images").iterdir()}
    assert {record["image_id"] for record in train} == set(read_truth(written))
    with Image.open(written / "images" / train[0]["image"]) as image:
        assert (image.mode, image.size) == ("RGB", (224, 224))


def test_truth_reads_back_as_the_scenes_made(written):
    made = [make_scene(3, split, index) for split in SPLITS for index in range(COUNTS[split])]
    assert read_truth(written) == {scene.image_id: scene for scene in made}


def test_done_tells_arguments_and_digest(written):
    done = json.loads((written / "done.json").read_text())
    assert (done["seed"], done["counts"], done["generator"]) == (3, COUNTS, draw.GENERATOR_VERSION)
    assert re.fullmatch("[0-9a-f]{64}", done["sha256"])


def test_a_whole_folder_is_left_alone(written):
    before = {path: path.stat().st_mtime_ns for path in written.rglob("*")}
    assert not write_scenes(written, seed=3, counts=COUNTS, progress=False)
    assert {path: path.stat().st_mtime_ns for path in written.rglob("*")} == before


@pytest.mark.parametrize(
    "harm",
    [
        lambda folder: (folder / "done.json").unlink(),
        lambda folder: (folder / "done.json").write_text("{"),
        lambda folder: (folder / "done.json").write_text("null"),
        lambda folder: (folder / "images" / "train-00002.jpg").unlink(),
        lambda folder: (folder / "images" / "val-00000.jpg").write_bytes(b""),
        lambda folder: (folder / "truth.json").unlink(),
        lambda folder: (folder / "test.json").write_text("[]"),
    ],
    ids=["no done", "broken done", "null done", "no image", "empty image", "no truth", "other table"],
)
def test_a_harmed_folder_is_written_again(written, tmp_path, harm):
    harm(_copy(written, tmp_path))
    assert write_scenes(tmp_path, seed=3, counts=COUNTS, progress=False)
    assert _contents(tmp_path) == _contents(written)


def test_an_interrupted_write_is_not_taken_for_whole(written, tmp_path, monkeypatch):
    def interrupted(scene):
        if scene.image_id == "val-00001":
            raise KeyboardInterrupt
        return render(scene)

    _copy(written, tmp_path)
    monkeypatch.setattr(files, "render", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_scenes(tmp_path, seed=4, counts=COUNTS, progress=False)
    assert not (tmp_path / "done.json").exists()
    monkeypatch.undo()
    assert write_scenes(tmp_path, seed=3, counts=COUNTS, progress=False)
    assert _contents(tmp_path) == _contents(written)


def test_other_arguments_write_again_and_leave_no_old_images(written, tmp_path):
    _copy(written, tmp_path)
    (tmp_path / "images" / "mine.jpg").write_bytes(b"kept")
    assert write_scenes(tmp_path, seed=3, counts={"train": 2}, progress=False)
    assert {path.name for path in (tmp_path / "images").iterdir()} == {"train-00000.jpg", "train-00001.jpg", "mine.jpg"}
    assert json.loads((tmp_path / "val.json").read_text()) == []


def test_the_digest_covers_every_file(written):
    names = [path.name for path in sorted((written / "images").iterdir())]
    order = [f"{split}-{index:05d}.jpg" for split in SPLITS for index in range(COUNTS[split])]
    assert sorted(order) == names
    expected = hashlib.sha256()
    for name in ["train.json", "val.json", "test.json", "truth.json", *(f"images/{name}" for name in order)]:
        content = (written / name).read_bytes()
        expected.update(f"{name} {len(content)}\n".encode() + content)
    assert json.loads((written / "done.json").read_text())["sha256"] == expected.hexdigest()


@pytest.mark.parametrize("counts", [{"dev": 1}, {"train": -1}])
def test_impossible_counts_are_refused_before_anything_is_written(tmp_path, counts):
    with pytest.raises(ValueError):
        write_scenes(tmp_path / "new", counts=counts, progress=False)
    assert not (tmp_path / "new").exists()


def test_progress_shows_on_stderr(tmp_path, capsys):
    write_scenes(tmp_path, counts={"val": 2}, progress=True)
    shown = capsys.readouterr()
    assert "2/2" in shown.err and shown.out == ""

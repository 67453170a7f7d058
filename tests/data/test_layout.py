"""Everything that can be wrong with a user's folder is named, all of it at once."""

import json

import pytest
from PIL import Image

from lavis_asym.data.layout import Record, read_layout
from lavis_asym.data.prepare import prepare_images
from lavis_asym.data.shards import read_index
from lavis_asym.errors import UserError


@pytest.fixture
def root(tmp_path):
    """Two train images and one val image."""
    folder = tmp_path / "data"
    (folder / "images" / "sub").mkdir(parents=True)
    for k, name in enumerate(("a.jpg", "sub/b.v1.png", "c.jpg")):
        Image.new("RGB", (20, 10), (80 * k, 0, 0)).save(folder / "images" / name)
    write(folder, "train", [
        {"image": "a.jpg", "caption": "one", "image_id": "A"},
        {"image": "sub/b.v1.png", "caption": "two\n lines", "image_id": 7},
        {"image": "a.jpg", "caption": "three", "image_id": "A"},
    ])  # fmt: skip
    write(folder, "val", [{"image": "c.jpg", "caption": ["four", "five"]}])
    return folder


def write(folder, split, records):
    (folder / f"{split}.json").write_text(json.dumps(records))


def test_records_of_one_image_are_joined(root):
    assert read_layout(root).splits == {
        "train": [Record("a.jpg", ("one", "three"), "A"), Record("sub/b.v1.png", ("two lines",), "7")],
        "val": [Record("c.jpg", ("four", "five"), "c.jpg")],
    }


def test_what_people_wrote_stays_with_its_caption(root):
    write(root, "train", [
        {"image": "a.jpg", "caption": "one", "image_id": "A", "negatives": ["no one", "not  one"]},
        {"image": "a.jpg", "caption": ["three", "four"], "image_id": "A", "positives": ["3"]},
        {"image": "sub/b.v1.png", "caption": "two", "image_id": 7, "negatives": []},
    ])  # fmt: skip
    first, second = read_layout(root).splits["train"]
    assert first == Record(
        "a.jpg", ("one", "three", "four"), "A", ((), ("3",), ("3",)), (("no one", "not one"), (), ())
    )
    assert second == Record("sub/b.v1.png", ("two",), "7")


RECORD = {"image": "c.jpg", "caption": ["x"], "image_id": "C"}
WITHOUT = {"image": "c.jpg", "caption": ["y"]}


@pytest.mark.parametrize(
    "val,message",
    [
        ([{"image": "c.jpg"}], r"val.json, record 0: no 'caption'; expected the keys"),
        ([{"caption": "x"}], r"val.json, record 0: no 'image'"),
        ([RECORD, {**RECORD, "caption": " "}], r"val.json, record 1: 'caption' of 'c.jpg' is empty"),
        ([{**RECORD, "caption": ["x", ""]}], r"record 0: 'caption' of 'c.jpg' is empty"),
        ([{**RECORD, "caption": []}], r"non-empty list of texts"),
        ([{**RECORD, "caption": 3}], r"'caption' must be a text"),
        ([{**RECORD, "image": "no.jpg"}], r"'image' names 'no.jpg', but there is no .*no.jpg"),
        ([{**RECORD, "image": "../val.json"}], r"must be a path inside images/"),
        ([{**RECORD, "image_id": "A"}], r"image_id 'A' stands in train and in val"),
        ([{**RECORD, "image": "a.jpg"}], r"image 'a.jpg' stands in train and in val"),
        ([RECORD, {**RECORD, "image": "a.jpg"}], r"record 1: image_id 'C' stands for 'c.jpg' and 'a.jpg'"),
        ([RECORD, {**RECORD, "image_id": 3}], r"record 1: 'c.jpg' has image_id '3', and image_id 'C' in record 0"),
        ([RECORD, WITHOUT], r"record 1: 'c.jpg' has no image_id, and image_id 'C' in record 0"),
        ([{**RECORD, "image_id": None}, WITHOUT, RECORD], r"record 2: .* image_id 'C', and no image_id in record 0"),
        ([{**RECORD, "negatives": "y"}], r"'negatives' of 'c.jpg' must be a list of texts, got 'y'"),
        ([{**RECORD, "positives": ["y", " "]}], r"'positives' of 'c.jpg' must be a list of texts"),
        (["x"], r"record 0: expected an object"),
        ({}, r"val.json: expected a non-empty list of records, got dict"),
        ([], r"val.json: expected a non-empty list"),
    ],
)
def test_a_wrong_record_is_named_with_its_file(root, val, message):
    write(root, "val", val)
    with pytest.raises(UserError, match=message):
        read_layout(root)


def test_an_image_needs_no_id_in_any_of_its_records(root):
    write(root, "val", [WITHOUT, {**WITHOUT, "image_id": None, "caption": "z"}])
    assert read_layout(root).splits["val"] == [Record("c.jpg", ("y", "z"), "c.jpg")]


def test_windows_mark_of_utf_8_is_read_over(root):
    (root / "val.json").write_text(json.dumps([RECORD]), encoding="utf-8-sig")
    assert read_layout(root).splits["val"] == [Record("c.jpg", ("x",), "C")]


def test_json_lines_are_named_as_such(root):
    (root / "val.json").write_text("\n".join([json.dumps(RECORD)] * 3))
    with pytest.raises(UserError, match=r"val.json: .*expected one list, \[{...}, {...}\], not JSON lines"):
        read_layout(root)


@pytest.mark.parametrize("prefix", ["images/", "data/images/", "{root}/images/"])
def test_a_prefix_of_image_names_is_one_problem(root, prefix):
    prefix = prefix.format(root=root)
    captions = [{"image": f"{prefix}sub/b.v1.png", "caption": f"caption {k}"} for k in range(30)]
    write(root, "train", [*captions, {"image": f"{prefix}a.jpg", "caption": "one"}])
    with pytest.raises(UserError) as error:
        read_layout(root)
    assert "1 problem(s)" in str(error.value)
    assert f"train.json: 31 record(s) have an image name that begins with {prefix!r}" in str(error.value)
    assert f"relative to {root / 'images'}: remove the prefix" in str(error.value)


def test_all_problems_are_listed_at_once(root):
    write(root, "val", [{"image": "c.jpg"}] * 30)
    (root / "test.json").write_text("{not json")
    with pytest.raises(UserError, match="31 problem") as error:
        read_layout(root)
    assert "test.json: not valid JSON" in str(error.value) or "and 11 more" in str(error.value)


def test_missing_folders_are_named(root, tmp_path):
    with pytest.raises(UserError, match="nowhere: no such folder"):
        read_layout(tmp_path / "nowhere")
    with pytest.raises(UserError, match="expected at least one of train.json"):
        (tmp_path / "empty" / "images").mkdir(parents=True)
        read_layout(tmp_path / "empty")
    with pytest.raises(UserError, match="images: no such folder"):
        (root / "images").rename(root / "photos")
        read_layout(root)


def test_broken_images_are_all_named_and_their_shards_not_written(root, tmp_path):
    whole = (root / "images" / "a.jpg").read_bytes()
    (root / "images" / "a.jpg").write_bytes(whole[:-40])
    (root / "images" / "c.jpg").write_bytes(b"no image")
    Image.new("RGB", (4, 4)).save(root / "images" / "sub" / "b.v1.png", format="BMP")
    with pytest.raises(UserError) as error:
        prepare_images(root, tmp_path / "storage", 2)
    for part in ("3 sample(s)", "a.jpg: cannot be decoded", "c.jpg: cannot be decoded", "b.v1.png: is BMP"):
        assert part in str(error.value)
    assert not list((tmp_path / "storage").rglob("*.tar*"))


@pytest.mark.parametrize("mend", ["replace the file", "remove its records"])
def test_a_first_run_after_a_mend_goes_on_with_what_was_begun(root, tmp_path, mend):
    whole = (root / "images" / "c.jpg").read_bytes()
    (root / "images" / "c.jpg").write_bytes(b"no image")
    with pytest.raises(UserError, match=mend):
        prepare_images(root, tmp_path / "storage", 2)
    begun = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "storage").rglob("*.tar")}
    assert len(begun) == 2
    if mend == "replace the file":
        (root / "images" / "c.jpg").write_bytes(whole)
    else:
        (root / "val.json").unlink()
    folder = prepare_images(root, tmp_path / "storage", 2)
    kept = {path.name: path.stat().st_mtime_ns for path in folder.glob("train*.tar")}
    assert kept == begun and [path for path in (tmp_path / "storage").iterdir() if path.is_dir()] == [folder]


def test_a_change_after_packing_leaves_the_shards_before_it_alone(root, tmp_path):
    before = prepare_images(root, tmp_path, 2)
    write(root, "val", [{"image": "c.jpg", "caption": ["another"]}])
    after = prepare_images(root, tmp_path, 2)
    assert after != before and read_index(before)["counts"]["val"]["captions"] == 2
    assert read_index(after)["counts"]["val"]["captions"] == 1

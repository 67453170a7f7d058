"""Packing: sources, order, sizes, smaller images, processes; and nothing believed that was not finished."""

import errno
import json
import re
import shutil
import subprocess
import time

import kills
import pytest
from PIL import Image

from lavis_asym.data import writing
from lavis_asym.data.fields import decode_image, decode_text, image_field
from lavis_asym.data.layout import Record, Source, read_annotations, read_karpathy
from lavis_asym.data.packing import PackOptions, pack_images, parse_size
from lavis_asym.data.shards import read_index, shard_samples
from lavis_asym.errors import UserError


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("coco")
    kills.coco(folder)
    return folder


@pytest.fixture(scope="module")
def source(root):
    return read_annotations(root / "annotations", "coco_karpathy_{}.json", root / "images")


def packed(folder, split):
    """Record and image bytes of each sample, in order."""
    for entry in read_index(folder)["splits"][split]:
        for number, sample in shard_samples(folder, entry):
            yield decode_text(sample, number).record, image_field(sample)[1]


def test_coco_annotations_and_karpathys_file_give_the_same_images(root, source, tmp_path):
    images = []
    for split, records in source.splits.items():
        for k, record in enumerate(records):
            path, name = record.image.rsplit("/", 1)
            number = int(name[-16:-4])
            place = "restval" if split == "train" and k % 2 else split
            sentences = [{"raw": caption, "tokens": caption.split()} for caption in record.captions]
            images.append(
                {"filepath": path, "filename": name, "cocoid": number, "split": place, "sentences": sentences}
            )
    (tmp_path / "dataset_coco.json").write_text(json.dumps({"images": images, "dataset": "coco"}))
    karpathy = read_karpathy(tmp_path / "dataset_coco.json", root / "images")

    def plain(given):
        return {split: [(r.image, r.captions) for r in records] for split, records in given.splits.items()}

    assert plain(karpathy) == plain(source)
    assert all(record.image_id.isdecimal() for records in karpathy.splits.values() for record in records)


@pytest.mark.parametrize(
    "change,message",
    [
        (lambda item: item.pop("sentences"), r"image 1: KeyError 'sentences'; expected"),
        (lambda item: item.update(split="dev"), r"image 1: KeyError 'dev'"),
        (lambda item: item.update(filename="none.jpg"), r"split train, record 1: 'image' names 'none.jpg'"),
        (lambda item: item["sentences"].append({"raw": ""}), r"is empty"),
    ],
)
def test_a_wrong_image_in_karpathys_file_is_named(tmp_path, change, message):
    for name in "ab":
        Image.new("RGB", (4, 4)).save(tmp_path / f"{name}.jpg")
    items = [{"filename": f"{name}.jpg", "split": "train", "sentences": [{"raw": name}]} for name in "ab"]
    change(items[1])
    (tmp_path / "d.json").write_text(json.dumps({"images": items}))
    with pytest.raises(UserError, match=message):
        read_karpathy(tmp_path / "d.json", tmp_path)


def test_train_is_shuffled_over_all_of_it_and_the_others_keep_their_order(source, tmp_path):
    pack_images(source, tmp_path / "a", "coco", PackOptions(shard_samples=7))
    order = [record.image for record, _ in packed(tmp_path / "a", "train")]
    given = [record.image for record in source.splits["train"]]
    assert sorted(order) == sorted(given) and order != given
    first, rest = set(order[:7]), given[:14]
    assert not first <= set(rest), "the first shard has images from everywhere"
    for split in ("val", "test"):
        assert [record for record, _ in packed(tmp_path / "a", split)] == source.splits[split]
    pack_images(source, tmp_path / "b", "coco", PackOptions(shard_samples=7, seed=1))
    assert [record.image for record, _ in packed(tmp_path / "b", "train")] != order


def test_the_index_says_what_is_there(source, tmp_path):
    pack_images(source, tmp_path / "a", "coco", PackOptions(shard_samples=7))
    index = read_index(tmp_path / "a")
    assert [e["samples"] for e in index["splits"]["train"]] == [7] * 6 + [6]
    assert index["counts"]["train"]["images"] == 48 and index["counts"]["train"]["captions"] == 240
    assert index["source"]["name"] == "coco" and index["options"]["shard_samples"] == 7
    assert index["counts"]["val"]["bytes"] == (tmp_path / "a" / "val-00000.tar").stat().st_size
    assert index["shared"] == []


def test_shards_hold_no_more_than_they_may(source, tmp_path):
    sizes = {r.image: (source.images / r.image).stat().st_size for r in source.splits["train"]}
    limit = 4 * max(sizes.values())
    pack_images(source, tmp_path / "a", "coco", PackOptions(shard_bytes=limit))
    per_shard = {}
    for entry in read_index(tmp_path / "a")["splits"]["train"]:
        images = [decode_text(s, n).record.image for n, s in shard_samples(tmp_path / "a", entry)]
        per_shard[entry["name"]] = sum(sizes[image] for image in images)
    assert len(per_shard) > 8 and max(per_shard.values()) <= limit
    pack_images(source, tmp_path / "b", "coco", PackOptions())
    assert read_index(tmp_path / "b")["counts"]["train"]["shards"] == 8, "enough for workers, however small the data"


def test_larger_images_are_made_smaller_and_others_stay_as_they_are(source, tmp_path):
    pack_images(source, tmp_path / "a", "coco", PackOptions(resize=60))
    assert {decode_image(content).size for _, content in packed(tmp_path / "a", "train")} == {(80, 60)}
    pack_images(source, tmp_path / "b", "coco", PackOptions(resize=120))
    for record, content in packed(tmp_path / "b", "val"):
        assert content == (source.images / record.image).read_bytes()


def test_a_phones_photo_is_made_smaller_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (64, 32)).save(tmp_path / "a.jpg", exif=exif)
    source = Source(tmp_path, (), {"val": [Record("a.jpg", ("one",), "a")]})
    pack_images(source, tmp_path / "out", "own", PackOptions(resize=16))
    assert [decode_image(content).size for _, content in packed(tmp_path / "out", "val")] == [(16, 32)]


def test_processes_make_no_difference(source, tmp_path):
    for name, processes in (("one", 1), ("two", 2)):
        pack_images(source, tmp_path / name, "coco", PackOptions(shard_samples=10, resize=50), processes)
    assert kills.content(tmp_path / "one") == kills.content(tmp_path / "two")


def test_killed_at_random_moments_the_same_bytes_come_out(root, tmp_path):
    pack = ["pack", "coco", "--annotations", str(root / "annotations"), "--images", str(root / "images")]
    pack += ["--processes", "2", "--shard-samples", "5"]
    kills.run(pack, tmp_path / "whole")
    killed, _ = kills.survive(pack, tmp_path / "killed", tmp_path / "whole", 3)
    assert killed == 3


def test_a_full_disk_leaves_nothing_that_is_believed(source, tmp_path, monkeypatch):
    calls = []
    original = writing.write_samples

    def full(stream, samples):
        calls.append(1)
        if len(calls) == 3:
            stream.write(b"some")
            raise OSError(errno.ENOSPC, "No space left on device")
        return original(stream, samples)

    monkeypatch.setattr(writing, "write_samples", full)
    with pytest.raises(UserError, match="the disk is full .*start the same command again"):
        pack_images(source, tmp_path / "a", "coco", PackOptions(shard_samples=10))
    monkeypatch.undo()
    with pytest.raises(UserError, match="not finished"):
        read_index(tmp_path / "a")
    for name in ("a", "b"):
        pack_images(source, tmp_path / name, "coco", PackOptions(shard_samples=10))
    assert kills.content(tmp_path / "a") == kills.content(tmp_path / "b")


@pytest.fixture
def begun(source, tmp_path, monkeypatch):
    """A folder in which two shards were finished before the command was stopped."""
    original, calls = writing.write_samples, []

    def stopped(stream, samples):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return original(stream, samples)

    monkeypatch.setattr(writing, "write_samples", stopped)
    with pytest.raises(KeyboardInterrupt):
        pack_images(source, tmp_path / "begun", "coco", PackOptions(shard_samples=10))
    monkeypatch.undo()
    return tmp_path / "begun"


def test_a_finished_shard_that_was_damaged_since_is_written_again(source, begun, tmp_path):
    shard = begun / "train-00000.tar"
    shard.write_bytes(shard.read_bytes()[:-600])
    pack_images(source, begun, "coco", PackOptions(shard_samples=10))
    pack_images(source, tmp_path / "whole", "coco", PackOptions(shard_samples=10))
    assert kills.content(begun) == kills.content(tmp_path / "whole")


def test_other_options_or_annotations_are_refused_by_name(source, begun):
    with pytest.raises(UserError, match="shard_samples: 10 there, 11 now"):
        pack_images(source, begun, "coco", PackOptions(shard_samples=11))
    with pytest.raises(UserError, match="name: 'coco' there, 'karpathy' now"):
        pack_images(source, begun, "karpathy", PackOptions(shard_samples=10))


def mended(root, change):
    """The source after `change` of val's records, a list."""
    folder = root / "annotations"
    records = json.loads((folder / "coco_karpathy_val.json").read_text())
    (folder / "coco_karpathy_val.json").write_text(json.dumps(change(records)))
    return read_annotations(folder, "coco_karpathy_{}.json", root / "images")


@pytest.fixture
def own(root, tmp_path):
    """A root to be changed."""
    return shutil.copytree(root, tmp_path / "own")


def test_after_records_were_removed_the_same_command_goes_on(own, tmp_path, monkeypatch):
    options = PackOptions(shard_samples=2)
    broken = mended(own, lambda records: records)
    (own / "images" / broken.splits["val"][-1].image).write_bytes(b"no image")
    with pytest.raises(UserError, match="mend them and start the same command again"):
        pack_images(broken, tmp_path / "a", "coco", options)
    written, original = [], writing.write_samples
    monkeypatch.setattr(writing, "write_samples", lambda *given: written.append(1) or original(*given))
    good = mended(own, lambda records: records[:-1])
    pack_images(good, tmp_path / "a", "coco", options)
    assert len(written) == 1, "the shard of the broken image alone"
    pack_images(good, tmp_path / "b", "coco", options)
    assert kills.content(tmp_path / "a") == kills.content(tmp_path / "b")


def test_no_shard_is_kept_whose_captions_changed_or_that_is_no_longer_one(own, tmp_path):
    options = PackOptions(shard_samples=2)
    everything = mended(own, lambda records: records)
    (own / "images" / everything.splits["train"][0].image).write_bytes(b"no image")
    with pytest.raises(UserError):
        pack_images(everything, tmp_path / "a", "coco", options)
    Image.new("RGB", (4, 4)).save(own / "images" / everything.splits["train"][0].image)
    other = mended(own, lambda records: [{**records[0], "caption": ["Another."]}, *records[1:2]])
    for name in "ab":
        pack_images(other, tmp_path / name, "coco", options)
    assert kills.content(tmp_path / "a") == kills.content(tmp_path / "b")


def test_annotations_that_changed_after_packing_are_named_without_their_hashes(own, tmp_path):
    pack_images(mended(own, lambda records: records), tmp_path / "a", "coco", PackOptions())
    source = mended(own, lambda records: records[:-1])
    for files, message in (
        (source.files, "coco_karpathy_val.json: has another content now"),
        (source.files[:1], "coco_karpathy_val.json: one there, none now"),
    ):
        with pytest.raises(UserError, match=message) as error:
            pack_images(source._replace(files=files), tmp_path / "a", "coco", PackOptions())
        assert not re.search("[0-9a-f]{20}|coco_karpathy_train", str(error.value))


def test_a_folder_with_other_files_is_not_written_to(source, tmp_path):
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(UserError, match="holds other files"):
        pack_images(source, tmp_path, "coco", PackOptions())
    assert [path.name for path in tmp_path.iterdir() if path.name != ".lock"] == ["thesis.tex"]


@pytest.mark.parametrize("text,size", [("500K", 512000), ("128M", 2**27), ("1.5g", 3 * 2**29), ("77", 77)])
def test_sizes(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "M", "-5", "0", "much", "infG", "nan"])
def test_a_size_that_is_none_is_refused(text):
    with pytest.raises(UserError, match="expected a number of bytes"):
        parse_size(text)


def test_a_killed_commands_processes_end_with_it(root, tmp_path):
    """None may go on writing into a folder that the next command writes."""
    command = [*kills.COMMAND, "pack", "coco", "--annotations", str(root / "annotations"), "--images"]
    command += [str(root / "images"), "--processes", "2", "--shard-samples", "1", "--out", str(tmp_path / "a")]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    while not list((tmp_path / "a").glob("*.tar")):
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.wait()
    time.sleep(1)
    before = sorted((tmp_path / "a").glob("*.tar"))
    time.sleep(0.5)
    assert sorted((tmp_path / "a").glob("*.tar")) == before and len(before) < 60

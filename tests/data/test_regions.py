"""Region features of the user's own: shapes checked, named where they are missing, never made up."""

import importlib.util
import json
from pathlib import Path

import kills
import numpy as np
import pytest
from PIL import Image

from lavis_asym.data.fields import decode_text, feature_arrays
from lavis_asym.data.layout import read_annotations, read_layout
from lavis_asym.data.packing import PackOptions, pack_images
from lavis_asym.data.regions import Hdf5File, NpyFolder, write_regions, write_scan
from lavis_asym.data.shards import read_index, shard_samples
from lavis_asym.data.tar import Damage
from lavis_asym.errors import UserError


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    root = tmp_path_factory.mktemp("coco")
    kills.coco(root, 20)
    source = read_annotations(root / "annotations", "coco_karpathy_{}.json", root / "images")
    pack_images(source, root / "shards", "coco", PackOptions(shard_samples=4))
    return root / "shards"


def regions_of(number):
    return np.random.default_rng(number).normal(size=(3, 5)).astype(np.float32)


def records(folder):
    index = read_index(folder)
    for split, entries in index["splits"].items():
        for entry in entries:
            for number, sample in shard_samples(folder, entry):
                yield split, decode_text(sample, number).record, sample


@pytest.fixture
def npy(images, tmp_path):
    """Regions of every image, under its file's name."""
    folder = tmp_path / "npy"
    folder.mkdir()
    for _, record, _ in records(images):
        stem = record.image.rsplit("/", 1)[1][:-4]
        np.save(folder / f"{stem}.npy", regions_of(int(stem[-12:])))
    return folder


def assert_packed(folder, images):
    features = read_index(folder)["features"]
    assert features["regions"] == [3, 5] and features["vector"] == [5]
    packed, given = list(records(folder)), list(records(images))
    assert [(split, record) for split, record, _ in packed] == [(split, record) for split, record, _ in given]
    for _, record, sample in packed:
        vector, regions = feature_arrays(sample, features)
        expected = regions_of(int(record.image[-16:-4]))
        np.testing.assert_allclose(regions, expected, atol=2e-3)
        np.testing.assert_allclose(vector, expected.mean(0), atol=2e-3)


def test_a_npy_for_each_image(images, npy, tmp_path, monkeypatch):
    write_regions(images, read_index(images), NpyFolder(npy), tmp_path / "out")
    assert_packed(tmp_path / "out", images)

    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    _, record, _ = next(records(images))
    np.testing.assert_array_equal(NpyFolder(Path("../npy")).find(record)[1], NpyFolder(npy).find(record)[1])
    np.save(tmp_path / "beside.npy", regions_of(0))
    with pytest.raises(Damage, match="has no features"):
        NpyFolder(Path("../npy")).find(record._replace(image="../beside.jpg", image_id="none"))


@pytest.mark.skipif(importlib.util.find_spec("h5py") is None, reason="h5py is not installed")
@pytest.mark.parametrize("form", ["{}", "{}_features", "{}/features"])
def test_an_hdf5_file_with_cocos_numbers(images, tmp_path, form):
    import h5py

    with h5py.File(tmp_path / "butd.h5", "w") as file:
        for _, record, _ in records(images):
            number = int(record.image[-16:-4])
            file[form.format(number)] = regions_of(number)
    write_regions(images, read_index(images), Hdf5File(tmp_path / "butd.h5"), tmp_path / "out")
    assert_packed(tmp_path / "out", images)


def test_without_h5py_it_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "h5py", None)
    with pytest.raises(UserError, match=r'h5py: pip install "lavis-asym\[regions\]"'):
        Hdf5File(tmp_path / "butd.h5")


@pytest.mark.parametrize(
    "array,message",
    [
        (None, "has no features; looked for"),
        (np.zeros((4, 5), np.float32), r"its features are \(4, 5\), the first image's \(3, 5\)"),
        (np.zeros(5, np.float32), "expected R x D floats"),
        (np.zeros((3, 5), np.int64), "expected R x D floats"),
        (np.full((3, 5), np.nan, np.float32), "not finite"),
        (np.full((3, 5), 1e6, np.float32), "float16 cannot hold"),
        (np.array([{}]), "cannot be read"),
    ],
)
def test_what_is_missing_or_of_another_shape_is_named_and_nothing_is_made_up(images, npy, tmp_path, array, message):
    path = sorted(npy.glob("COCO_*_*5.npy"))[-1]
    path.unlink()
    if array is not None:
        np.save(path, array, allow_pickle=True)
    with pytest.raises(UserError, match=message) as error:
        write_regions(images, read_index(images), NpyFolder(npy), tmp_path / "out")
    assert "1 image(s)" in str(error.value) or "1 sample(s)" in str(error.value)
    assert not (tmp_path / "out" / "index.json").exists()


@pytest.mark.parametrize(
    "names,place", [(("cats/001.jpg", "dogs/001.jpg"), "001"), (("holiday_0007.jpg", "kitchen_7.jpg"), "7")]
)
@pytest.mark.parametrize("source", ["npy", "h5"])
def test_features_that_two_images_would_share_are_named_with_both(tmp_path, names, place, source):
    for name in names:
        (tmp_path / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 6), len(name)).save(tmp_path / "images" / name)
    (tmp_path / "train.json").write_text(json.dumps([{"image": n, "caption": n, "image_id": n} for n in names]))
    pack_images(read_layout(tmp_path), tmp_path / "shards", "own", PackOptions())
    own = [name.rpartition(".")[0] for name in names]

    def given(*keys):
        if source == "h5":
            h5py = pytest.importorskip("h5py")
            path = tmp_path / f"{len(keys)}.h5"
            with h5py.File(path, "w") as file:
                for key in keys:
                    file[f"{key}/features"] = regions_of(len(key))
            return Hdf5File(path)
        for key in keys:
            path = tmp_path / "npy" / key
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, regions_of(len(key)))
        return NpyFolder(tmp_path / "npy")

    with pytest.raises(UserError, match="would both have the features") as error:
        write_regions(tmp_path / "shards", read_index(tmp_path / "shards"), given(place), tmp_path / "out")
    assert all(repr(name) in str(error.value) for name in names) and place in str(error.value)
    assert f"here {own[1]}" in str(error.value) and not (tmp_path / "out").exists()
    write_regions(tmp_path / "shards", read_index(tmp_path / "shards"), given(*own), tmp_path / "out")
    for _, record, sample in records(tmp_path / "out"):
        features = feature_arrays(sample, read_index(tmp_path / "out")["features"])
        np.testing.assert_allclose(features[1], regions_of(len(record.image) - 4), atol=2e-3)


def test_an_archive_is_no_array(images, npy, tmp_path):
    path = sorted(npy.glob("*.npy"))[0]
    with open(path, "wb") as file:
        np.savez(file, regions_of(0))
    with pytest.raises(UserError, match=f"{path.name}: is an npz archive, expected one array"):
        write_regions(images, read_index(images), NpyFolder(npy), tmp_path / "out")
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(UserError, match=f"{path.name}: cannot be read"):
        write_regions(images, read_index(images), NpyFolder(npy), tmp_path / "out")


def test_folders_of_one_extractor_bear_its_name_and_others_that_of_their_files(images, npy, scan, tmp_path):
    write_regions(images, read_index(images), NpyFolder(npy), tmp_path / "a", "butd36")
    write_scan(scan, tmp_path / "b", "butd36")
    a, b = (read_index(tmp_path / name) for name in "ab")
    assert a["features"] == b["features"] and a["features"]["fingerprint"] == "regions/butd36"
    np.save(npy / "another.npy", regions_of(0))
    with pytest.raises(UserError, match="another source"):
        write_regions(images, read_index(images), NpyFolder(npy), tmp_path / "a", "butd36")
    write_scan(scan, tmp_path / "c")
    assert read_index(tmp_path / "c")["features"]["fingerprint"].startswith("regions/scan/")


@pytest.fixture
def scan(tmp_path):
    """Six train images with five captions each, and two dev images that stand in it five times, as SCAN's do."""
    folder = tmp_path / "scan"
    folder.mkdir()
    np.save(folder / "train_ims.npy", np.stack([regions_of(k) for k in range(6)]))
    np.save(folder / "dev_ims.npy", np.stack([regions_of(k // 5) for k in range(10)]))
    for name, count in (("train", 30), ("dev", 10)):
        (folder / f"{name}_caps.txt").write_text("".join(f"{name} caption {k}\n" for k in range(count)))
    return folder


def test_scans_files(scan, tmp_path):
    write_scan(scan, tmp_path / "out")
    found = list(records(tmp_path / "out"))
    assert [split for split, _, _ in found] == ["train"] * 6 + ["val"] * 2
    assert found[6][1].captions == tuple(f"dev caption {k}" for k in range(5))
    assert found[1][1].captions == tuple(f"train caption {k}" for k in range(5, 10))
    features = read_index(tmp_path / "out")["features"]
    np.testing.assert_allclose(feature_arrays(found[7][2], features)[1], regions_of(1), atol=2e-3)


@pytest.mark.parametrize(
    "change,message",
    [
        (lambda f: (f / "train_caps.txt").unlink(), "train_caps.txt: no such file"),
        (lambda f: (f / "train_caps.txt").write_text("one\ntwo\n"), "with 2 captions"),
        (lambda f: (f / "train_caps.txt").write_text("one\n" * 29 + "\n"), "1 of them empty"),
        (lambda f: np.save(f / "train_ims.npy", np.zeros((6, 5))), r"shape \(6, 5\)"),
        (lambda f: [p.unlink() for p in f.glob("*.npy")], "expected train_ims.npy"),
        (lambda f: np.save(f / "dev_ims.npy", np.zeros((10, 3, 4), np.float32)), r"the first image's \(3, 5\)"),
        (lambda f: np.save(f / "dev_ims.npy", np.stack([regions_of(k < 7) for k in range(10)])), "rows"),
    ],
)
def test_scan_files_that_do_not_fit_are_named(scan, tmp_path, change, message):
    change(scan)
    with pytest.raises(UserError, match=message):
        write_scan(scan, tmp_path / "out")
    assert not (tmp_path / "out" / "index.json").exists()

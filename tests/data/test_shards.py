"""Shards: whole or not believed; the stream and the evaluation set over them."""

import json
import subprocess
import sys
from collections import Counter
from itertools import islice

import pytest
import torch
from torch.utils.data import ChainDataset, DataLoader

from lavis_asym.data import features, writing
from lavis_asym.data.evaluation_set import EvaluationSet
from lavis_asym.data.fields import decode_text, image_field
from lavis_asym.data.prepare import prepare_features, prepare_images
from lavis_asym.data.shards import read_index, shard_samples
from lavis_asym.data.stream import TrainStream
from lavis_asym.errors import UserError


def caption_processor(caption, siblings=(), key="", epoch=None):
    return f"{key}|{epoch}|{caption}" if siblings else caption.upper()


def stream(folder, **place):
    return TrainStream(folder, "train", None, caption_processor, seed=5, shuffle_buffer=8, **place)


def samples_of(folder, *splits):
    """Record and undecoded sample of each image, in order."""
    for split in splits:
        for entry in read_index(folder)["splits"][split]:
            for number, sample in shard_samples(folder, entry):
                yield decode_text(sample, number).record, sample


def content(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.tar"))} | {
        "index": (folder / "index.json").read_bytes()
    }


def test_every_image_and_caption_is_packed_unchanged(scenes_root, image_shards):
    packed = list(samples_of(image_shards, "train", "val", "test"))
    records = {r["image_id"]: r for s in ("val", "test") for r in json.loads((scenes_root / f"{s}.json").read_text())}
    assert len(packed) == 36
    for record, sample in packed:
        assert image_field(sample)[1] == (scenes_root / "images" / record.image).read_bytes()
        if record.image_id in records:
            assert list(record.captions) == records[record.image_id]["caption"]


def test_packing_again_takes_what_is_there_and_a_change_packs_anew(scenes_root, tmp_path, monkeypatch):
    first = prepare_images(scenes_root, tmp_path, 4)
    monkeypatch.setattr(writing, "_write", lambda *_: pytest.fail("written twice"))
    assert prepare_images(scenes_root, tmp_path, 4) == first
    monkeypatch.undo()
    assert prepare_images(scenes_root, tmp_path, 3) != first


KILLED = """
import sys, os
from pathlib import Path
from lavis_asym.data import packing, prepare
count = 0
original = packing.image_samples
def dying(*arguments):
    for sample in original(*arguments):
        global count
        count += 1
        if count > int(sys.argv[3]):
            os.kill(os.getpid(), 9)
        yield sample
packing.image_samples = dying
prepare.prepare_images(Path(sys.argv[1]), Path(sys.argv[2]), 4)
"""


def test_a_killed_pack_leaves_nothing_that_is_believed_and_resumes_to_the_same_bytes(
    scenes_root, image_shards, tmp_path
):
    code = subprocess.run([sys.executable, "-c", KILLED, str(scenes_root), str(tmp_path), "15"], capture_output=True)
    assert code.returncode == -9
    folder = tmp_path / image_shards.name
    assert list(folder.glob("*.tar")) and list(folder.glob("packing/*.tar.*.partial"))
    with pytest.raises(UserError, match="not finished"):
        read_index(folder)
    assert prepare_images(scenes_root, tmp_path, 4) == folder
    assert content(folder) == content(image_shards)


def test_a_damaged_shard_is_refused(scenes_root, tmp_path):
    folder = prepare_images(scenes_root, tmp_path, 2)
    path = folder / "train-00001.tar"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UserError, match=r"train-00001.tar: has \d+ bytes, expected"):
        read_index(folder)
    path.unlink()
    with pytest.raises(UserError, match="train-00001.tar: is missing"):
        prepare_images(scenes_root, tmp_path, 2)


def test_five_passes_give_each_caption_once(feature_shards):
    seen = Counter(text.split("|", 2)[2] + text.split("|")[0] for _, text in drawn(feature_shards, 0, 24 * 5))
    assert len(seen) == 24 * 5


def test_what_people_wrote_reaches_the_processor(scenes_root, tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    (root / "images").symlink_to(scenes_root / "images")
    records = json.loads((scenes_root / "train.json").read_text())
    given = [{**r, "negatives": [f"not {r['caption']}"]} if k % 2 else r for k, r in enumerate(records)]
    (root / "train.json").write_text(json.dumps(given))
    written = {(r["image_id"], " ".join(r["caption"].split())): r.get("negatives", []) for r in given}

    def process(caption, siblings, key, epoch, positives=(), negatives=()):
        assert list(negatives) == written[key, caption] and not positives
        return caption

    folder = prepare_images(root, tmp_path / "storage", 4)
    passes = TrainStream(folder, "train", lambda image: torch.zeros(1), process, seed=5)
    assert len({(item["image_id"], item["text_input"]) for item in islice(passes, 48)}) > 24


@pytest.mark.parametrize("workers", [0, 2])
def test_each_pass_gives_every_image_once(feature_shards, workers):
    """Also as LAVIS wraps it: in a ChainDataset, batched by a DataLoader."""
    loader = DataLoader(ChainDataset([stream(feature_shards)]), batch_size=4, num_workers=workers)
    seen = Counter()
    for batch in islice(loader, 5 * 24 // 4):
        assert batch["regions"].shape == (4, 49, 1280) and batch["regions"].dtype == torch.float16
        seen.update(text.split("|", 1)[0] for text in batch["text_input"])
    assert len(seen) == 24 and set(seen.values()) == {5}


def drawn(folder, workers, count):
    loader = DataLoader(stream(folder), batch_size=None, num_workers=workers)
    return [(int(s["image_id"]), s["text_input"]) for s in islice(loader, count)]


def test_order_is_reproducible_and_samples_do_not_depend_on_workers(feature_shards):
    alone = drawn(feature_shards, 0, 72)
    assert alone == drawn(feature_shards, 0, 72)
    assert drawn(feature_shards, 2, 72) == drawn(feature_shards, 2, 72)

    def by_pass(samples):
        return {tuple(text.split("|")[:2]): text for _, text in samples}

    a, b = by_pass(alone), by_pass(drawn(feature_shards, 2, 72))
    assert a == b and len(a) == 72


def test_processes_share_a_pass(feature_shards):
    halves = [[image for image, _ in islice(_samples(feature_shards, rank), 12)] for rank in (0, 1)]
    assert sorted(halves[0] + halves[1]) == list(range(24))


def _samples(folder, rank):
    for sample in stream(folder, rank=rank, world_size=2):
        yield int(sample["image_id"]), sample["text_input"]


def test_image_shards_stream_pixels(image_shards):
    images = TrainStream(image_shards, "train", lambda image: image.size, caption_processor, seed=0)
    assert next(iter(images))["image"] == (224, 224)


@pytest.mark.parametrize("kind", ["images", "features"])
def test_evaluation_set_has_what_lavis_reads(kind, scenes_root, image_shards, feature_shards):
    folder = image_shards if kind == "images" else feature_shards
    dataset = EvaluationSet(folder, "val", lambda image: torch.zeros(3), caption_processor)
    records = json.loads((scenes_root / "val.json").read_text())
    assert dataset.image == [r["image"] for r in records]
    assert dataset.text == [c.upper() for r in records for c in r["caption"]]
    assert dataset.img2txt == {i: list(range(5 * i, 5 * i + 5)) for i in range(6)}
    assert all(text in dataset.img2txt[image] for text, image in dataset.txt2img.items()) and len(dataset.txt2img) == 30
    batches = list(DataLoader(dataset, batch_size=4, num_workers=2, collate_fn=dataset.collater))
    assert torch.cat([b["index"] for b in batches]).tolist() == list(range(6))
    assert ("regions" if kind == "features" else "image") in batches[0]


def test_features_are_the_encoders_own(image_shards, feature_shards):
    from lavis_asym.data.fields import decode_array, decode_image
    from lavis_asym.encoders import build_vision_encoder

    encoder = build_vision_encoder("efficientnet_lite0")
    picture = decode_image(image_field(next(samples_of(image_shards, "val"))[1])[1])
    cached = decode_array(next(samples_of(feature_shards, "val"))[1], "local.npy", [49, 1280])
    expected = encoder(encoder.transform()(picture)[None])
    torch.testing.assert_close(torch.from_numpy(cached).float(), expected.regions[0], atol=2e-2, rtol=2e-3)
    assert read_index(feature_shards)["features"]["fingerprint"] == encoder.fingerprint


def test_features_are_cached_once(image_shards, feature_shards, monkeypatch):
    monkeypatch.setattr(features, "build_vision_encoder", lambda _: pytest.fail("encoded twice"))
    assert prepare_features(image_shards, "efficientnet_lite0") == feature_shards


def test_complete_shards_of_others_need_no_write_access(scenes_root, image_shards, feature_shards, monkeypatch):
    before = sorted(image_shards.parent.rglob("*"))
    monkeypatch.setattr(writing, "FileLock", lambda path: pytest.fail(f"{path} was written"))
    assert prepare_images(scenes_root, image_shards.parent, train_shards=4) == image_shards
    assert prepare_features(image_shards, "efficientnet_lite0") == feature_shards
    assert sorted(image_shards.parent.rglob("*")) == before

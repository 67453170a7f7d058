"""Shards: whole or not believed; the stream and the evaluation set over them."""

import json
import subprocess
import sys
from collections import Counter
from itertools import islice

import pytest
import torch
from torch.utils.data import ChainDataset, DataLoader

from lavis_asym.data import shards
from lavis_asym.data.evaluation_set import EvaluationSet
from lavis_asym.data.prepare import prepare_features, prepare_images
from lavis_asym.data.shards import read_index, read_samples, shard_paths
from lavis_asym.data.stream import TrainStream
from lavis_asym.errors import UserError


def caption_processor(caption, siblings=(), key="", epoch=None):
    return f"{key}|{epoch}|{caption}" if siblings else caption.upper()


def stream(folder, **place):
    return TrainStream(folder, "train", None, caption_processor, seed=5, shuffle_buffer=8, **place)


def content(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.tar"))} | {
        "index": (folder / "index.json").read_bytes()
    }


def test_every_image_and_caption_is_packed_unchanged(scenes_root, image_shards):
    packed = [
        s for split in ("train", "val", "test") for p in shard_paths(image_shards, split) for s in read_samples(p)
    ]
    records = {r["image_id"]: r for s in ("val", "test") for r in json.loads((scenes_root / f"{s}.json").read_text())}
    assert len(packed) == 36
    for sample in packed:
        text = json.loads(sample["json"])
        original = (scenes_root / "images" / text["image"]).read_bytes()
        assert shards.image_field(sample)[1] == original
        if text["image_id"] in records:
            assert text["captions"] == records[text["image_id"]]["caption"]


def test_packing_again_takes_what_is_there_and_a_change_packs_anew(scenes_root, tmp_path, monkeypatch):
    first = prepare_images(scenes_root, tmp_path, 4)
    monkeypatch.setattr(shards, "_write_shard", lambda *_: pytest.fail("written twice"))
    assert prepare_images(scenes_root, tmp_path, 4) == first
    monkeypatch.undo()
    assert prepare_images(scenes_root, tmp_path, 3) != first


KILLED = """
import sys, os
from pathlib import Path
from lavis_asym.data import prepare
count = 0
original = prepare._image_samples
def dying(images, records):
    for sample in original(images, records):
        global count
        count += 1
        if count > int(sys.argv[3]):
            os.kill(os.getpid(), 9)
        yield sample
prepare._image_samples = dying
prepare.prepare_images(Path(sys.argv[1]), Path(sys.argv[2]), 4)
"""


def test_a_killed_pack_leaves_nothing_that_is_believed_and_resumes_to_the_same_bytes(
    scenes_root, image_shards, tmp_path
):
    code = subprocess.run([sys.executable, "-c", KILLED, str(scenes_root), str(tmp_path), "15"], capture_output=True)
    assert code.returncode == -9
    folder = tmp_path / image_shards.name
    assert list(folder.glob("*.tar")) and list(folder.glob("*.partial"))
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
    import io

    from PIL import Image

    from lavis_asym.encoders import build_vision_encoder

    encoder = build_vision_encoder("efficientnet_lite0")
    image = next(iter(read_samples(shard_paths(image_shards, "val")[0])))
    cached = next(iter(read_samples(shard_paths(feature_shards, "val")[0])))
    picture = Image.open(io.BytesIO(shards.image_field(image)[1])).convert("RGB")
    expected = encoder(encoder.transform()(picture)[None])
    regions = torch.from_numpy(shards.decode_array(cached["local.npy"])).float()
    torch.testing.assert_close(regions, expected.regions[0], atol=2e-2, rtol=2e-3)
    assert read_index(feature_shards)["source"]["encoder"] == encoder.fingerprint


def test_features_are_cached_once(image_shards, feature_shards, monkeypatch):
    monkeypatch.setattr("lavis_asym.data.prepare.build_vision_encoder", lambda _: pytest.fail("encoded twice"))
    assert prepare_features(image_shards, "efficientnet_lite0") == feature_shards

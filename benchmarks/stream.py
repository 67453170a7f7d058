"""Speed of packing, and of streaming from shards against LAVIS's own data set over a folder of images.

  python benchmarks/stream.py                        2,000 generated JPEGs of 640 x 480, five captions each
  python benchmarks/stream.py --photos DIR           the photos in DIR instead, enlarged to 640 x 480

Both sides draw one caption a sample through the same processors (`asym_image`, 224 x 224, and `asym_caption` without
generated samples) into batches of 64; the files are in the system's cache. `features` streams what the encoder gave
once; its baseline streams the images from shards and runs the encoder on each.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader

from lavis_asym.data.features import write_features
from lavis_asym.data.layout import read_layout
from lavis_asym.data.packing import PackOptions, pack_images
from lavis_asym.data.stream import TrainStream
from lavis_asym.encoders import build_vision_encoder

BATCH = 64
ENCODED = 128  # images whose features are cached
WORDS = "a red blue small large dog cat man woman bus tree stands sits runs beside under on the grass street".split()


def write_images(root, count, photos):
    """LAVIS's layout, train only."""
    (root / "images").mkdir(parents=True)
    given = sorted(p for p in Path(photos).rglob("*") if p.suffix.lower() in (".jpg", ".png")) if photos else []
    rng = np.random.default_rng(0)
    records = []
    for k in range(count):
        if given:
            image = Image.open(given[k % len(given)]).convert("RGB").resize((640, 480), Image.Resampling.BICUBIC)
        else:
            layers = [
                np.asarray(Image.fromarray(rng.integers(0, 256, (h, w, 3), np.uint8)).resize((640, 480)), np.float32)
                for h, w in ((3, 4), (24, 32), (240, 320))
            ]
            image = Image.fromarray((0.55 * layers[0] + 0.3 * layers[1] + 0.15 * layers[2]).astype(np.uint8))
        image.save(root / "images" / f"{k:06d}.jpg", quality=90)
        words = random.Random(k)
        captions = [" ".join(words.choices(WORDS, k=10)) for _ in range(5)]
        records += [{"image": f"{k:06d}.jpg", "caption": caption, "image_id": k} for caption in captions]
    (root / "train.json").write_text(json.dumps(records))


def pack(root, out, processes):
    """Seconds that the command takes."""
    command = [sys.executable, "-m", "lavis_asym.cli", "pack", "custom", str(root), "--out", str(out)]
    start = time.perf_counter()
    subprocess.run([*command, "--processes", str(processes)], check=True, capture_output=True)
    return time.perf_counter() - start


def rate(dataset, workers, samples, shuffle=False, use=None):
    """Samples a second, after a first batch that starts the workers."""
    batches = iter(DataLoader(dataset, BATCH, shuffle=shuffle, num_workers=workers))
    next(batches)
    start, count = time.perf_counter(), 0
    for batch in islice(batches, samples // BATCH):
        if use:
            use(batch)
        count += len(batch["image_id"])
    return count / (time.perf_counter() - start)


def images_against_lavis(root, packed, samples, image, caption):
    """Workers -> samples a second: ours, and LAVIS's."""
    from lavis.datasets.datasets.retrieval_datasets import RetrievalDataset

    torch.set_num_threads(1)  # as in a loader's worker
    lavis = RetrievalDataset(image, caption, str(root / "images"), [str(root / "train.json")])
    rates = {}
    for workers in (0, 2):
        ours = rate(TrainStream(packed, "train", image, caption, seed=0), workers, samples)
        base = rate(lavis, workers, samples, shuffle=True)
        rates[workers] = (ours, base)
        print(f"images, {workers} workers   {ours:8.0f} samples/s, LAVIS's folder {base:8.0f}: {ours / base:.2f}")
    torch.set_num_threads(os.cpu_count())
    return rates


def features_against_encoder(root, folder, samples, image, caption):
    few, shards, features = folder / "few", folder / "few-shards", folder / "few-features"
    few.mkdir()
    (few / "images").symlink_to(root / "images")
    records = json.loads((root / "train.json").read_text())
    (few / "train.json").write_text(json.dumps([r for r in records if r["image_id"] < ENCODED]))
    pack_images(read_layout(few), shards, "custom", PackOptions())
    write_features(shards, "efficientnet_lite0", features)
    encoder = build_vision_encoder("efficientnet_lite0")
    ours = rate(TrainStream(features, "train", None, caption, seed=0), 0, samples)
    images = TrainStream(shards, "train", image, caption, seed=0)
    base = rate(images, 0, ENCODED, use=lambda batch: encoder(batch["image"]))
    print(f"features, 0 workers  {ours:8.0f} samples/s, images and encoder {base:8.1f}: {ours / base:.1f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--samples", type=int, default=1536, help="timed on each side")
    parser.add_argument("--photos", help="folder of photos")
    arguments = parser.parse_args()
    from lavis_asym.processors import AsymCaptionProcessor, AsymImageProcessor

    image, text = AsymImageProcessor(), AsymCaptionProcessor()

    def caption(given, **_):
        return text(given)

    with tempfile.TemporaryDirectory() as name:
        folder, root = Path(name), Path(name) / "data"
        write_images(root, arguments.images, arguments.photos)
        size = sum(path.stat().st_size for path in (root / "images").iterdir())
        print(f"{arguments.images} JPEGs of 640 x 480, {size / arguments.images / 1e3:.0f} kB each\n")
        for processes in (1, 2):
            seconds = pack(root, folder / f"packed-{processes}", processes)
            speed = f"{arguments.images / seconds:8.0f} images/s, {size / seconds / 1e6:.0f} MB/s"
            print(f"pack, {processes} process(es) {speed}, its start included", flush=True)
        rates = images_against_lavis(root, folder / "packed-1", arguments.samples, image, caption)
        features_against_encoder(root, folder, 2 * arguments.samples, image, caption)
    ours, base = rates[2]
    result = {"name": "stream", "baseline": "LAVIS RetrievalDataset, 2 workers", "ratio": ours / base}
    print(json.dumps({**result, "seconds": arguments.samples / ours, "baseline_seconds": arguments.samples / base}))


if __name__ == "__main__":
    main()

"""From a folder in LAVIS's layout to shards of images, and from those to shards of frozen features. Done once."""

import hashlib
import io
import json
import random
from functools import partial
from pathlib import Path
from typing import Any, Dict, Iterator, List, Sequence, Tuple

import numpy as np
import torch
from filelock import FileLock
from PIL import Image
from tqdm import tqdm

from lavis_asym.data.layout import SPLITS, Record, read_layout
from lavis_asym.data.shards import (
    INDEX,
    Sample,
    ShardPlan,
    encode_array,
    image_field,
    read_index,
    read_samples,
    write_shards,
)
from lavis_asym.encoders import VISION_ENCODERS, VisionEncoder, build_vision_encoder
from lavis_asym.errors import UserError

EXTENSION_OF_FORMAT = {"JPEG": "jpg", "PNG": "png", "WEBP": "webp"}
IMAGES_AT_ONCE = 32


def prepare_images(root: Path, storage: Path, train_shards: int) -> Path:
    """Shards of the images and captions in `root`; the folder's name changes with the content of `root`.

    Args:
        root: a folder in LAVIS's retrieval layout.
        storage: where the shards go.
        train_shards: how many shards the train split gets (fewer if it has fewer images); other splits get one.
    Returns:
        The folder of shards, complete.
    Raises:
        UserError: naming every record or image that cannot be used.
    """
    records = read_layout(root)
    source = {"root": str(root), "content": _fingerprint(root, records), "train_shards": train_shards}
    folder = storage / f"images-{_short_hash(source)}"
    with _locked(folder):
        if not (folder / INDEX).exists():
            _check_images(root / "images", records)
            if "train" in records:
                random.Random(0).shuffle(records["train"])
            plans = {
                split: _image_plans(root / "images", items, train_shards if split == "train" else 1)
                for split, items in records.items()
            }
            _write(folder, plans, source, "Packing images")
    read_index(folder)
    return folder


def prepare_features(images: Path, encoder_name: str) -> Path:
    """Shards of the encoder's features beside the shards of images, one for each of theirs.

    Args:
        images: a folder that `prepare_images` returned.
        encoder_name: a name in `encoders.VISION_ENCODERS`; the encoder's fingerprint is kept in the index, and it is
            built only if there is something to encode.
    Returns:
        The folder of feature shards, complete: float16 `global.npy` (D) and `local.npy` (R x D) of each image.
    """
    source = {"images": images.name, "encoder": VISION_ENCODERS[encoder_name].fingerprint}
    folder = images.parent / f"features-{_short_hash(source)}"
    with _locked(folder):
        if not (folder / INDEX).exists():
            encoder = build_vision_encoder(encoder_name).to("cuda" if torch.cuda.is_available() else "cpu")
            plans = {
                split: [
                    ShardPlan(entry["samples"], partial(_feature_samples, str(images / entry["name"]), encoder))
                    for entry in entries
                ]
                for split, entries in read_index(images)["splits"].items()
            }
            _write(folder, plans, source, "Caching image features")
    read_index(folder)
    return folder


def _write(folder: Path, plans: Dict[str, List[ShardPlan]], source: Dict[str, Any], title: str) -> None:
    total = sum(plan.count for shards in plans.values() for plan in shards)
    with tqdm(total=total, desc=title, unit=" images") as bar:
        write_shards(folder, plans, source, bar.update)


def _image_plans(images: Path, records: List[Record], shards: int) -> List[ShardPlan]:
    blocks = np.array_split(np.arange(len(records)), min(shards, len(records)))
    return [
        ShardPlan(len(block), partial(_image_samples, images, [(int(k), records[k]) for k in block]))
        for block in blocks
    ]


def _image_samples(images: Path, records: Sequence[Tuple[int, Record]]) -> Iterator[Sample]:
    for number, record in records:
        content = (images / record.image).read_bytes()
        extension = EXTENSION_OF_FORMAT[Image.open(io.BytesIO(content)).format]
        text = {**record._asdict(), "number": number}
        yield {"__key__": f"{number:09d}", "json": json.dumps(text).encode(), extension: content}


def _feature_samples(shard: str, encoder: VisionEncoder) -> Iterator[Sample]:
    transform = encoder.transform()
    waiting: List[Sample] = []

    def encoded() -> Iterator[Sample]:
        pixels = torch.stack([transform(Image.open(io.BytesIO(image_field(s)[1])).convert("RGB")) for s in waiting])
        vectors, regions = encoder(pixels.to(next(encoder.parameters()).device))
        for sample, vector, region in zip(waiting, vectors.half().cpu().numpy(), regions.half().cpu().numpy()):
            yield {
                "__key__": sample["__key__"],
                "json": sample["json"],
                "global.npy": encode_array(vector),
                "local.npy": encode_array(region),
            }
        waiting.clear()

    for sample in read_samples(shard):
        waiting.append(sample)
        if len(waiting) == IMAGES_AT_ONCE:
            yield from encoded()
    if waiting:
        yield from encoded()


def _check_images(images: Path, records: Dict[str, List[Record]]) -> None:
    """Decode every image once, so that a broken one stops the run before it has begun."""
    problems = []
    total = sum(map(len, records.values()))
    with tqdm(total=total, desc="Checking images", unit=" images") as bar:
        for record in (record for split in SPLITS for record in records.get(split, [])):
            fault = _image_fault(images / record.image)
            if fault:
                problems.append(f"{images / record.image}: {fault}; replace the file or remove its records")
            bar.update()
    if problems:
        raise UserError.from_problems(f"{images}: {len(problems)} image(s) cannot be used:", problems)


def _image_fault(path: Path) -> str:
    """Why an image cannot be used, or ''."""
    try:
        with Image.open(path) as image:
            if image.format not in EXTENSION_OF_FORMAT:
                return f"is {image.format}, expected one of {', '.join(EXTENSION_OF_FORMAT)}"
            image.load()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        return f"cannot be decoded ({error})"
    return ""


def _fingerprint(root: Path, records: Dict[str, List[Record]]) -> str:
    """Changes whenever a split's file, or an image's size or time of change, does."""
    content = hashlib.sha256()
    for split, items in records.items():
        content.update(split.encode() + (root / f"{split}.json").read_bytes())
        for record in items:
            status = (root / "images" / record.image).stat()
            content.update(f"{record.image} {status.st_size} {status.st_mtime_ns}\n".encode())
    return content.hexdigest()


def _short_hash(source: Dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(source, sort_keys=True).encode()).hexdigest()[:12]


def _locked(folder: Path) -> FileLock:
    """Two runs that start together prepare a folder once."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(str(folder) + ".lock")

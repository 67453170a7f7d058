"""From annotations and a folder of images to shards of images: what `lavis-asym pack` does."""

import hashlib
import io
import json
import random
from functools import partial
from pathlib import Path
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

from PIL import Image

from lavis_asym.data.fields import EXTENSION_OF_FORMAT, decode_image, encode_sample, open_image
from lavis_asym.data.layout import Record, Source
from lavis_asym.data.tar import MAX_BYTES, Damage, RawSample
from lavis_asym.data.writing import Faults, ShardPlan, write_shards
from lavis_asym.errors import UserError

LEAST_TRAIN_SHARDS = 8  # enough for a few workers and processes
QUALITY = 95  # of a resized JPEG or WEBP


class PackOptions(NamedTuple):
    """How images are packed. A size limits every shard; `train_shards` counts those of train, and val has one."""

    shard_bytes: int = 2**27  # of the images as they are on disk
    shard_samples: Optional[int] = None  # instead of shard_bytes
    train_shards: Optional[int] = None  # instead of both
    resize: Optional[int] = None  # the shorter side of larger images, in pixels
    seed: int = 0  # of the order of train

    def stored(self) -> Dict[str, Any]:
        """Those that make a difference, for the index."""
        return {key: value for key, value in self._asdict().items() if value is not None}


def pack_images(source: Source, folder: Path, name: str, options: PackOptions, processes: int = 1) -> None:
    """Write shards of images: train in an order shuffled over all of it, val and test in theirs.

    Args:
        source: checked annotations.
        folder: of the shards; a stopped pack goes on, see `writing.write_shards`.
        name: of the source, for the index, such as `coco`.
        options: kept in the index; the folder's bytes are a function of these and the source.
        processes: at once.
    Raises:
        UserError: an unusable option, every image that cannot be decoded, or what `write_shards` refuses.
    """
    splits = {split: list(records) for split, records in source.splits.items()}
    if "train" in splits:
        random.Random(options.seed).shuffle(splits["train"])
    plans = {split: list(_plans(source.images, split, records, options)) for split, records in splits.items()}
    about = {"name": name, "annotations": {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in source.files}}
    header = {"kind": "images", "source": about, "options": options.stored()}
    write_shards(folder, plans, header, "Packing images", processes)


def source_content(source: Source) -> str:
    """Changes whenever an annotation file, or an image's size or time of change, does."""
    content = hashlib.sha256()
    for path in source.files:
        content.update(path.name.encode() + path.read_bytes())
    for split, records in source.splits.items():
        content.update(f"{split} {_stamp(source.images, records)}".encode())
    return content.hexdigest()


def _stamp(images: Path, records: Sequence[Record]) -> str:
    """Changes whenever an image's name, size or time of change does."""
    content = hashlib.sha256()
    for record in records:
        status = (images / record.image).stat()
        content.update(f"{record.image} {status.st_size} {status.st_mtime_ns}\n".encode())
    return content.hexdigest()


def _plans(images: Path, split: str, records: List[Record], options: PackOptions) -> Iterator[ShardPlan]:
    sizes = _block_sizes(images, split, records, options)
    first = 0
    for size in sizes:
        block = records[first : first + size]
        samples = partial(image_samples, images, first, block, options.resize)
        stamp = short_hash([first, block, _stamp(images, block)])
        yield ShardPlan(samples, size, sum(len(record.captions) for record in block), stamp)
        first += size


def _block_sizes(images: Path, split: str, records: List[Record], options: PackOptions) -> List[int]:
    """How many images each shard gets."""
    total = len(records)
    if options.train_shards is not None:
        return _even(total, options.train_shards if split == "train" else 1)
    if options.shard_samples is not None:
        return [min(options.shard_samples, total - first) for first in range(0, total, options.shard_samples)]
    blocks, room = [], 0
    for record in records:
        size = (images / record.image).stat().st_size
        if not blocks or size > room:
            blocks.append(0)
            room = options.shard_bytes
        blocks[-1] += 1
        room -= size
    return _even(total, LEAST_TRAIN_SHARDS) if split == "train" and len(blocks) < LEAST_TRAIN_SHARDS else blocks


def _even(total: int, parts: int) -> List[int]:
    parts = min(parts, total)
    return [total // parts + (k < total % parts) for k in range(parts)]


def image_samples(images: Path, first: int, records: Sequence[Record], resize: Optional[int]) -> Iterator[RawSample]:
    """The samples of one shard, every image decoded once. Raises Faults at the end if some could not be."""
    problems = []
    for number, record in enumerate(records, first):
        try:
            content, extension = _packed(images / record.image, resize)
        except (Damage, OSError) as fault:
            problems.append(f"{images / record.image}: {fault}; replace the file or remove its records")
            continue
        yield encode_sample(record, number, {extension: content})
    if problems:
        raise Faults(problems)


def _packed(path: Path, resize: Optional[int]) -> Tuple[bytes, str]:
    """An image's bytes and extension: its own, or those of the image made smaller."""
    if path.stat().st_size > MAX_BYTES["jpg"]:
        raise Damage(f"has {path.stat().st_size} bytes, at most {MAX_BYTES['jpg']} are read")
    content = path.read_bytes()
    image_format = open_image(content).format
    extension = EXTENSION_OF_FORMAT[image_format]
    image = decode_image(content)
    if resize is None or min(image.size) <= resize:
        return content, extension
    smaller = [max(1, round(side * resize / min(image.size))) for side in image.size]
    stream = io.BytesIO()
    image_format = "JPEG" if extension == "jpg" else image_format
    image.resize(smaller, Image.Resampling.BICUBIC).save(stream, image_format, quality=QUALITY)
    return stream.getvalue(), extension


def parse_size(text: str) -> int:
    """`500K`, `128M`, `1.5G` or a plain number of bytes. Raises UserError for anything else."""
    units = {"K": 2**10, "M": 2**20, "G": 2**30}
    number, unit = (text[:-1], units[text[-1].upper()]) if text[-1:].upper() in units else (text, 1)
    try:
        size = int(float(number) * unit)
    except (ValueError, OverflowError):
        size = 0
    if size < 1:
        raise UserError(f"{text!r}: no size; expected a number of bytes, or one such as 500K, 128M or 1.5G")
    return size


def short_hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:12]

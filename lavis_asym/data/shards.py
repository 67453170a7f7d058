"""Tar shards of one data set: written once, believed only when whole, read as streams or by offset.

A folder holds `<split>-00000.tar ...` and `index.json`. A shard is written under another name and renamed when it is
whole, and the index is written last; so a run that was stopped goes on with the shards that are there. A sample is
`<key>.json` ({"image_id", "image", "captions", "index"}) with the image's own bytes (`<key>.jpg` ...) or, in a folder
of features, `<key>.global.npy` and `<key>.local.npy` (float16).
"""

import hashlib
import io
import json
import os
from pathlib import Path
from typing import Any, Callable, Dict, Iterable, Iterator, List, NamedTuple, Tuple

import numpy as np
import webdataset as wds

from lavis_asym.errors import UserError

INDEX = "index.json"
FORMAT_VERSION = 1
IMAGE_EXTENSIONS = ("jpg", "png", "webp")

Sample = Dict[str, Any]


class ShardPlan(NamedTuple):
    """A shard to be written."""

    count: int
    samples: Callable[[], Iterable[Sample]]  # `__key__` and extension -> bytes; called only if the shard is missing


def write_shards(
    folder: Path, plans: Dict[str, List[ShardPlan]], source: Dict[str, Any], advance: Callable[[int], Any]
) -> None:
    """Write the shards that are not there yet, and the index.

    Args:
        folder: its name must stand for `source`: shards found in it are taken as they are.
        plans: the shards of each split.
        source: what the shards are made from, kept in the index.
        advance: called with the number of samples done.
    """
    folder.mkdir(parents=True, exist_ok=True)
    index: Dict[str, Any] = {"version": FORMAT_VERSION, "source": source, "splits": {}}
    for split, shards in plans.items():
        entries = []
        for number, plan in enumerate(shards):
            path = folder / f"{split}-{number:05d}.tar"
            if path.exists():
                advance(plan.count)
            else:
                _write_shard(path, plan.samples(), advance)
            entries.append({"name": path.name, "samples": plan.count, **_digest(path)})
        index["splits"][split] = entries
    write_atomically(folder / INDEX, (json.dumps(index, indent=1) + "\n").encode())


def _write_shard(path: Path, samples: Iterable[Sample], advance: Callable[[int], Any]) -> None:
    partial = path.with_name(path.name + ".partial")
    with open(partial, "wb") as stream:
        with wds.TarWriter(stream, encoder=False, mtime=0, user="lavis-asym", group="lavis-asym") as tar:
            for sample in samples:
                tar.write(sample)
                advance(1)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(partial, path)


def write_atomically(path: Path, content: bytes) -> None:
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(content)
    os.replace(partial, path)


def _digest(path: Path) -> Dict[str, Any]:
    content = hashlib.sha256()
    with open(path, "rb") as stream:
        for block in iter(lambda: stream.read(2**20), b""):
            content.update(block)
    return {"bytes": path.stat().st_size, "sha256": content.hexdigest()}


def read_index(folder: Path) -> Dict[str, Any]:
    """The index of a folder of shards.

    Raises:
        UserError: no index (the shards were not finished), another version, or a shard missing or of another size.
    """
    path = folder / INDEX
    if not path.is_file():
        raise UserError(f"{path}: not there, so these shards are not finished; start the same command again")
    index = json.loads(path.read_text(encoding="utf-8"))
    if index.get("version") != FORMAT_VERSION:
        raise UserError(f"{path}: version {index.get('version')!r}, expected {FORMAT_VERSION}; remove {folder}")
    for entries in index["splits"].values():
        for entry in entries:
            shard = folder / entry["name"]
            size = shard.stat().st_size if shard.is_file() else None
            if size != entry["bytes"]:
                found = "is missing" if size is None else f"has {size} bytes"
                raise UserError(f"{shard}: {found}, expected {entry['bytes']} bytes; remove {folder} and start again")
    return index


def shard_paths(folder: Path, split: str) -> List[str]:
    """The shards of a split, in order."""
    return [str(folder / entry["name"]) for entry in read_index(folder)["splits"][split]]


def read_samples(path: str) -> Iterator[Sample]:
    """The samples of one shard, their fields as bytes."""
    return wds.tariterators.tarfile_samples(iter([{"url": path}]))


def image_field(sample: Sample) -> Tuple[str, bytes]:
    """Extension and bytes of a sample's image."""
    return next((extension, sample[extension]) for extension in IMAGE_EXTENSIONS if extension in sample)


def encode_array(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=False)
    return stream.getvalue()


def decode_array(content: bytes) -> np.ndarray:
    return np.load(io.BytesIO(content), allow_pickle=False)

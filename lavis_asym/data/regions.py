"""Region features that a user has from elsewhere, packed as the encoder's own are: shapes checked, none made up.

Three forms are read: a `.npy` of R x D for each image; SCAN's `<split>_ims.npy` (N x R x D) with `<split>_caps.txt`;
and an HDF5 file with a dataset or group for each image, as made from bottom-up attention. The global vector is the
regions' mean. No pickle is read.
"""

import hashlib
from functools import partial
from pathlib import Path
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Protocol, Sequence, Tuple
from zipfile import BadZipFile

import numpy as np

from lavis_asym.data.fields import decode_text, encode_array, encode_sample
from lavis_asym.data.layout import Record
from lavis_asym.data.shards import Entry, shard_samples
from lavis_asym.data.tar import Damage, RawSample
from lavis_asym.data.writing import Faults, ShardPlan, write_shards
from lavis_asym.encoders import GivenRegions
from lavis_asym.errors import UserError

SCAN_SPLITS = {"train": ("train",), "val": ("dev", "val"), "test": ("test", "testall")}
IMAGES_IN_SHARD = 500


class Regions(Protocol):
    """Region features by image."""

    fingerprint: str  # of the files they are in

    def find(self, record: Record) -> Tuple[str, np.ndarray]:
        """An image's place in the files, and its R x D floats, or a view of them that is read only when it is used.

        Raises:
            Damage: the image has none.
        """


def image_names(record: Record) -> List[str]:
    """What an image's features may be called, the surest first: path, file name, id, COCO's number."""
    path = Path(record.image)
    names = [str(path.with_suffix("")), path.stem, path.name, record.image_id]
    digits = path.stem.rpartition("_")[2]
    if digits.isdecimal():
        names.append(str(int(digits)))
    return list(dict.fromkeys(names))


class NpyFolder:
    """`<name>.npy` for each image, under any of `image_names`."""

    def __init__(self, folder: Path):
        if not folder.is_dir():
            raise UserError(f"{folder}: no such folder; expected a .npy for each image in it")
        self.folder = folder
        files = sorted(
            (str(p.relative_to(folder)), p.stat().st_size, p.stat().st_mtime_ns) for p in folder.rglob("*.npy")
        )
        self.fingerprint = f"npy/{hashlib.sha256(repr(files).encode()).hexdigest()[:12]}"

    def find(self, record: Record) -> Tuple[str, np.ndarray]:
        for name in image_names(record):
            path = self.folder / f"{name}.npy"
            if ".." not in Path(name).parts and path.is_file():
                return str(path), _load(path)
        raise Damage(
            f"{record.image!r} has no features; looked for {', '.join(image_names(record))} (.npy) in {self.folder}"
        )


class Hdf5File:
    """`NAME`, `NAME_features` or `NAME/features` for each image, NAME being any of `image_names`."""

    def __init__(self, path: Path):
        try:
            import h5py
        except ImportError:
            raise UserError(f'{path}: reading HDF5 needs the package h5py: pip install "lavis-asym[regions]"') from None
        try:
            self.file = h5py.File(path, "r")
        except OSError as error:
            raise UserError(f"{path}: cannot be read as HDF5 ({error})") from None
        self.path, self.dataset = path, h5py.Dataset
        status = path.stat()
        self.fingerprint = f"h5/{hashlib.sha256(f'{status.st_size} {status.st_mtime_ns}'.encode()).hexdigest()[:12]}"

    def find(self, record: Record) -> Tuple[str, np.ndarray]:
        for name in image_names(record):
            for place in (name, f"{name}_features", f"{name}/features"):
                if isinstance(self.file.get(place), self.dataset):
                    return f"{self.path}, {place}", self.file[place]
        raise Damage(f"{record.image!r} has no features; looked for {', '.join(image_names(record))} in {self.path}")


def _load(path: Path) -> np.ndarray:
    """A file's array, read where it is used."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError, BadZipFile) as error:
        raise Damage(f"{path}: cannot be read ({error})") from None
    if not isinstance(array, np.ndarray):
        raise Damage(f"{path}: is an npz archive, expected one array, as numpy.save writes it")
    return array


def _check_form(array: np.ndarray, shape: Optional[Sequence[int]] = None) -> None:
    """Raise Damage unless an array is R x D floats and of `shape`; its numbers are not read."""
    if len(array.shape) != 2 or not np.issubdtype(array.dtype, np.floating) or 0 in array.shape:
        raise Damage(f"its features are {array.dtype} {array.shape}, expected R x D floats")
    if shape is not None and list(array.shape) != list(shape):
        raise Damage(f"its features are {array.shape}, the first image's {tuple(shape)}; all must have one shape")


def _as_regions(array: np.ndarray, shape: Sequence[int]) -> Tuple[np.ndarray, np.ndarray]:
    """Global vector and regions, float16. Raises Damage as `_check_form`, or for numbers that are not finite."""
    _check_form(array, shape)
    with np.errstate(over="ignore"):
        regions = np.ascontiguousarray(array[()], dtype=np.float16)
    if not np.isfinite(regions).all():
        raise Damage("its features have numbers that float16 cannot hold, or that are not finite")
    return regions.mean(0, dtype=np.float32).astype(np.float16), regions


def write_regions(
    images: Path, index: Dict[str, Any], regions: Regions, folder: Path, extractor: Optional[str] = None
) -> None:
    """Shards of the user's features for the images and captions of a folder of image shards.

    Args:
        extractor: what made the features; a model takes whatever bears the name of those that it was trained on. None
            names them by their files.
    Raises:
        UserError: before anything is written, every image without features, or with features of another shape than the
            first image's, or with those that another image has.
    """
    shape = _common_shape(images, index, regions)
    plans = {
        split: [
            ShardPlan(partial(_from_images, images, e, regions, shape), e["samples"], e["captions"]) for e in entries
        ]
        for split, entries in index["splits"].items()
    }
    source = {"images": index["sha256"], **index["source"]}
    write_shards(folder, plans, _header(source, regions.fingerprint, shape, extractor), "Packing")


def _common_shape(images: Path, index: Dict[str, Any], regions: Regions) -> List[int]:
    """The shape of every image's features. Raises UserError as `write_regions`."""
    shape: List[int] = []
    image_at: Dict[str, str] = {}
    problems = []
    for entry in (entry for entries in index["splits"].values() for entry in entries):
        for number, sample in shard_samples(images, entry):
            try:
                record = decode_text(sample, number).record
                place, found = regions.find(record)
                other = image_at.setdefault(place, record.image)
                if other != record.image:
                    raise Damage(
                        f"{record.image!r} and {other!r} would both have the features {place}; "
                        f"name each image's by its path, here {image_names(record)[0]}"
                    )
                _check_form(found, shape or None)
                shape = shape or list(found.shape)
            except Damage as damage:
                problems.append(f"{entry['name']}, key {sample.key}: {damage}")
    if problems:
        raise UserError.from_problems(f"{images}: {len(problems)} image(s) have no usable features:", problems)
    return shape


def _header(source: Dict[str, Any], files: str, shape: List[int], extractor: Optional[str]) -> Dict[str, Any]:
    features = {
        "encoder": GivenRegions.name,
        "fingerprint": f"{GivenRegions.name}/{extractor or files}",
        "vector": shape[1:],
        "regions": shape,
    }
    return {"kind": "features", "source": {**source, "regions": files}, "options": {}, "features": features}


def _from_images(images: Path, entry: Entry, regions: Regions, shape: List[int]) -> Iterator[RawSample]:
    problems = []
    for number, sample in shard_samples(images, entry):
        try:
            record = decode_text(sample, number).record
            vector, array = _as_regions(regions.find(record)[1], shape)
        except Damage as damage:
            problems.append(f"{entry['name']}, key {sample.key}: {damage}")
            continue
        yield encode_sample(record, number, {"global.npy": encode_array(vector), "local.npy": encode_array(array)})
    if problems:
        raise Faults(problems)


class ScanSplit(NamedTuple):
    """One split of SCAN's precomputed features."""

    split: str
    ims: Path
    captions: List[str]
    rows: int  # of ims
    per_image: int  # captions
    step: int  # rows an image takes; SCAN's dev and test repeat an image for each of its captions

    @property
    def images(self) -> int:
        return self.rows // self.step


def write_scan(folder: Path, out: Path, extractor: Optional[str] = None) -> None:
    """Shards of SCAN's `{train,dev,test}_ims.npy` and `_caps.txt`; an image's id is its number.

    Args:
        extractor: see `write_regions`.
    Raises:
        UserError: no such files, counts that do not fit, or arrays of another shape.
    """
    splits = [found for split in SCAN_SPLITS for found in [_scan_split(folder, split)] if found]
    if not splits:
        raise UserError(f"{folder}: expected train_ims.npy with train_caps.txt, and dev_ and test_ likewise")
    shape = list(np.load(splits[0].ims, mmap_mode="r", allow_pickle=False).shape[1:])
    status = [(s.ims.name, s.ims.stat().st_size, s.ims.stat().st_mtime_ns) for s in splits]
    captions = hashlib.sha256("\n".join(caption for s in splits for caption in s.captions).encode()).hexdigest()
    files = f"scan/{hashlib.sha256(repr(status).encode()).hexdigest()[:12]}"
    plans = {s.split: list(_scan_plans(s, shape)) for s in splits}
    write_shards(out, plans, _header({"name": "scan", "content": captions}, files, shape, extractor), "Packing")


def _scan_split(folder: Path, split: str) -> Optional[ScanSplit]:
    for name in SCAN_SPLITS[split]:
        ims, caps = folder / f"{name}_ims.npy", folder / f"{name}_caps.txt"
        if not ims.is_file():
            continue
        if not caps.is_file():
            raise UserError(f"{caps}: no such file; expected the captions of {ims.name}, one a line")
        try:
            array = _load(ims)
        except Damage as damage:
            raise UserError(str(damage)) from None
        captions = [" ".join(line.split()) for line in caps.read_text(encoding="utf-8").splitlines()]
        rows = len(array) if array.ndim == 3 else 0
        if not rows or not captions or len(captions) % rows or not all(captions):
            raise UserError(
                f"{ims}: shape {array.shape} with {len(captions)} captions, {captions.count('')} of them empty; "
                "expected N x R x D and captions for each of the N"
            )
        per_image, step = len(captions) // rows, 1
        if per_image == 1:
            while step < min(rows, 10) and np.array_equal(array[step], array[0]):
                step += 1
            if rows % step:
                raise UserError(f"{ims}: its first {step} rows are one image, but it has {rows} rows")
            per_image = step
        return ScanSplit(split, ims, captions, rows, per_image, step)
    return None


def _scan_plans(split: ScanSplit, shape: List[int]) -> Iterator[ShardPlan]:
    size = min(IMAGES_IN_SHARD, -(-split.images // 8)) if split.split == "train" else IMAGES_IN_SHARD
    for first in range(0, split.images, size):
        count = min(size, split.images - first)
        yield ShardPlan(partial(_from_scan, split, first, count, shape), count, count * split.per_image)


def _from_scan(split: ScanSplit, first: int, count: int, shape: List[int]) -> Iterator[RawSample]:
    array, problems = _load(split.ims), []
    for number in range(first, first + count):
        captions = split.captions[number * split.per_image : (number + 1) * split.per_image]
        rows = array[number * split.step : (number + 1) * split.step]
        name = f"{split.split}/{number}"
        try:
            if any(not np.array_equal(row, rows[0]) for row in rows[1:]):
                raise Damage(f"rows {number * split.step} to {(number + 1) * split.step - 1} are not one image's")
            vector, regions = _as_regions(rows[0], shape)
        except Damage as damage:
            problems.append(f"{split.ims}, image {number}: {damage}")
            continue
        fields = {"global.npy": encode_array(vector), "local.npy": encode_array(regions)}
        yield encode_sample(Record(name, tuple(captions), name), number, fields)
    if problems:
        raise Faults(problems)

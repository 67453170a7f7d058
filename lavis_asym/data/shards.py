"""A folder of shards: `<split>-00000.tar ...` and the `index.json` that says what they are and must be.

    {"version": 2, "kind": "images" or "features",
     "source": {...}, "options": {...},            what was packed, and how
     "features": {"vector": [D], "regions": [R, D], "encoder": NAME, "fingerprint": TEXT},    of features only
     "counts": {"train": {"images": 8, "captions": 40, "bytes": 81920, "shards": 2}, ...},
     "splits": {"train": [{"name", "first", "samples", "captions", "bytes", "sha256"}, ...], ...},
     "shared": [["train", KEY, "val", KEY], ...],   images with the same content in two splits
     "sha256": "..."}                              of all the above

`first` is the number of a shard's first sample in its split; the samples behind it count on. `data.writing` writes such
a folder, `data.tar` and `data.fields` say what a shard and a sample are.
"""

import hashlib
import json
import re
import subprocess
import tempfile
from pathlib import Path
from typing import Any, BinaryIO, Dict, Iterator, List, Tuple

from lavis_asym.data.fields import KINDS
from lavis_asym.data.layout import SPLITS
from lavis_asym.data.tar import Damage, RawSample, read_samples
from lavis_asym.errors import UserError
from lavis_asym.files import write_atomically

INDEX = "index.json"
PACKING = "packing"  # a folder that is there while shards are written; nothing in it is believed
FORMAT_VERSION = 2
SHARD_NAME = re.compile(r"(%s)-\d{5}\.tar" % "|".join(SPLITS))
PIPE = "pipe:"

Entry = Dict[str, Any]
Index = Dict[str, Any]


def shard_name(split: str, number: int) -> str:
    return f"{split}-{number:05d}.tar"


def read_index(folder: Path, allow_pipe: bool = False) -> Index:
    """The index of a folder whose shards are all there.

    Args:
        allow_pipe: let a shard be the output of a command (`pipe:...`), which the index may then run on this machine.
    Raises:
        UserError: no index, one that `load_index` or `refuse_pipes` refuses, or a shard missing or of another size.
    """
    index = load_index(folder)
    problems = [f"{folder / INDEX}: {problem}" for problem in index_problems(index)]
    for entry in (entry for entries in index["splits"].values() for entry in entries):
        if not entry["name"].startswith(PIPE):
            problem = size_problem(folder, entry)
            problems += [problem] if problem else []
    if problems:
        raise UserError.from_problems(
            f"{folder}: not as it was packed (lavis-asym check {folder} lists all that is wrong); "
            "remove it and pack again, or copy it anew:",
            problems,
        )
    if not allow_pipe:
        refuse_pipes(folder, index)
    return index


def load_index(folder: Path) -> Index:
    """The index as it was written, its form checked. Raises UserError, see `read_index`."""
    path = folder / INDEX
    if not path.is_file():
        if (folder / PACKING).is_dir():
            raise UserError(f"{path}: not there, so these shards are not finished; start the same command again")
        raise UserError(f"{path}: not there; expected a folder that lavis-asym pack or features wrote")
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
        version = index.get("version")
    except (ValueError, RecursionError, AttributeError) as error:
        raise UserError(f"{path}: cannot be read ({error}); pack again, or copy it anew") from None
    if version != FORMAT_VERSION:
        raise UserError(f"{path}: version {version!r}, expected {FORMAT_VERSION}; remove {folder} and pack again")
    problem = _form_problem(index)
    if problem:
        raise UserError(f"{path}: {problem}; pack again, or copy it anew")
    return index


def _form_problem(index: Index) -> str:
    """Why an index cannot be used at all, or ''."""
    if index.get("kind") not in KINDS:
        return f"kind {index.get('kind')!r}, expected one of {', '.join(KINDS)}"
    features = index.get("features", {})
    if index["kind"] == "features" and not (
        isinstance(features, dict)
        and _is_shape(features.get("vector"), 1)
        and _is_shape(features.get("regions"), 2)
        and isinstance(features.get("fingerprint"), str)
    ):
        return f"features {features!r}, expected 'vector', 'regions' and 'fingerprint'"
    splits = index.get("splits")
    if not isinstance(splits, dict) or not splits or set(splits) - set(SPLITS):
        return f"splits {splits!r:.80}, expected some of {', '.join(SPLITS)}"
    for split, entries in splits.items():
        if not isinstance(entries, list):
            return f"{split} of splits is {entries!r:.80}, expected a list of shards"
        for entry in entries:
            if not _is_entry(entry):
                return f"the entry {entry!r:.120} of {split} is not a shard's"
            name = entry["name"]
            if not (SHARD_NAME.fullmatch(name) or name.startswith(PIPE)):
                return f"the shard name {name!r:.120} is refused; expected one such as {shard_name(split, 0)}"
    return ""


def _is_entry(value: Any) -> bool:
    if not isinstance(value, dict):
        return False
    numbers = [value.get(key) for key in ("first", "samples", "captions", "bytes")]
    texts = [value.get(key) for key in ("name", "sha256")]
    return all(type(n) is int and n >= 0 for n in numbers) and all(isinstance(text, str) for text in texts)


def _is_shape(value: Any, length: int) -> bool:
    return isinstance(value, list) and len(value) == length and all(type(n) is int and n > 0 for n in value)


def index_problems(index: Index) -> Iterator[str]:
    """What contradicts itself in an index of good form."""
    if index.get("sha256") != seal(index):
        yield "was changed after it was written (its own sha256 is another)"
    stated = index.get("counts")
    stated = stated if isinstance(stated, dict) else {}
    for split, entries in index["splits"].items():
        first = 0
        for entry in entries:
            if entry["first"] != first:
                yield f"{entry['name']} begins with sample {entry['first']}, expected {first}"
            first += entry["samples"]
        if stated.get(split) != counts(entries):
            yield f"counts of {split} are {stated.get(split)}, its shards have {counts(entries)}"
    names = [entry["name"] for entries in index["splits"].values() for entry in entries]
    yield from (f"{name} is listed twice" for name in sorted(set(names)) if names.count(name) > 1)


def counts(entries: List[Entry]) -> Dict[str, int]:
    """Of one split, over its shards."""
    total = {key: sum(entry[key] for entry in entries) for key in ("samples", "captions", "bytes")}
    return {"images": total.pop("samples"), **total, "shards": len(entries)}


def seal(index: Index) -> str:
    content = {key: value for key, value in index.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def write_index(folder: Path, index: Index) -> None:
    write_atomically(folder / INDEX, (json.dumps({**index, "sha256": seal(index)}, indent=1) + "\n").encode())


def size_problem(folder: Path, entry: Entry) -> str:
    path = folder / entry["name"]
    if not path.is_file():
        return f"{path}: is missing, expected {entry['bytes']} bytes"
    size = path.stat().st_size
    return "" if size == entry["bytes"] else f"{path}: has {size} bytes, expected {entry['bytes']}"


def refuse_pipes(folder: Path, index: Index) -> None:
    """Raise UserError if the index would run a command."""
    pipes = [entry["name"] for entries in index["splits"].values() for entry in entries if PIPE in entry["name"]]
    if pipes:
        raise UserError(
            f"{folder / INDEX}: {pipes[0]!r} is a command that would run on this machine, and is refused; if you trust "
            "whoever wrote it, give --allow-pipe (in a run: --options datasets.NAME.allow_pipe=true)"
        )


def open_shard(folder: Path, entry: Entry, verify: bool = True) -> BinaryIO:
    """A shard, seekable, to be closed by the caller; the output of a `pipe:` lies in a file without a name.

    Raises:
        UserError: it is not there, or (with `verify`) not what the index says.
    """
    name = entry["name"]
    try:
        stream = _run(name[len(PIPE) :]) if name.startswith(PIPE) else open(folder / name, "rb")
        if verify and digest(stream) != {"bytes": entry["bytes"], "sha256": entry["sha256"]}:
            stream.close()
            raise UserError(
                f"{folder / name}: not the shard that was packed (its sha256 is another than {INDEX} says); "
                f"lavis-asym check {folder} says what is wrong with it"
            )
    except (OSError, subprocess.SubprocessError) as error:
        raise UserError(f"{folder / name}: cannot be read ({error})") from None
    return stream


def _run(command: str) -> BinaryIO:
    stream = tempfile.TemporaryFile()
    subprocess.run(command, shell=True, stdout=stream, check=True)
    return stream


def digest(stream: BinaryIO) -> Dict[str, Any]:
    """`bytes` and `sha256` of a file; it stands at its beginning before and after."""
    content, size = hashlib.sha256(), 0
    stream.seek(0)
    for block in iter(lambda: stream.read(2**20), b""):
        content.update(block)
        size += len(block)
    stream.seek(0)
    return {"bytes": size, "sha256": content.hexdigest()}


def shard_samples(folder: Path, entry: Entry, verify: bool = True) -> Iterator[Tuple[int, RawSample]]:
    """Number in the split and undecoded bytes of each sample of a shard. Raises UserError unless the shard is whole."""
    with open_shard(folder, entry, verify) as stream:
        number = entry["first"]
        try:
            for sample in read_samples(stream):
                yield number, sample
                number += 1
        except Damage as damage:
            raise UserError(f"{folder / entry['name']}: {damage}; lavis-asym check {folder} says more") from None
    if number - entry["first"] != entry["samples"]:
        raise UserError(
            f"{folder / entry['name']}: has {number - entry['first']} samples, {INDEX} says {entry['samples']}; "
            f"lavis-asym check {folder} says more"
        )

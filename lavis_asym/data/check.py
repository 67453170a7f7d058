"""Everything that can be wrong with a folder of shards, each with its shard and key: what `lavis-asym check` does."""

import hashlib
import json
from array import array
from functools import partial
from pathlib import Path
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Tuple

import numpy as np
from tqdm import tqdm

from lavis_asym.asymmetry import normalise
from lavis_asym.data.fields import check_content, check_seal, content_hash, decode_text, sample_key
from lavis_asym.data.processes import in_processes
from lavis_asym.data.shards import (
    INDEX,
    PACKING,
    PIPE,
    SHARD_NAME,
    Entry,
    digest,
    index_problems,
    load_index,
    open_shard,
    refuse_pipes,
    size_problem,
)
from lavis_asym.data.tar import Damage, read_samples
from lavis_asym.errors import UserError

LEAVE_OUT_FIRST = ("train", "val", "test")  # of an image that stands in two splits


class Finding(NamedTuple):
    """Something to know: `level` is `error` or `note`."""

    level: str
    shard: str
    key: str  # '' for the shard itself
    problem: str
    again: bool = False  # the sample is good, but what it holds stands somewhere else too


class Contents(NamedTuple):
    """64-bit hashes of what good samples hold, for comparing all shards in little memory."""

    keys: array  # the samples' numbers
    images: array
    ids: array
    captions: array
    caption_owners: array  # the number of each caption's sample


class Report(NamedTuple):
    """What a check found, and how much it looked at."""

    folder: str
    deep: bool
    images: int
    captions: int
    captions_of_several_images: int
    findings: List[Finding]

    @property
    def errors(self) -> List[Finding]:
        return [finding for finding in self.findings if finding.level == "error"]

    def to_json(self) -> str:
        found = [finding._asdict() for finding in self.findings]
        return json.dumps({**self._asdict(), "errors": len(self.errors), "findings": found}, indent=1) + "\n"


def check_folder(folder: Path, deep: bool = False, allow_pipe: bool = False, processes: int = 1) -> Report:
    """Check a folder of shards; a fault of its content is a finding.

    Args:
        deep: also decode every image.
        allow_pipe: see `shards.read_index`.
    Raises:
        UserError: no folder of shards, or an index that would run commands.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; expected one that lavis-asym pack or features wrote")
    try:
        index = load_index(folder)
    except UserError as error:
        if not any(SHARD_NAME.fullmatch(path.name) for path in folder.glob("*.tar")):
            raise
        return Report(str(folder), deep, 0, 0, 0, [Finding("error", INDEX, "", str(error))])
    if not allow_pipe:
        refuse_pipes(folder, index)
    findings = [Finding("error", INDEX, "", problem) for problem in index_problems(index)]
    findings += [Finding("error", name, "", "is not in the index") for name in _strangers(folder, index)]
    places = {entry["name"]: (split, entry) for split, entries in index["splits"].items() for entry in entries}
    entries = [entry for _, entry in places.values()]
    check = partial(check_shard, folder, index.get("features"), deep)
    contents: Dict[str, Contents] = {}
    with tqdm(total=sum(entry["samples"] for entry in entries), desc="Checking", unit=" images") as bar:
        for entry, (found, content) in _each(check, entries, processes):
            findings += found
            contents[entry["name"]] = content
            bar.update(entry["samples"])
    order = [name for name in places if name in contents]
    several = _captions_of_several(contents, order)
    findings += _comparisons(contents, order, {name: split for name, (split, _) in places.items()})
    findings.sort(key=lambda f: (f.level, f.shard != INDEX, f.shard, f.key))
    looked = (sum(len(c.keys) for c in contents.values()), sum(len(c.captions) for c in contents.values()))
    return Report(str(folder), deep, *looked, several, findings)


def _each(check: Any, entries: List[Entry], processes: int) -> Iterator[Tuple[Entry, Any]]:
    if processes > 1 and len(entries) > 1:
        return in_processes(check, entries, processes)
    return ((entry, check(entry)) for entry in entries)


def _strangers(folder: Path, index: Dict[str, Any]) -> List[str]:
    known = {entry["name"] for entries in index["splits"].values() for entry in entries}
    unfinished = [f"{PACKING}/"] if (folder / PACKING).is_dir() else []
    return unfinished + sorted(path.name for path in folder.glob("*.tar") if path.name not in known)


def check_shard(
    folder: Path, features: Optional[Dict[str, Any]], deep: bool, entry: Entry
) -> Tuple[List[Finding], Contents]:
    """Findings of one shard, and what its good samples hold."""
    findings: List[Finding] = []
    contents = Contents(*(array("Q") for _ in Contents._fields))

    def error(problem: str, key: str = "") -> None:
        findings.append(Finding("error", entry["name"], key, problem))

    size = "" if entry["name"].startswith(PIPE) else size_problem(folder, entry)
    if size:
        error(size.partition(": ")[2])
    try:
        stream = open_shard(folder, entry, verify=False)
    except UserError as fault:
        if not size:
            error(str(fault))
        return findings, contents
    with stream:
        if not size and digest(stream)["sha256"] != entry["sha256"]:
            error("its sha256 is another than the index says: bytes were changed, or the file is another")
        count = captions = 0
        number = entry["first"]
        try:
            for sample in read_samples(stream):
                count += 1
                try:
                    record = decode_text(sample, number).record
                    captions += len(record.captions)
                    check_content(sample, features, deep)
                    check_seal(sample)
                    _add(contents, number, content_hash(sample), record)
                except Damage as damage:
                    error(str(damage), sample.key)
                number = (int(sample.key) if sample.key.isdecimal() else number) + 1
        except Damage as damage:
            error(str(damage))
    if count != entry["samples"]:
        error(f"has {count} samples, the index says {entry['samples']}")
    elif captions != entry["captions"] and not findings:
        error(f"has {captions} captions, the index says {entry['captions']}")
    return findings, contents


def _add(contents: Contents, number: int, image: str, record: Any) -> None:
    contents.keys.append(number)
    contents.images.append(int(image[:16], 16))
    contents.ids.append(_hash(record.image_id))
    for caption in dict.fromkeys(map(normalise, record.captions)):
        contents.captions.append(_hash(caption))
        contents.caption_owners.append(number)


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "backslashreplace")).digest()[:8], "big")


def _captions_of_several(contents: Dict[str, Contents], order: List[str]) -> int:
    """How many captions stand under more than one image."""
    hashes = [np.frombuffer(contents[name].captions, np.uint64) for name in order if contents[name].captions]
    if not hashes:
        return 0
    return int((np.unique(np.concatenate(hashes), return_counts=True)[1] > 1).sum())


def _comparisons(contents: Dict[str, Contents], order: List[str], split_of: Dict[str, str]) -> Iterator[Finding]:
    """Ids that stand twice, and images that do."""
    for field, what in (("ids", "image_id"), ("images", "image")):
        for group in _groups(contents, order, field):
            placed = sorted(group, key=lambda place: -LEAVE_OUT_FIRST.index(split_of[place[0]]))
            (kept_shard, kept_key), *others = placed
            for shard, key in others:
                apart = split_of[shard] != split_of[kept_shard]
                where = f"of {kept_shard}, key {kept_key}"
                if apart or field == "ids":
                    both = f", so it stands in {split_of[shard]} and in {split_of[kept_shard]}" if apart else ""
                    yield Finding("error", shard, key, f"has the {what} {where}{both}", again=True)
                else:
                    yield Finding("note", shard, key, f"has the {what} {where}, under another id")


def _groups(contents: Dict[str, Contents], order: List[str], field: str) -> Iterator[List[Tuple[str, str]]]:
    """Shard and key of samples with the same hash, where there are several."""
    shards = [name for name in order if contents[name].keys]
    if not shards:
        return
    values = np.concatenate([np.frombuffer(getattr(contents[name], field), np.uint64) for name in shards])
    keys = np.concatenate([np.frombuffer(contents[name].keys, np.uint64) for name in shards])
    owner = np.repeat(np.arange(len(shards)), [len(contents[name].keys) for name in shards])
    by_value = np.argsort(values, kind="stable")
    bounds = np.flatnonzero(np.diff(values[by_value])) + 1
    starts, ends = np.concatenate([[0], bounds]), np.concatenate([bounds, [len(values)]])
    for start, end in zip(starts[ends - starts > 1], ends[ends - starts > 1]):
        yield [(shards[owner[k]], sample_key(int(keys[k]))) for k in by_value[start:end]]

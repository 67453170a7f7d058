"""The good samples of a damaged folder in a new one: what `lavis-asym check --fix` does."""

import json
from functools import partial
from pathlib import Path
from typing import Any, Dict, FrozenSet, Iterator, List, NamedTuple, Tuple

from lavis_asym.data.check import Report
from lavis_asym.data.fields import check_content, check_seal, decode_text, encode_sample, sample_key
from lavis_asym.data.shards import Entry, load_index, open_shard
from lavis_asym.data.tar import Damage, RawSample, read_samples
from lavis_asym.data.writing import ShardPlan, write_shards
from lavis_asym.errors import UserError
from lavis_asym.files import write_atomically

LEFT_OUT = "left_out.json"


class Good(NamedTuple):
    """What is kept of one shard."""

    entry: Entry
    numbers: FrozenSet[int]  # of the samples
    captions: int
    met: FrozenSet[int]  # numbers of all its samples
    left_out: List[Dict[str, str]]


def repack(folder: Path, out: Path, report: Report) -> List[Dict[str, str]]:
    """Write the samples of `folder` without errors to `out`, and `left_out.json` beside them.

    Args:
        report: of `check_folder`.
    Returns:
        What was left out: shard, key and why, as left_out.json has it. Shards keep their number where something of
        them is left; samples are numbered anew.
    Raises:
        UserError: an index that cannot be read, or nothing that is good.
    """
    index = load_index(folder)
    bad = {
        (finding.shard, finding.key): finding.problem for finding in report.errors if finding.again or not finding.key
    }
    left_out: List[Dict[str, str]] = []
    good: Dict[str, List[Good]] = {}
    for split, entries in index["splits"].items():
        looked_at = [_good(folder, index, entry, report.deep, bad) for entry in entries]
        left_out += [*(left for shard in looked_at for left in shard.left_out), *_missing(looked_at, bad)]
        kept = [shard for shard in looked_at if shard.numbers]
        good.update({split: kept} if kept else {})
    if not good:
        raise UserError(f"{folder}: not one sample is good, so there is nothing to write to {out}")
    header = {key: index[key] for key in ("kind", "features") if key in index}
    header["source"] = {"fixed": index.get("sha256"), **_section(index, "source")}
    header["options"] = _section(index, "options")
    plans = {split: list(_plans(folder, kept)) for split, kept in good.items()}
    write_shards(out, plans, header, "Packing what is good")
    write_atomically(out / LEFT_OUT, (json.dumps(left_out, indent=1) + "\n").encode())
    return left_out


def _section(index: Dict[str, Any], name: str) -> Dict[str, Any]:
    value = index.get(name)
    return value if isinstance(value, dict) else {}


def _good(folder: Path, index: Dict[str, Any], entry: Entry, deep: bool, bad: Dict[Tuple[str, str], str]) -> Good:
    numbers, captions, met, left_out = set(), 0, set(), []
    for number, sample, fault in _readable(folder, entry):
        met.add(number)
        if not fault:
            try:
                text = decode_text(sample, number)
                check_content(sample, index.get("features"), deep)
                check_seal(sample)
            except Damage as damage:
                fault = str(damage)
        fault = bad.get((entry["name"], sample.key)) or fault
        if fault or number in numbers:
            left_out.append({"shard": entry["name"], "key": sample.key, "problem": fault or "stands twice"})
        else:
            numbers.add(number)
            captions += len(text.record.captions)
    return Good(entry, frozenset(numbers), captions, frozenset(met), left_out)


def _missing(shards: List[Good], bad: Dict[Tuple[str, str], str]) -> Iterator[Dict[str, str]]:
    """Samples that the index promises and no shard has."""
    met = frozenset().union(*(shard.met for shard in shards))
    for entry, *_ in shards:
        problem = bad.get((entry["name"], ""), "is not in its shard")
        for number in range(entry["first"], entry["first"] + entry["samples"]):
            if number not in met:
                yield {"shard": entry["name"], "key": sample_key(number), "problem": problem}


def _readable(folder: Path, entry: Entry) -> Iterator[Tuple[int, RawSample, str]]:
    """Samples of a shard as far as it can be read, each with the number that its key says."""
    try:
        stream = open_shard(folder, entry, verify=False)
    except UserError:
        return
    with stream:
        try:
            for sample in read_samples(stream):
                whole = sample.key.isdecimal()
                yield int(sample.key) if whole else -1, sample, "" if whole else "its key is no number"
        except Damage:
            return


def _plans(folder: Path, kept: List[Good]) -> Iterator[ShardPlan]:
    first = 0
    for good in kept:
        yield ShardPlan(partial(_renumbered, folder, good, first), len(good.numbers), good.captions)
        first += len(good.numbers)


def _renumbered(folder: Path, good: Good, first: int) -> Iterator[RawSample]:
    remaining = set(good.numbers)
    for number, sample, _ in _readable(folder, good.entry):
        if number in remaining:
            remaining.remove(number)
            record = decode_text(sample, number).record
            fields = {extension: content for extension, content in sample.fields.items() if extension != "json"}
            yield encode_sample(record, first, fields)
            first += 1

"""Writing a folder of shards: in several processes, and resumable however it was stopped.

A shard is written in the folder's `packing/`, with a note of its sha256, and renamed into the folder when it is whole
and on the disk. `index.json` comes last, and `packing/` goes. Whoever starts the same command again takes each shard
that is still what its note says and writes the others, so the folder has the same bytes as if nothing had happened.
"""

import errno
import hashlib
import json
import os
import re
import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Callable, Dict, Iterable, Iterator, List, NamedTuple, Set, Tuple

from filelock import FileLock
from tqdm import tqdm

from lavis_asym.data.fields import content_hash
from lavis_asym.data.processes import in_processes
from lavis_asym.data.shards import (
    FORMAT_VERSION,
    INDEX,
    PACKING,
    SHARD_NAME,
    Entry,
    counts,
    digest,
    load_index,
    shard_name,
    write_index,
)
from lavis_asym.data.tar import RawSample, write_samples
from lavis_asym.errors import UserError
from lavis_asym.files import write_atomically

PLAN = "plan.json"
SHA256 = re.compile("[0-9a-f]{64}")
FULL = (errno.ENOSPC, errno.EDQUOT)


class ShardPlan(NamedTuple):
    """A shard to be written."""

    samples: Callable[[], Iterable[RawSample]]  # picklable where several processes write
    count: int
    captions: int
    stamp: str = ""  # of all that it is made from, but for the header: a shard begun with other is written again


class Faults(Exception):
    """Raised by a plan's samples at their end: why the shard must not be written, a line each."""

    def __init__(self, problems: List[str]):
        super().__init__(problems)
        self.problems = problems


class Task(NamedTuple):
    """A shard's place in the folder."""

    folder: Path
    split: str
    number: int
    first: int
    plan: ShardPlan

    @property
    def name(self) -> str:
        return shard_name(self.split, self.number)


def is_written(folder: Path) -> bool:
    return (folder / INDEX).is_file()


def write_shards(
    folder: Path, plans: Dict[str, List[ShardPlan]], header: Dict[str, Any], title: str, processes: int = 1
) -> None:
    """Write what is not there yet, the index last.

    Args:
        folder: made if need be.
        plans: the shards of each split, in order.
        header: the index's `kind`, `source`, `options` (and `features`); what was begun with another is refused, but
            for other `annotations` of the source: what they change, the plans' stamps say.
        title: of the progress bar.
        processes: 1 writes in this one.
    Raises:
        UserError: the folder holds something else, the disk is full, or every fault of the plans' samples.
    """
    header = {"version": FORMAT_VERSION, **header}
    if _is_whole(folder, header):  # and perhaps read-only: others' shards need no lock
        return
    with locked(folder), _full_disk_explained(folder):
        if _is_whole(folder, header):
            return
        tasks = list(_tasks(folder, plans))
        _begin(folder, header, {task.name for task in tasks})
        notes = {task.name: note for task in tasks for note in [_believed(task)] if note}
        missing = [task for task in tasks if task.name not in notes]
        total = sum(task.plan.count for task in tasks)
        problems: List[str] = []
        with tqdm(total=total, desc=title, unit=" images") as bar:
            bar.update(total - sum(task.plan.count for task in missing))
            bar.initial = bar.n  # so that the rate shown is that of this run
            for task, note in _written(missing, processes, bar.update):
                if isinstance(note, Faults):
                    problems += note.problems
                else:
                    notes[task.name] = note
        if problems:
            raise UserError.from_problems(
                f"{folder}: {len(problems)} sample(s) cannot be packed; mend them and start the same command again; "
                "a finished shard stays if its images and captions do:",
                sorted(problems),
            )
        _finish(folder, header, tasks, notes)


def _is_whole(folder: Path, header: Dict[str, Any]) -> bool:
    """Whether the folder is written. Raises UserError if it holds something else."""
    if not is_written(folder):
        return False
    _refuse_another(folder, load_index(folder), header)
    shutil.rmtree(folder / PACKING, ignore_errors=True)  # of a command that was stopped at its very end
    return True


def _tasks(folder: Path, plans: Dict[str, List[ShardPlan]]) -> Iterator[Task]:
    for split, shards in plans.items():
        first = 0
        for number, plan in enumerate(shards):
            yield Task(folder, split, number, first, plan)
            first += plan.count


def _begin(folder: Path, header: Dict[str, Any], names: Set[str]) -> None:
    """Note what is packed, and remove what was begun and is none of the shards `names`."""
    plan = folder / PACKING / PLAN
    if plan.is_file():
        _refuse_another(folder, json.loads(plan.read_text(encoding="utf-8")), header, annotations=False)
    elif set(os.listdir(folder)) - {".lock", PACKING}:
        raise UserError(f"{folder}: holds other files, and no shards that were begun; give a new or an empty folder")
    plan.parent.mkdir(exist_ok=True)
    stale = (path for path in folder.glob("*.tar") if SHARD_NAME.fullmatch(path.name) and path.name not in names)
    for left in (*folder.glob("*.partial"), *plan.parent.glob("*.partial"), *stale):
        left.unlink()
    write_atomically(plan, (json.dumps(header, indent=1) + "\n").encode())


def _refuse_another(folder: Path, found: Dict[str, Any], header: Dict[str, Any], annotations: bool = True) -> None:
    """Raise UserError if a folder's shards are made from something else; `annotations` are left out of it if False."""
    there, now = (_made_from(given, annotations) for given in (found, json.loads(json.dumps(header))))
    differing = [key for key in sorted(set(there) | set(now)) if there.get(key) != now.get(key)]
    if differing:
        raise UserError.from_problems(
            f"{folder}: holds shards of another source or with other options; give another folder, or remove it:",
            [f"{key}: {_difference(there.get(key), now.get(key))}" for key in differing],
        )


def _made_from(header: Dict[str, Any], annotations: bool) -> Dict[str, Any]:
    """What tells one folder's content from another's, by the name that users know."""
    files = header["source"].get("annotations", {}) if annotations else {}
    flat = {**header, **header["source"], **header["options"], **files}
    aside = ("source", "options", "annotations", "counts", "splits", "shared", "sha256")
    return {key: value for key, value in flat.items() if key not in aside}


def _difference(there: Any, now: Any) -> str:
    """Of two values in words; a sha256 itself says nothing to anybody."""
    shown = {value: "one" for value in (there, now) if isinstance(value, str) and SHA256.fullmatch(value)}
    if len(shown) == 2:
        return "has another content now"
    there, now = ("none" if value is None else shown.get(str(value), repr(value)) for value in (there, now))
    return f"{there} there, {now} now"


def _written(tasks: List[Task], processes: int, advance: Callable[[int], Any]) -> Iterator[Tuple[Task, Any]]:
    """Each task with its note, or its Faults."""
    if processes == 1 or len(tasks) < 2:
        for task in tasks:
            yield task, _write(task, advance)
        return
    for task, note in in_processes(_write, tasks, processes):
        advance(task.plan.count)
        yield task, note


def _nothing(_: int) -> None:
    pass


def _write(task: Task, advance: Callable[[int], Any] = _nothing) -> Any:
    """Write a shard and its note; returns the note, or the Faults of its samples."""
    target = task.folder / task.name
    partial = task.folder / PACKING / f"{task.name}.{os.getpid()}.partial"
    contents: Dict[str, str] = {}
    try:
        with open(partial, "wb") as stream:
            hashing = _Hashing(stream)
            count = write_samples(hashing, _noted(task.plan.samples(), contents, advance))
            stream.flush()
            os.fsync(stream.fileno())
        if count != task.plan.count:
            raise ValueError(f"{task.name}: {task.plan.count} samples were planned, {count} came")
        entry = {"name": task.name, "first": task.first, "samples": count, "captions": task.plan.captions}
        note = {
            "entry": {**entry, "bytes": hashing.size, "sha256": hashing.sha256.hexdigest()},
            "contents": contents,
            "stamp": task.plan.stamp,
        }
        write_atomically(_note(task), json.dumps(note).encode())
        os.replace(partial, target)
        _sync(task.folder)
        return note
    except Faults as faults:
        return faults
    finally:
        partial.unlink(missing_ok=True)


def _noted(
    samples: Iterable[RawSample], contents: Dict[str, str], advance: Callable[[int], Any]
) -> Iterator[RawSample]:
    """The samples, each one's content noted under its key."""
    for sample in samples:
        contents[sample.key] = content_hash(sample)
        yield sample
        advance(1)


class _Hashing:
    """A file to write to, with the size and sha256 of what was written."""

    def __init__(self, stream: BinaryIO):
        self.stream, self.size, self.sha256 = stream, 0, hashlib.sha256()

    def write(self, content: bytes) -> int:
        self.size += len(content)
        self.sha256.update(content)
        return self.stream.write(content)


def _note(task: Task) -> Path:
    return task.folder / PACKING / f"{task.name}.json"


def _believed(task: Task) -> Dict[str, Any]:
    """The note of a shard that is what its note says, else {}."""
    target = task.folder / task.name
    try:
        note = json.loads(_note(task).read_text(encoding="utf-8"))
        with open(target, "rb") as stream:
            found = digest(stream)
    except (FileNotFoundError, ValueError):
        return {}
    whole = found == {key: note["entry"][key] for key in found} and note["stamp"] == task.plan.stamp
    return note if whole else {}


def _finish(folder: Path, header: Dict[str, Any], tasks: List[Task], notes: Dict[str, Dict[str, Any]]) -> None:
    splits: Dict[str, List[Entry]] = {}
    first_seen: Dict[str, Tuple[str, str]] = {}
    shared = []
    for task in tasks:
        note = notes[task.name]
        splits.setdefault(task.split, []).append(note["entry"])
        for key, content in note["contents"].items():
            split, other = first_seen.setdefault(content, (task.split, key))
            if split != task.split:
                shared.append([split, other, task.split, key])
    total = {split: counts(entries) for split, entries in splits.items()}
    write_index(folder, {**header, "counts": total, "splits": splits, "shared": shared})
    shutil.rmtree(folder / PACKING, ignore_errors=True)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """A folder, made if need be, that one command at a time writes."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(str(folder / ".lock"))
        lock.acquire()
    except OSError as error:
        raise UserError(f"{folder}: cannot be written ({error})") from None
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _full_disk_explained(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise UserError(
            f"{folder}: the disk is full ({error}); "
            "free some space and start the same command again, what is done stays"
        ) from None


def _sync(folder: Path) -> None:
    """Make a rename last through a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""Tar files of samples: the same bytes for the same samples, and a reader that takes nothing on trust.

Python's own reader takes a damaged header for the end of the file, and follows links and paths. This one knows plain
ustar members with the names that `write_samples` gives, wants the end mark where it belongs, and says what else there
is.
"""

import io
import re
import tarfile
from typing import BinaryIO, Dict, Iterable, Iterator, NamedTuple

BLOCK = 512
EXTENSIONS = ("json", "jpg", "png", "webp", "global.npy", "local.npy")
MAX_BYTES = {"json": 2**20, "jpg": 2**26, "png": 2**26, "webp": 2**26, "global.npy": 2**20, "local.npy": 2**26}
NAME = re.compile(r"([A-Za-z0-9_-]{1,80})\.(%s)" % "|".join(map(re.escape, EXTENSIONS)))


class Damage(Exception):
    """What is wrong with a sample or a shard, in words; whoever catches it adds where."""


class Member(NamedTuple):
    """A file in a tar. `fault` says why it must not be used, or is ''."""

    key: str
    extension: str
    offset: int
    size: int
    fault: str


class RawSample(NamedTuple):
    """Consecutive members of one key: extension -> bytes. `fault` as in Member."""

    key: str
    fields: Dict[str, bytes]
    fault: str = ""


def write_samples(stream: BinaryIO, samples: Iterable[RawSample]) -> int:
    """Write a tar that depends on nothing but the samples; returns how many there were."""
    count = 0
    with tarfile.open(fileobj=stream, mode="w|", format=tarfile.USTAR_FORMAT, bufsize=2**20) as tar:
        for key, fields, _ in samples:
            for extension, content in fields.items():
                member = tarfile.TarInfo(f"{key}.{extension}")
                member.size, member.mode = len(content), 0o444
                tar.addfile(member, io.BytesIO(content))
            tar.members.clear()  # it would keep every header until the end
            count += 1
    return count


def read_members(stream: BinaryIO) -> Iterator[Member]:
    """The members of a seekable tar, in order; the stream's position may be moved between two of them.

    Raises:
        Damage: a header that is none, a member that reaches past the end, a missing end mark, or bytes behind it.
    """
    end, offset = stream.seek(0, io.SEEK_END), 0
    while True:
        stream.seek(offset)
        header = stream.read(BLOCK)
        if len(header) < BLOCK:
            raise Damage(f"cut off: the file ends at byte {end} without the mark of a tar's end")
        if not any(header):
            break
        member = _member(header, offset)
        if member.offset + member.size > end:
            raise Damage(f"cut off: {member.key}.{member.extension} reaches past the file's end at byte {end}")
        yield member
        offset = member.offset + -(-member.size // BLOCK) * BLOCK
    if end - offset < 2 * BLOCK:
        raise Damage(f"cut off: the mark of the tar's end is incomplete at byte {end}")
    stream.seek(offset)
    for block in iter(lambda: stream.read(2**20), b""):
        if block.strip(b"\0"):
            raise Damage(f"has bytes behind the tar's end at byte {offset}")


def _member(header: bytes, offset: int) -> Member:
    try:
        size, checksum = (int(header[a:b].strip(b" \0") or b"0", 8) for a, b in ((124, 136), (148, 156)))
    except ValueError:
        raise Damage(f"the header at byte {offset} is not that of a tar's member") from None
    if size < 0 or checksum != sum(header) - sum(header[148:156]) + 8 * ord(" "):
        raise Damage(f"the header at byte {offset} is damaged (its checksum is wrong)")
    name = header[:100].partition(b"\0")[0].decode("utf-8", "backslashreplace")
    prefix = header[345:500].partition(b"\0")[0] if header[257:262] == b"ustar" else b""
    match = NAME.fullmatch(name)
    key, extension = match.groups() if match else (name.partition(".")[0], name.partition(".")[2])
    fault = ""
    if header[156:157] not in (b"0", b"\0"):
        fault = f"{name!r} is no regular file (type {header[156:157]!r}); links, folders and devices are refused"
    elif not match or prefix:
        full = f"{prefix.decode('utf-8', 'backslashreplace')}/{name}" if prefix else name
        fault = f"{full!r} is refused; expected KEY.EXTENSION with one of {', '.join(EXTENSIONS)}"
    elif size > MAX_BYTES[extension]:
        fault = f"{name!r} has {size} bytes, at most {MAX_BYTES[extension]} are read"
    return Member(key, extension, offset + BLOCK, size, fault)


def read_samples(stream: BinaryIO) -> Iterator[RawSample]:
    """The samples of a seekable tar; of one with a fault, only what was good. Raises as `read_members`."""
    key, fields, fault = "", {}, ""
    for member in read_members(stream):
        if member.key != key and (fields or fault):
            yield RawSample(key, fields, fault)
            fields, fault = {}, ""
        key = member.key
        if member.fault:
            fault = fault or member.fault
        elif member.extension in fields:
            fault = fault or f"has two members {member.extension!r}"
        else:
            stream.seek(member.offset)
            fields[member.extension] = stream.read(member.size)
    if fields or fault:
        yield RawSample(key, fields, fault)

"""Damage of every kind done to good shards: `check` reports each one, and training uses none without a word."""

import io
import json
import pickle
import shutil
import struct
import tarfile
import zlib
from functools import partial
from itertools import islice

import numpy as np
import pytest
import torch
from PIL import Image

from lavis_asym.data.check import check_folder
from lavis_asym.data.evaluation_set import EvaluationSet
from lavis_asym.data.fields import encode_array, encode_sample
from lavis_asym.data.layout import Record
from lavis_asym.data.shards import INDEX, counts, digest, read_index, write_index
from lavis_asym.data.stream import TrainStream
from lavis_asym.data.tar import RawSample, read_samples, write_samples
from lavis_asym.data.writing import ShardPlan, write_shards
from lavis_asym.errors import UserError

SHARD = "train-00001.tar"


class Shards:
    """A folder of shards to be damaged. What is `sealed` has true checksums: only its content gives it away."""

    def __init__(self, folder):
        self.folder = folder

    def path(self, name=SHARD):
        return self.folder / name

    def bytes(self, change, name=SHARD):
        content = bytearray(self.path(name).read_bytes())
        self.path(name).write_bytes(change(content) or content)

    def flip(self, find, ahead=0, bit=2):
        """One bit of the bytes `ahead` of where `find` stands."""

        def change(content):
            content[content.index(find) + ahead] ^= bit

        self.bytes(change)

    def index(self, change, sealed=False):
        index = json.loads(self.path(INDEX).read_text())
        change(index)
        if sealed:
            write_index(self.folder, {key: value for key, value in index.items() if key != "sha256"})
        else:
            self.path(INDEX).write_text(json.dumps(index))

    def entry(self, sealed=False, **values):
        self.index(lambda index: index["splits"]["train"][1].update(values), sealed)

    def samples(self, change, name=SHARD, sealed=True, count=None):
        """Rewrite a shard with `change` of its samples (a list), and the index as if it had been packed so."""
        with open(self.path(name), "rb") as stream:
            samples = list(read_samples(stream))
        samples = change(samples) or samples
        stream = io.BytesIO()
        write_samples(stream, samples)
        self.rewritten(stream.getvalue(), name, sealed, len(samples) if count is None else count)

    def rewritten(self, content, name=SHARD, sealed=True, count=None):
        self.path(name).write_bytes(content)

        def change(index):
            for split, entries in index["splits"].items():
                first = 0
                for entry in entries:
                    if entry["name"] == name:
                        entry.update(digest(io.BytesIO(content)), samples=entry["samples"] if count is None else count)
                    entry["first"] = first
                    first += entry["samples"]
                index["counts"][split] = counts(entries)

        self.index(change, sealed)

    def field(self, extension, value, drop=()):
        """Another value for a field of the second sample, with its own checksum made true where there is a json."""

        def change(samples):
            fields = {k: v for k, v in samples[1].fields.items() if k not in drop}
            fields[extension] = value
            samples[1] = reseal(samples[1]._replace(fields=fields), extension != "json")

        self.samples(change)

    def text(self, **values):
        """Other values in the json of the second sample, its checksum made true."""

        def change(samples):
            samples[1] = reseal(samples[1], True, **values)

        self.samples(change)

    def member(self, info, content=b""):
        """One more member, of any kind, after the shard's first sample."""
        with tarfile.open(self.path()) as tar:
            members = [(m, tar.extractfile(m).read()) for m in tar]
        members.insert(2, (info, content))
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as tar:
            for member, value in members:
                member.size = len(value)
                tar.addfile(member, io.BytesIO(value))
        self.rewritten(stream.getvalue())


def reseal(sample, sealed, **values):
    if not sealed:
        return sample
    fields = {k: v for k, v in sample.fields.items() if k != "json"}
    text = {k: v for k, v in json.loads(sample.fields["json"]).items() if k != "sha256"}
    text.update(values)
    text = {k: v for k, v in text.items() if v is not None}

    class Loose:  # a record of any form
        _asdict = staticmethod(lambda: {k: v for k, v in text.items() if k != "number"})

    return encode_sample(Loose, text["number"], fields)._replace(key=sample.key)


def picture(image_format, size=(8, 8)):
    stream = io.BytesIO()
    Image.new("RGB", size).save(stream, image_format)
    return stream.getvalue()


def bomb(side):
    """A PNG of a few bytes that says it has side x side pixels."""
    header = b"IHDR" + struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    data = struct.pack(">I", 64) + b"IDAT" + bytes(64)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header)) + data


def link(name, kind):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, "/etc/passwd"
    return info


def swapped(shards, one, other):
    first, second = shards.path(one).read_bytes(), shards.path(other).read_bytes()
    shards.path(one).write_bytes(second)
    shards.path(other).write_bytes(first)


def same_id(shards):
    def change(samples):
        first = json.loads(samples[0].fields["json"])["image_id"]
        samples[1] = reseal(samples[1], True, image_id=first)

    shards.samples(change, sealed=False)


def same_image(shards):
    with open(shards.path("val-00000.tar"), "rb") as stream:
        content = next(read_samples(stream)).fields["jpg"]

    def change(samples):
        samples[1] = reseal(samples[1]._replace(fields={**samples[1].fields, "jpg": content}), True)

    shards.samples(change, sealed=False)


def replaced_by_folder(shards):
    shards.path().unlink()
    shards.path().mkdir()


def block_gone(content):
    content[1024:1536] = bytes(512)


def blocks_swapped(content):
    content[1024:1536], content[1536:2048] = content[1536:2048], content[1024:1536]


def unfinished(shards):
    shards.path(INDEX).unlink()
    shards.path("packing").mkdir()


def flip_end_mark(content):
    content[len(content.rstrip(b"\0")) // 512 * 512 + 600] = 1


def drop_image(samples):
    samples[1] = reseal(RawSample(samples[1].key, {"json": samples[1].fields["json"]}), True)


def array_header(shape, dtype="<f2"):
    """A .npy that ends where its numbers should begin."""
    text = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}}}".encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


def zeros(shape=(2, 4), dtype=np.float16):
    return encode_array(np.zeros(shape, dtype))


def edit_caption(samples):
    fields = {**samples[1].fields}
    fields["json"] = fields["json"].replace(b'"captions": ["', b'"captions": ["not ')
    samples[1] = samples[1]._replace(fields=fields)


FILES = {
    "bit flipped in an image": (lambda s: s.flip(b"JFIF", 600), "own sha256"),
    "bit flipped in a caption": (lambda s: s.flip(b'"captions": ["', 16), "own sha256"),
    "bit flipped in a member's name": (lambda s: s.flip(b".json"), "its checksum is wrong"),
    "bit flipped in a member's size": (lambda s: s.flip(b".json", 118), "header at byte"),
    "bit flipped in a header's checksum": (lambda s: s.flip(b".json", 142), "header at byte"),
    "bit flipped in padding": (lambda s: s.bytes(lambda c: c.__setitem__(-1, 1)), "behind the tar's end"),
    "bit flipped in the end mark": (lambda s: s.bytes(flip_end_mark), "header"),
    "last byte cut off": (lambda s: s.bytes(lambda c: c[:-1]), "bytes, expected"),
    "second half cut off": (lambda s: s.bytes(lambda c: c[: len(c) // 2]), "cut off"),
    "cut off in the first header": (lambda s: s.bytes(lambda c: c[:100]), "cut off"),
    "shard emptied": (lambda s: s.path().write_bytes(b""), "has 0 bytes"),
    "shard missing": (lambda s: s.path().unlink(), "is missing"),
    "shard replaced by a folder": (replaced_by_folder, "is missing"),
    "two train shards swapped": (lambda s: swapped(s, SHARD, "train-00002.tar"), "sha256 is another"),
    "val and test swapped": (lambda s: swapped(s, "val-00000.tar", "test-00000.tar"), "bytes, expected"),
    "one shard copied over another": (lambda s: shutil.copy(s.path("train-00000.tar"), s.path()), "where sample"),
    "bytes appended": (lambda s: s.bytes(lambda c: c + b"more"), "bytes, expected"),
    "zeros of the same size": (lambda s: s.bytes(lambda c: bytes(len(c))), "has 0 samples"),
    "noise of the same size": (lambda s: s.bytes(lambda c: np.random.default_rng(0).bytes(len(c))), "header at byte 0"),
    "shard compressed": (lambda s: s.bytes(lambda c: zlib.compress(bytes(c))), "bytes, expected"),
    "a block zeroed": (lambda s: s.bytes(block_gone), "sha256 is another"),
    "two blocks swapped": (lambda s: s.bytes(blocks_swapped), "sha256 is another"),
}
INDEXES = {
    "index missing": (lambda s: s.path(INDEX).unlink(), "not there"),
    "index empty": (lambda s: s.path(INDEX).write_text(""), "cannot be read"),
    "index cut off": (lambda s: s.bytes(lambda c: c[:-50], INDEX), "cannot be read"),
    "index of another form": (lambda s: s.path(INDEX).write_text("[]"), "cannot be read"),
    "not finished": (unfinished, "not finished"),
    "another version": (lambda s: s.index(lambda i: i.update(version=1)), "version 1"),
    "another kind": (lambda s: s.index(lambda i: i.update(kind="pickles"), True), "kind 'pickles'"),
    "images called features": (lambda s: s.index(lambda i: i.update(kind="features"), True), "expected 'vector'"),
    "an entry without sha256": (
        lambda s: s.index(lambda i: i["splits"]["train"][1].pop("sha256")),
        "is not a shard's",
    ),
    "a name that is none": (lambda s: s.entry(name=["train-00001.tar"]), "is not a shard's"),
    "a split that is an object": (
        lambda s: s.index(lambda i: i["splits"].update(val=i["splits"]["val"][0])),
        "expected a list of shards",
    ),
    "counts that are a list": (lambda s: s.index(lambda i: i.update(counts=[])), "counts of train are None"),
    "no counts": (lambda s: s.index(lambda i: i.pop("counts"), True), "counts of train are None"),
    "unknown split": (lambda s: s.index(lambda i: i["splits"].update(dev=[]), True), "expected some of"),
    "a digit changed": (lambda s: s.entry(samples=7), "changed after it was written"),
    "wrong number of samples": (lambda s: s.entry(True, samples=5), "begins with sample"),
    "wrong number of captions": (lambda s: s.entry(True, captions=29), "counts of train"),
    "wrong counts": (lambda s: s.index(lambda i: i["counts"]["train"].update(images=25), True), "counts of train"),
    "wrong first number": (lambda s: s.entry(True, first=7), "begins with sample 7"),
    "wrong sha256": (lambda s: s.entry(True, sha256="0" * 64), "sha256 is another"),
    "negative count": (lambda s: s.entry(True, samples=-1), "is not a shard's"),
    "shard listed twice": (lambda s: s.index(lambda i: i["splits"]["train"].append(i["splits"]["train"][0])), "twice"),
    "shard not listed": (lambda s: s.index(lambda i: i["splits"]["train"].pop()), "is not in the index"),
    "path out of the folder": (lambda s: s.entry(True, name="../" + SHARD), "is refused"),
    "absolute path": (lambda s: s.entry(True, name="/etc/passwd"), "is refused"),
    "a command as a shard": (lambda s: s.entry(True, name="pipe:touch owned"), "give --allow-pipe"),
}
SAMPLES = {
    "image of zero bytes": (lambda s: s.field("jpg", b""), "image is empty"),
    "text for an image": (lambda s: s.field("jpg", b"<html>not found</html>"), "cannot be decoded"),
    "half an image": (lambda s: s.field("jpg", picture("JPEG", (64, 64))[:500]), "cannot be decoded"),
    "image bomb": (lambda s: s.field("png", bomb(9000), ["jpg"]), "9000 x 9000"),
    "image bomb that Pillow refuses": (lambda s: s.field("png", bomb(60000), ["jpg"]), "could be decompression bomb"),
    "png called jpg": (lambda s: s.field("jpg", picture("PNG")), "its name ends in .jpg"),
    "gif called jpg": (lambda s: s.field("jpg", picture("GIF")), "is GIF"),
    "no image": (lambda s: s.samples(drop_image), "one image"),
    "two images": (lambda s: s.field("png", picture("PNG")), "expected one image"),
    "features among images": (lambda s: s.field("local.npy", b""), "expected one image"),
    "no json": (lambda s: s.samples(lambda x: x[1].fields.pop("json") and None), "has no json"),
    "bad json": (lambda s: s.field("json", b"{"), "json cannot be read"),
    "json of another form": (lambda s: s.field("json", b"[1]"), "expected an object"),
    "json in another encoding": (lambda s: s.field("json", b'{"image": "\xff"}'), "json cannot be read"),
    "json nested without end": (lambda s: s.field("json", b"[" * 100000), "json cannot be read"),
    "json too large": (lambda s: s.field("json", b" " * (2**20 + 1)), "are read"),
    "no captions": (lambda s: s.text(captions=[]), "non-empty list"),
    "captions missing": (lambda s: s.text(captions=None), "non-empty list"),
    "blank caption": (lambda s: s.text(captions=["a dog", " "]), "caption is empty"),
    "caption for a list": (lambda s: s.text(captions="a dog"), "non-empty list"),
    "number for a caption": (lambda s: s.text(captions=["a dog", 3]), "no text"),
    "id missing": (lambda s: s.text(image_id=None), "'image_id'"),
    "image name missing": (lambda s: s.text(image=""), "'image'"),
    "written samples of another length": (lambda s: s.text(negatives=[["no dog"]]), "'negatives'"),
    "another number": (lambda s: s.text(number=3), "where sample"),
    "caption changed": (lambda s: s.samples(edit_caption, sealed=False), "own sha256"),
    "another key": (lambda s: s.samples(lambda x: x.__setitem__(1, x[1]._replace(key="dog"))), "where sample"),
    "sample removed": (lambda s: s.samples(lambda x: x.pop(1) and None, count=6), "where sample"),
    "last sample removed": (lambda s: s.samples(lambda x: x[:-1], count=6), "has 5 samples"),
    "sample doubled": (lambda s: s.samples(lambda x: x[:2] + x[1:]), "two members"),
    "samples out of order": (lambda s: s.samples(lambda x: [x[1], x[0], *x[2:]]), "out of order"),
    "the same id twice": (same_id, "has the image_id of"),
    "the same image in two splits": (same_image, "so it stands in train and in val"),
    "symbolic link": (lambda s: s.member(link("000000006.png", tarfile.SYMTYPE)), "no regular file"),
    "hard link": (lambda s: s.member(link("000000006.png", tarfile.LNKTYPE)), "no regular file"),
    "device": (lambda s: s.member(link("000000006.png", tarfile.CHRTYPE)), "no regular file"),
    "folder": (lambda s: s.member(link("000000006", tarfile.DIRTYPE)), "no regular file"),
    "path upwards": (lambda s: s.member(tarfile.TarInfo("../000000006.jpg"), b"x"), "is refused"),
    "absolute member": (lambda s: s.member(tarfile.TarInfo("/tmp/000000006.jpg"), b"x"), "is refused"),
    "pickle": (lambda s: s.member(tarfile.TarInfo("000000006.pkl"), pickle.dumps([1])), "is refused"),
    "torch file": (lambda s: s.member(tarfile.TarInfo("000000006.pth"), b"x"), "is refused"),
}  # fmt: skip
FEATURES = {
    "another shape": (lambda s: s.field("local.npy", zeros((3, 4))), "expected float16 (2, 4)"),
    "another dtype": (lambda s: s.field("local.npy", zeros(dtype=np.float32)), "is float32"),
    "pickled objects": (lambda s: s.field("local.npy", array_header((2, 4), "|O")), "is object"),
    "shape without end": (lambda s: s.field("local.npy", array_header((9999999999, 4))), "expected float16"),
    "array cut off": (lambda s: s.field("local.npy", zeros()[:-2]), "more or less"),
    "no array at all": (lambda s: s.field("local.npy", b"not npy"), "cannot be read"),
    "not a number": (lambda s: s.field("local.npy", encode_array(np.full((2, 4), np.nan, np.float16))), "not finite"),
    "array missing": (lambda s: s.field("global.npy", zeros(4), ["local.npy"]), "has no local.npy"),
    "image among features": (lambda s: s.field("jpg", picture("JPEG")), "expected features"),
}  # fmt: skip

KINDS = {**FILES, **INDEXES, **SAMPLES, **FEATURES}


def feature_samples(split):
    for number in range(6 if split != "train" else 24):
        value = np.float16(number if split == "train" else 100 + number)
        arrays = {"global.npy": np.full(4, value), "local.npy": np.full((2, 4), value)}
        record = Record(f"{split}-{number}.jpg", ("one", "two"), f"{split}-{number}")
        yield encode_sample(record, number, {name: encode_array(array) for name, array in arrays.items()})


@pytest.fixture(scope="module")
def small_features(tmp_path_factory):
    """Features of 24 images in four train shards, and of 6 in val."""
    folder = tmp_path_factory.mktemp("damage") / "features"
    header = {"kind": "features", "source": {}, "options": {}}
    header["features"] = {"encoder": "none", "fingerprint": "none", "vector": [4], "regions": [2, 4]}
    plans = {
        split: [
            ShardPlan(partial(islice, list(feature_samples(split)), 6 * k, 6 * k + 6), 6, 12)
            for k in range(4 if split == "train" else 1)
        ]
        for split in ("train", "val")
    }
    write_shards(folder, plans, header, "features")
    return folder


def use(folder):
    """Two passes of training, and every evaluation item."""
    index = read_index(folder)
    arguments = (lambda image: torch.zeros(1), lambda caption, **_: caption)
    list(islice(TrainStream(folder, "train", *arguments, seed=0), 48))
    for split in set(index["splits"]) - {"train"}:
        dataset = EvaluationSet(folder, split, *arguments)
        assert [dataset[k]["index"] for k in range(len(dataset))] == list(range(6))


def reported(folder):
    try:
        return [f"{f.shard} {f.key} {f.problem}" for f in check_folder(folder, deep=True).errors]
    except UserError as error:
        return [str(error)]


def test_there_are_many_kinds_and_good_shards_have_none(image_shards, small_features):
    assert len(KINDS) == sum(map(len, (FILES, INDEXES, SAMPLES, FEATURES))) >= 60
    for folder in (image_shards, small_features):
        assert not check_folder(folder, deep=True).findings
        use(folder)


@pytest.mark.parametrize("kind", KINDS)
def test_check_reports_it_and_training_does_not_use_it(kind, image_shards, small_features, tmp_path):
    folder = tmp_path / "shards"
    shutil.copytree(small_features if kind in FEATURES else image_shards, folder)
    damage, message = KINDS[kind]
    damage(Shards(folder))
    assert any(message in line for line in reported(folder)), reported(folder)
    with pytest.raises(UserError):
        use(folder)

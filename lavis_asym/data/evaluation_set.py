"""Evaluation sets: map-style, over shards or a folder, with the attributes that LAVIS's retrieval evaluation reads."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

from PIL import Image
from torch.utils.data import Dataset
from torch.utils.data.dataloader import default_collate

from lavis_asym.data.fields import IMAGE_EXTENSIONS, decode_image, decode_text, image_field
from lavis_asym.data.layout import Record
from lavis_asym.data.shards import PIPE, Entry, open_shard, read_index
from lavis_asym.data.stream import decode_visual
from lavis_asym.data.tar import Damage, RawSample, read_members
from lavis_asym.errors import UserError


class RetrievalSet(Dataset, ABC):
    """What LAVIS's retrieval evaluation reads of a set, filled by `_add` in the order of the images.

    Attributes:
        text: M processed captions, images in order. image: N file names. image_ids: N ids.
        txt2img: text index -> image index. img2txt: image index -> its texts' indices.
    """

    def __init__(self, text_processor: Callable):
        self.text_processor = text_processor
        self.text: List[str] = []
        self.image: List[str] = []
        self.image_ids: List[str] = []
        self.txt2img: Dict[int, int] = {}
        self.img2txt: Dict[int, List[int]] = {}

    def _add(self, record: Record) -> None:
        number, first = len(self.image), len(self.text)
        self.image.append(record.image)
        self.image_ids.append(record.image_id)
        self.text.extend(map(self.text_processor, record.captions))
        self.img2txt[number] = list(range(first, len(self.text)))
        self.txt2img.update(dict.fromkeys(self.img2txt[number], number))

    def __len__(self) -> int:
        return len(self.image)

    def photo(self, number: int) -> Optional[Image.Image]:
        """The RGB image itself; None where it cannot be had whole."""
        try:
            return decode_image(self._encoded(number))
        except (OSError, Damage):
            return None

    @abstractmethod
    def _encoded(self, number: int) -> bytes:
        """The bytes of an image. Raises OSError or Damage where they cannot be had."""

    def collater(self, samples: List[Dict[str, Any]]) -> Dict[str, Any]:
        return default_collate(samples)


class FolderSet(RetrievalSet):
    """One item an image, as it lies in a folder: `index` and `image`, as the processor makes it."""

    def __init__(self, records: Sequence[Record], root: Path, vis_processor: Callable, text_processor: Callable):
        super().__init__(text_processor)
        self.root, self.vis_processor = root, vis_processor
        for record in records:
            self._add(record)

    def __getitem__(self, number: int) -> Dict[str, Any]:
        try:
            image = decode_image(self._encoded(number))
        except (OSError, Damage) as error:
            raise UserError(f"{self.root / self.image[number]}: {error}") from None
        return {"image": self.vis_processor(image), "index": number}

    def _encoded(self, number: int) -> bytes:
        return (self.root / self.image[number]).read_bytes()


class EvaluationSet(RetrievalSet):
    """One item an image, in the order of the shards: `index` and the image (see `stream.decode_visual`).

    Every shard is compared with its sha256 and read through once; then items are read where they lie, in any worker.

    Raises:
        UserError: a shard or a sample that cannot be used, with its key: no figure may come from part of a split.
    """

    def __init__(
        self,
        folder: Path,
        split: str,
        vis_processor: Optional[Callable],
        text_processor: Callable,
        allow_pipe: bool = False,
        image_root: Optional[Path] = None,
    ):
        super().__init__(text_processor)
        index = read_index(folder, allow_pipe)
        self.folder, self.image_root, self.vis_processor = folder, image_root, vis_processor
        self.features = index.get("features")
        self._fields: List[Tuple[str, str, Dict[str, Tuple[int, int]]]] = []  # shard, key, extension -> offset and size
        for entry in index["splits"][split]:
            self._add_shard(entry)

    def _add_shard(self, entry: Entry) -> None:
        if entry["name"].startswith(PIPE):
            raise self._error(entry["name"], "evaluation reads samples in any order; copy this shard to a file")
        places: Dict[str, Dict[str, Tuple[int, int]]] = {}
        with open_shard(self.folder, entry) as stream:
            try:
                for member in read_members(stream):
                    if member.fault or member.extension in places.get(member.key, {}):
                        raise Damage(member.fault or f"{member.key}.{member.extension} stands in it twice")
                    places.setdefault(member.key, {})[member.extension] = (member.offset, member.size)
            except Damage as damage:
                raise self._error(entry["name"], damage) from None
        if len(places) != entry["samples"]:
            raise self._error(entry["name"], f"has {len(places)} samples, the index says {entry['samples']}")
        for key, fields in places.items():
            number = len(self.image)
            self._fields.append((entry["name"], key, fields))
            try:
                self._add(decode_text(self._read(number, ("json",)), number).record)
            except Damage as damage:
                raise self._error(f"{entry['name']}, key {key}", damage) from None

    def _error(self, where: str, what: Any) -> UserError:
        return UserError(
            f"{self.folder}/{where}: {what}; lavis-asym check {self.folder} --deep lists all that is wrong"
        )

    def _read(self, number: int, extensions: Tuple[str, ...] = ()) -> RawSample:
        """A sample, or some of its fields."""
        shard, key, places = self._fields[number]
        fields = {}
        with open(self.folder / shard, "rb") as stream:
            for extension in extensions or places:
                if extension in places:
                    offset, size = places[extension]
                    stream.seek(offset)
                    fields[extension] = stream.read(size)
        return RawSample(key, fields)

    def __getitem__(self, number: int) -> Dict[str, Any]:
        shard, key, _ = self._fields[number]
        try:
            return {**decode_visual(self._read(number), self.features, self.vis_processor), "index": number}
        except Damage as damage:
            raise self._error(f"{shard}, key {key}", damage) from None

    def _encoded(self, number: int) -> bytes:
        """From the shard, or else from `image_root`."""
        sample = self._read(number, IMAGE_EXTENSIONS)
        if sample.fields:
            return image_field(sample)[1]
        if self.image_root is None:
            raise Damage("is not in its shard, and no folder of images is known")
        return (self.image_root / self.image[number]).read_bytes()

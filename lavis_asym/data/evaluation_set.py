"""The evaluation set: map-style over the same shards, with the attributes that LAVIS's retrieval evaluation reads."""

import json
import tarfile
from pathlib import Path
from typing import Any, Callable, Dict, List, Tuple

from torch.utils.data import Dataset
from torch.utils.data.dataloader import default_collate

from lavis_asym.data.shards import Sample, shard_paths
from lavis_asym.data.stream import decode_image


class EvaluationSet(Dataset):
    """One item an image, in the order of the shards: `index` and the image (see `stream.decode_image`).

    Attributes:
        text: M processed captions, images in order. image: N file names. image_ids: N ids.
        txt2img: text index -> image index. img2txt: image index -> its texts' indices.
    """

    def __init__(self, folder: Path, split: str, vis_processor: Callable, text_processor: Callable):
        self.vis_processor = vis_processor
        self.text: List[str] = []
        self.image: List[str] = []
        self.image_ids: List[str] = []
        self.txt2img: Dict[int, int] = {}
        self.img2txt: Dict[int, List[int]] = {}
        self._fields: List[Tuple[str, Dict[str, Tuple[int, int]]]] = []  # shard, extension -> offset and size
        for shard in shard_paths(folder, split):
            self._add_shard(shard, text_processor)

    def _add_shard(self, shard: str, text_processor: Callable) -> None:
        fields: Dict[str, Dict[str, Tuple[int, int]]] = {}
        with tarfile.open(shard) as tar:
            for member in tar:
                key, _, extension = member.name.partition(".")
                fields.setdefault(key, {})[extension] = (member.offset_data, member.size)
        for places in fields.values():
            number = len(self.image)
            self._fields.append((shard, places))
            record = json.loads(self._read(number, "json"))
            self.image.append(record["image"])
            self.image_ids.append(record["image_id"])
            self.img2txt[number] = list(range(len(self.text), len(self.text) + len(record["captions"])))
            self.txt2img.update({text: number for text in self.img2txt[number]})
            self.text.extend(text_processor(caption) for caption in record["captions"])

    def _read(self, number: int, extension: str) -> bytes:
        shard, places = self._fields[number]
        offset, size = places[extension]
        with open(shard, "rb") as stream:
            stream.seek(offset)
            return stream.read(size)

    def __len__(self) -> int:
        return len(self.image)

    def __getitem__(self, number: int) -> Dict[str, Any]:
        sample: Sample = {ext: self._read(number, ext) for ext in self._fields[number][1] if ext != "json"}
        return {**decode_image(sample, self.vis_processor), "index": number}

    def collater(self, samples: List[Dict[str, Any]]) -> Dict[str, Any]:
        return default_collate(samples)

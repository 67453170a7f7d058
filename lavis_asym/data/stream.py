"""The train stream: an infinite, reproducible `wds.DataPipeline` over the shards of a split."""

import logging
import multiprocessing
import random
from itertools import count, islice
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Sequence, Set, Tuple

import torch
import webdataset as wds
from torch.utils.data import get_worker_info

from lavis_asym.data.fields import decode_image, decode_text, feature_arrays, image_field
from lavis_asym.data.layout import GIVEN
from lavis_asym.data.shards import read_index, shard_samples
from lavis_asym.data.tar import Damage, RawSample
from lavis_asym.errors import UserError
from lavis_asym.joined import SEPARATOR


class Place(NamedTuple):
    """Where a sample was read."""

    epoch: int
    shard: str
    number: int  # in its split


class TrainStream(wds.DataPipeline):
    """Each pass over the shards gives every image once, with one of its captions and that caption's samples.

    A sample is a flat dict that LAVIS's default collate stacks:
        image: pixels 3 x S x S float32; or, from feature shards, vector: D float16 and regions: R x D float16
        image_id: int, the image's number in its split
        key: the image's id in the annotations
        siblings: all its captions, joined
        text_input: what the text processor makes of the caption (`processors.AsymCaptionProcessor`)

    The order is a function of (seed, processes, workers); the caption and its samples are a function of (seed, pass,
    image) alone, so a stream can start anywhere (`skip`). Shards are dealt out to processes and workers, so there must
    be at least as many (`shards`).

    A shard is compared with its sha256 before its first sample is used. A sample that cannot be used is reported with
    its key, and left out; where these are more than `max_failures` of all, iterating raises UserError.

    Args:
        folder: a folder of image or feature shards.
        split: its split.
        vis_processor: PIL image -> pixels; unused with features. Where it has a `size`, JPEGs may be decoded at 1/2,
            1/4 or 1/8 of theirs, never below `size`.
        text_processor: called with caption, siblings, key, epoch and, where people wrote some, positives and negatives.
        seed: >= 0.
        shuffle_buffer: samples that each worker holds back to shuffle across neighbours.
        rank, world_size: this process among all.
        max_failures: share of the samples, in [0, 1].
        allow_pipe: see `shards.read_index`.
    """

    def __init__(
        self,
        folder: Path,
        split: str,
        vis_processor: Optional[Callable],
        text_processor: Callable,
        seed: int,
        shuffle_buffer: int = 256,
        rank: int = 0,
        world_size: int = 1,
        max_failures: float = 0.001,
        allow_pipe: bool = False,
    ):
        index = read_index(folder, allow_pipe)
        self.folder, self.shards, self.features = folder, index["splits"][split], index.get("features")
        self.n_images = index["counts"][split]["images"]
        self.vis_processor, self.text_processor = vis_processor, text_processor
        self.seed, self.rank, self.world_size = seed, rank, world_size
        self.shuffle_buffer, self.max_failures = shuffle_buffer, max_failures
        self._skipped_batches = self._batch_size = 0
        self._verified: Set[str] = set()
        self._seen, self._failed = (multiprocessing.Value("q", 0) for _ in range(2))  # over all workers
        super().__init__(self._samples, self._decoded)

    def skip(self, batches: int, batch_size: int) -> None:
        """Start after so many batches of a `DataLoader`, with what it would give next.

        To the sample, if it has as many workers as the loader before it and none of its samples was left out.
        """
        self._skipped_batches, self._batch_size = batches, batch_size

    def _samples(self) -> Iterator[Tuple[Place, RawSample]]:
        """Undecoded samples, forever."""
        worker = get_worker_info()
        workers, number = (worker.num_workers, worker.id) if worker else (1, 0)
        # a loader asks its workers in turn, the first one first
        number = (number + self._skipped_batches) % workers
        skipped = len(range(number, self._skipped_batches, workers)) * self._batch_size
        for epoch in count():
            own = self._own_shards(epoch, workers, number)
            images = sum(entry["samples"] for entry in own)
            if images > skipped:
                shuffle = wds.detshuffle(self.shuffle_buffer, self.shuffle_buffer, self.seed, epoch)
                yield from islice(shuffle.run(self._read(epoch, own)), skipped, None)
            skipped = max(0, skipped - images)

    def _own_shards(self, epoch: int, workers: int, number: int) -> List[Dict[str, Any]]:
        """The entries of a worker's shards in a pass."""
        order = random.Random(f"{self.seed}/{epoch}").sample(self.shards, len(self.shards))
        own = order[self.rank * workers + number :: self.world_size * workers]
        if not own:
            raise UserError(
                f"{self.folder}: {len(self.shards)} train shards for {workers} workers x {self.world_size} processes; "
                "pack smaller shards (lavis-asym pack --shard-samples) or set run.num_workers lower"
            )
        return own

    def _read(self, epoch: int, entries: Sequence[Dict[str, Any]]) -> Iterator[Tuple[Place, RawSample]]:
        for entry in entries:
            for position, sample in shard_samples(self.folder, entry, verify=entry["name"] not in self._verified):
                self._verified.add(entry["name"])
                yield Place(epoch, entry["name"], position), sample

    def _decoded(self, samples: Iterator[Tuple[Place, RawSample]]) -> Iterator[Dict[str, Any]]:
        for place, sample in samples:
            with self._seen.get_lock():
                self._seen.value += 1
            try:
                yield self._decode(place, sample)
            except Damage as damage:
                self._report(place, sample, damage)

    def _report(self, place: Place, sample: RawSample, damage: Damage) -> None:
        with self._failed.get_lock():
            self._failed.value += 1
            failed, seen = self._failed.value, self._seen.value
        where = f"{self.folder / place.shard}, key {sample.key}: {damage}"
        if failed > self.max_failures * max(seen, self.n_images):
            raise UserError(
                f"{where}; {failed} of {seen} samples failed so far, more than max_failures={self.max_failures:g} "
                f"allows; lavis-asym check {self.folder} --deep lists them, --fix OUT packs the others"
            )
        logging.warning(f"left out: {where} ({failed} of {seen} samples so far)")

    def _decode(self, place: Place, sample: RawSample) -> Dict[str, Any]:
        record = decode_text(sample, place.number).record
        captions, key, epoch = record.captions, record.image_id, place.epoch
        order = random.Random(f"{self.seed}/{epoch // len(captions)}/{key}").sample(range(len(captions)), len(captions))
        chosen = order[epoch % len(captions)]  # each caption once in as many passes as there are captions
        given = {side: getattr(record, side)[chosen] for side in GIVEN if getattr(record, side)}
        return {
            **decode_visual(sample, self.features, self.vis_processor, getattr(self.vis_processor, "size", None)),
            "image_id": place.number,
            "key": key,
            "siblings": SEPARATOR.join(captions),
            "text_input": self.text_processor(captions[chosen], siblings=captions, key=key, epoch=epoch, **given),
        }


def decode_visual(
    sample: RawSample,
    features: Optional[Dict[str, Any]],
    vis_processor: Optional[Callable],
    size: Optional[Tuple[int, int]] = None,
) -> Dict[str, torch.Tensor]:
    """`vector` and `regions` of a sample of features, `image` of any other.

    Args:
        features: of the index; None for shards of images.
        size: see `fields.decode_image`.
    Raises:
        Damage: the sample's image or arrays cannot be used.
    """
    if features:
        vector, regions = map(torch.from_numpy, feature_arrays(sample, features))
        return {"vector": vector, "regions": regions}
    extension, content = image_field(sample)
    return {"image": vis_processor(decode_image(content, extension, size))}

"""The train stream: an infinite, reproducible `wds.DataPipeline` over the shards of a split."""

import io
import json
import random
from itertools import count
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, Tuple

import torch
import webdataset as wds
from PIL import Image
from torch.utils.data import get_worker_info

from lavis_asym.data.layout import GIVEN
from lavis_asym.data.shards import Sample, decode_array, image_field, read_index, read_samples, shard_paths


class TrainStream(wds.DataPipeline):
    """Each pass over the shards gives every image once, with one of its captions and that caption's samples.

    A sample is a flat dict that LAVIS's default collate stacks:
        image: pixels 3 x S x S float32; or, from feature shards, vector: D float16 and regions: R x D float16
        image_id: int, the image's number in its split
        text_input: what the text processor makes of the caption (`processors.AsymCaptionProcessor`)

    The order is a function of (seed, processes, workers); the caption and its samples are a function of (seed, pass,
    image) alone. Shards are dealt out to processes and workers, so there must be at least as many (`n_shards`).

    Args:
        folder: a folder of image or feature shards.
        split: its split.
        vis_processor: PIL image -> pixels; unused with features.
        text_processor: called with caption, siblings, key, epoch and, where people wrote some, positives and negatives.
        seed: >= 0.
        shuffle_buffer: samples that each worker holds back to shuffle across neighbours.
        rank, world_size: this process among all.
    """

    def __init__(
        self,
        folder: Path,
        split: str,
        vis_processor: Callable,
        text_processor: Callable,
        seed: int,
        shuffle_buffer: int = 256,
        rank: int = 0,
        world_size: int = 1,
    ):
        self.shards = shard_paths(folder, split)
        self.n_images = sum(entry["samples"] for entry in read_index(folder)["splits"][split])
        self.vis_processor, self.text_processor = vis_processor, text_processor
        self.seed, self.rank, self.world_size = seed, rank, world_size
        self.shuffle_buffer = shuffle_buffer
        super().__init__(self._samples, wds.map(self._decode))

    def _samples(self) -> Iterator[Tuple[int, Sample]]:
        """Undecoded samples with the number of their pass, forever."""
        for epoch in count():
            shuffle = wds.detshuffle(self.shuffle_buffer, self.shuffle_buffer, self.seed, epoch)
            for sample in shuffle.run(self._one_pass(epoch)):
                yield epoch, sample

    def _one_pass(self, epoch: int) -> Iterator[Sample]:
        """The samples of this process's and worker's shards."""
        worker = get_worker_info()
        workers, number = (worker.num_workers, worker.id) if worker else (1, 0)
        order = random.Random(f"{self.seed}/{epoch}").sample(self.shards, len(self.shards))
        for shard in order[self.rank * workers + number :: self.world_size * workers]:
            yield from read_samples(shard)

    def _decode(self, item: Tuple[int, Sample]) -> Dict[str, Any]:
        epoch, sample = item
        text = json.loads(sample["json"])
        captions, key = text["captions"], text["image_id"]
        order = random.Random(f"{self.seed}/{epoch // len(captions)}/{key}").sample(range(len(captions)), len(captions))
        number = order[epoch % len(captions)]  # each caption once in as many passes as there are captions
        given = {side: text[side][number] for side in GIVEN if text.get(side)}
        return {
            **decode_image(sample, self.vis_processor),
            "image_id": text["number"],
            "text_input": self.text_processor(captions[number], siblings=captions, key=key, epoch=epoch, **given),
        }


def decode_image(sample: Sample, vis_processor: Callable) -> Dict[str, torch.Tensor]:
    """`vector` and `regions` of a sample of features, `image` of any other."""
    if "local.npy" in sample:
        return {
            "vector": torch.from_numpy(decode_array(sample["global.npy"])),
            "regions": torch.from_numpy(decode_array(sample["local.npy"])),
        }
    return {"image": vis_processor(Image.open(io.BytesIO(image_field(sample)[1])).convert("RGB"))}

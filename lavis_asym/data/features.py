"""From shards of images to shards of the frozen encoder's features, one for each of theirs."""

from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Callable, Dict, Iterable, Iterator, List, Tuple

import numpy as np
import torch

from lavis_asym.data.fields import decode_image, decode_text, encode_array, encode_sample, image_field
from lavis_asym.data.layout import Record
from lavis_asym.data.shards import Entry, read_index, shard_samples
from lavis_asym.data.tar import Damage, RawSample
from lavis_asym.data.writing import Faults, ShardPlan, is_written, write_shards
from lavis_asym.encoders import VISION_ENCODERS, VisionEncoder, build_vision_encoder, features_header
from lavis_asym.errors import UserError

IMAGES_AT_ONCE = 32


def write_features(images: Path, encoder_name: str, folder: Path, allow_pipe: bool = False) -> None:
    """Run the encoder over every image once; the captions come along.

    Args:
        images: a folder of image shards.
        encoder_name: a name in `encoders.VISION_ENCODERS`, built only if there is something to encode.
        folder: of the feature shards, float16; a stopped command goes on, see `writing.write_shards`.
        allow_pipe: see `shards.read_index`.
    Raises:
        UserError: `images` is no folder of image shards, every image that cannot be decoded, or what `write_shards`
            refuses.
    """
    index = image_index(images, allow_pipe)
    about = {"images": index["sha256"], **index["source"]}
    features = features_header(VISION_ENCODERS[encoder_name])
    header = {"kind": "features", "source": about, "options": {}, "features": features}
    encoder = None if is_written(folder) else build_vision_encoder(encoder_name).to(_device())
    plans = {
        split: [
            ShardPlan(partial(_encoded, images, entry, encoder), entry["samples"], entry["captions"])
            for entry in entries
        ]
        for split, entries in index["splits"].items()
    }
    write_shards(folder, plans, header, "Caching image features")


def image_index(images: Path, allow_pipe: bool = False) -> Dict[str, Any]:
    """The index of a folder of image shards. Raises UserError for another kind of folder."""
    index = read_index(images, allow_pipe)
    if index["kind"] != "images":
        raise UserError(f"{images}: holds shards of {index['kind']}; expected images, as lavis-asym pack writes them")
    return index


def _device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def _encoded(images: Path, entry: Entry, encoder: VisionEncoder) -> Iterator[RawSample]:
    transform, device = encoder.transform(), next(encoder.parameters()).device

    def encode(pixels: List[torch.Tensor]) -> Tuple[np.ndarray, np.ndarray]:
        vectors, regions = encoder(torch.stack(pixels).to(device))
        return vectors.half().cpu().numpy(), regions.half().cpu().numpy()

    def pixels_of(sample: RawSample, _: Record) -> torch.Tensor:
        extension, content = image_field(sample)
        return transform(decode_image(content, extension))

    return feature_samples(images, entry, pixels_of, encode)


def feature_samples(
    images: Path,
    entry: Entry,
    read: Callable[[RawSample, Record], Any],
    encode: Callable[[List[Any]], Tuple[Iterable[np.ndarray], Iterable[np.ndarray]]],
) -> Iterator[RawSample]:
    """The samples of one shard of images with features in place of the image.

    Args:
        read: what is encoded of a sample, given its record; raises Damage where there is nothing.
        encode: a list of those -> float16 vectors (D) and regions (R x D), one for each.
    Raises:
        Faults: at the end, naming every sample that could not be read.
    """
    problems: List[str] = []
    samples = shard_samples(images, entry)
    while block := list(islice(samples, IMAGES_AT_ONCE)):
        kept, inputs = [], []
        for number, sample in block:
            try:
                text = decode_text(sample, number)
                inputs.append(read(sample, text.record))
                kept.append(text)
            except Damage as damage:
                problems.append(f"{images / entry['name']}, key {sample.key}: {damage}")
        if problems:
            continue
        for text, vector, regions in zip(kept, *encode(inputs)):
            yield encode_sample(*text, {"global.npy": encode_array(vector), "local.npy": encode_array(regions)})
    if problems:
        raise Faults(problems)

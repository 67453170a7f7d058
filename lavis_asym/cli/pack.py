"""Pack images and captions into tar shards, once. Training streams them, and reads nothing else.

examples:
  lavis-asym pack coco --annotations ANN --images coco/images --out shards/coco
                        ANN has LAVIS's coco_karpathy_train.json, ..._val.json, ..._test.json; their image names,
                        such as val2014/COCO_val2014_000000184613.jpg, start from --images
  lavis-asym pack flickr30k --annotations ANN --images flickr30k/images --out shards/flickr30k
                        ANN has flickr30k_train.json, ..._val.json, ..._test.json
  lavis-asym pack karpathy dataset_coco.json --images coco/images --out shards/coco
                        Karpathy's own file; its restval images go to train
  lavis-asym pack custom DIR --out shards/mine
                        DIR has train.json, val.json, test.json (any of them) and images/
  ... --resize 256 --processes 4
                        larger images made smaller, four processes at work

One sample is an image with all its captions. Train is shuffled over all of it; val and test keep their order. Every
image is decoded once, and what cannot be used is listed. Stopped at any moment (Ctrl-C, kill -9, a full disk), the same
command goes on where it was, and the shards have the same bytes in the end. index.json says what they hold.

then:
  lavis-asym check shards/coco --deep
  python -m lavis.train --cfg-path projects/asym/coco.yaml          (shards elsewhere: LAVIS_ASYM_SHARDS=PARENT)
"""

import argparse
import os
from pathlib import Path

from lavis_asym.data.layout import Source, read_annotations, read_karpathy, read_layout
from lavis_asym.data.packing import PackOptions, pack_images, parse_size
from lavis_asym.data.shards import read_index
from lavis_asym.errors import UserError

HELP = "pack images and captions into shards"
ANNOTATIONS = {"coco": "coco_karpathy_{}.json", "flickr30k": "flickr30k_{}.json"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    sources = parser.add_subparsers(metavar="SOURCE", required=True, dest="source")
    for name, title in (
        ("coco", "COCO with LAVIS's annotation files"),
        ("flickr30k", "Flickr30k with LAVIS's annotation files"),
        ("karpathy", "one of Karpathy's dataset_*.json"),
        ("custom", "a folder in LAVIS's retrieval layout"),
    ):
        source = sources.add_parser(
            name, help=title, description=f"Pack {title}.\n\n{__doc__}", formatter_class=parser.formatter_class
        )
        if name in ANNOTATIONS:
            files = ", ".join(ANNOTATIONS[name].format(split) for split in ("train", "val", "test"))
            source.add_argument("--annotations", required=True, type=Path, help=f"the folder with {files}")
        elif name == "karpathy":
            source.add_argument("file", type=Path, help="Karpathy's file")
        else:
            source.add_argument("folder", type=Path, help="with train.json, val.json, test.json and images/")
        if name != "custom":
            source.add_argument("--images", required=True, type=Path, help="the folder that image names start from")
        _add_options(source)


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", required=True, type=Path, help="the folder of shards; new, empty, or begun before")
    size = parser.add_mutually_exclusive_group()
    size.add_argument(
        "--shard-bytes",
        default="128M",
        metavar="SIZE",
        help="images of so many bytes, as they are on disk, in a shard (128M; train gets at least 8 shards)",
    )
    size.add_argument("--shard-samples", type=int, metavar="N", help="instead: N images in a shard")
    parser.add_argument("--resize", type=int, metavar="PIXELS", help="the shorter side of larger images (as they are)")
    parser.add_argument("--seed", type=int, default=0, help="of the order of train (0)")
    parser.add_argument(
        "--processes", type=int, default=min(8, os.cpu_count() or 1), help="at once (the CPUs, up to 8)"
    )


def run(arguments: argparse.Namespace) -> None:
    """Pack, and say what came of it."""
    for name, least in (("shard_samples", 1), ("resize", 1), ("processes", 1)):
        value = getattr(arguments, name)
        if value is not None and value < least:
            raise UserError(f"--{name.replace('_', '-')} {value}: expected at least {least}")
    options = PackOptions(
        parse_size(arguments.shard_bytes), arguments.shard_samples, None, arguments.resize, arguments.seed
    )
    pack_images(_source(arguments), arguments.out, arguments.source, options, arguments.processes)
    index = read_index(arguments.out)
    for split, count in index["counts"].items():
        print(
            f"{split}: {count['images']} images, {count['captions']} captions in {count['shards']} shard(s), "
            f"{count['bytes'] / 1e6:.1f} MB"
        )
    if index["shared"]:
        print(f"note: {len(index['shared'])} image(s) stand in two splits with the same content")
    print(f"written: {arguments.out}; see that all is well: lavis-asym check {arguments.out} --deep")


def _source(arguments: argparse.Namespace) -> Source:
    if arguments.source == "custom":
        return read_layout(arguments.folder)
    if arguments.source == "karpathy":
        return read_karpathy(arguments.file, arguments.images)
    return read_annotations(arguments.annotations, ANNOTATIONS[arguments.source], arguments.images)

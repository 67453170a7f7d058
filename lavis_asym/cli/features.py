"""Run the frozen image encoder over every packed image once, or pack region features that you have.

examples:
  lavis-asym features shards/coco --model-type tiny --out shards/coco-features
                                        features of the encoder of the model type `tiny`
  lavis-asym features shards/coco --npy FOLDER --out shards/coco-regions
                                        your own, R x D in a .npy for each image, named as the image or its id
  lavis-asym features shards/coco --h5 trainval.h5 --out shards/coco-regions
                                        your own, from an HDF5 file with `ID`, `ID_features` or `ID/features`
  lavis-asym features --scan data/coco_precomp --out shards/coco-regions
                                        SCAN's {train,dev,test}_ims.npy with _caps.txt; no shards of images needed

Features are float16: `local.npy` (R x D) and `global.npy` (D; the mean of your own regions). The captions come along,
so the folder is all that training reads:
  python -m lavis.train --cfg-path projects/asym/coco.yaml --options datasets.asym_coco.shards=shards/coco-features
and of your own, in training and evaluation:
  python -m lavis.train --cfg-path projects/asym/coco.yaml --options datasets.asym_coco.shards=shards/coco-regions \\
      model.vision_encoder=regions
The index keeps the fingerprint of encoder, weights and preprocessing, or of the files of your own regions; a model
refuses other features than those it was trained on. For regions in several folders that one extractor made, such as a
test set packed later, name it for each of them: --extractor NAME. An image without features is an error, never a guess,
and so are features that two images would share. A stopped command goes on where it was.
"""

import argparse
from pathlib import Path

import yaml

from lavis_asym.data.shards import load_index
from lavis_asym.errors import UserError, near_matches
from lavis_asym.paths import config_path

HELP = "cache the frozen encoder's features, or pack your own"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, nargs="?", help="of shards of images; not with --scan")
    kind = parser.add_mutually_exclusive_group(required=True)
    kind.add_argument("--model-type", help="of asym_retrieval, such as tiny")
    kind.add_argument("--npy", type=Path, metavar="FOLDER", help="of your own features, a .npy for each image")
    kind.add_argument("--h5", type=Path, metavar="FILE", help="of your own features (needs h5py)")
    kind.add_argument("--scan", type=Path, metavar="FOLDER", help="of SCAN's *_ims.npy and *_caps.txt")
    parser.add_argument(
        "--extractor", metavar="NAME", help="what made your own, such as butd36 (default: by the files)"
    )
    parser.add_argument("--out", required=True, type=Path, help="the folder of shards; new, empty, or begun before")
    parser.add_argument("--allow-pipe", action="store_true", help="run the commands that the index names as shards")


def run(arguments: argparse.Namespace) -> None:
    """Write the features, and say how many."""
    from lavis_asym.data import features, regions

    if bool(arguments.folder) == bool(arguments.scan):
        raise UserError("expected a folder of image shards, or --scan FOLDER, and not both")
    if arguments.model_type and arguments.extractor:
        raise UserError("--extractor: is for features of your own; with --model-type the encoder names them")
    if arguments.model_type:
        features.write_features(
            arguments.folder, _vision_encoder(arguments.model_type), arguments.out, arguments.allow_pipe
        )
    elif arguments.scan:
        regions.write_scan(arguments.scan, arguments.out, arguments.extractor)
    else:
        index = features.image_index(arguments.folder, arguments.allow_pipe)
        source = regions.NpyFolder(arguments.npy) if arguments.npy else regions.Hdf5File(arguments.h5)
        regions.write_regions(arguments.folder, index, source, arguments.out, arguments.extractor)
    index = load_index(arguments.out)
    images = sum(count["images"] for count in index["counts"].values())
    form = " x ".join(map(str, index["features"]["regions"]))
    print(f"written: {arguments.out}, {images} images, {form} float16, {index['features']['fingerprint']}")


def _vision_encoder(model_type: str) -> str:
    """The encoder that a model type's defaults name."""
    folder = Path(config_path("models"))
    known = {path.stem.rpartition("asym_retrieval_")[2]: path for path in folder.glob("asym_retrieval_*.yaml")}
    if model_type not in known:
        raise UserError(f"--model-type: unknown {model_type!r}; {near_matches(model_type, known)}")
    return yaml.safe_load(known[model_type].read_text(encoding="utf-8"))["model"]["vision_encoder"]

"""LAVIS dataset builders: packed COCO and Flickr30k, the user's own folder, and the embedded scenes."""

import hashlib
import json
import logging
import os
from abc import ABC, abstractmethod
from functools import cached_property
from pathlib import Path
from typing import Any, Dict, List, Optional

from lavis.common.dist_utils import get_rank, get_world_size
from lavis.common.registry import registry
from lavis.datasets.builders.base_dataset_builder import BaseDatasetBuilder

from lavis_asym.data.evaluation_set import EvaluationSet
from lavis_asym.data.prepare import prepare_features, prepare_images
from lavis_asym.data.scenes import write_scenes
from lavis_asym.data.shards import INDEX, load_index, read_index
from lavis_asym.data.stream import TrainStream
from lavis_asym.encoders import VISION_ENCODERS, GivenRegions, check_features, features_header
from lavis_asym.errors import UserError
from lavis_asym.paths import config_path

SHARDS_VARIABLE = "LAVIS_ASYM_SHARDS"


class ShardsBuilder(BaseDatasetBuilder, ABC):
    """Datasets over a folder of shards; how that folder comes about is the subclass's `prepare`."""

    def _download_data(self) -> None:
        """Runs in the main process only, before any other builds its datasets."""
        logging.info(f"Shards in {self.folder}")

    def build(self) -> Dict[str, Any]:
        """`train`: an infinite stream; `val`, `test`: evaluation sets; each where the data has that split."""
        self.build_processors()
        allow_pipe = bool(self.config.get("allow_pipe"))
        index = read_index(self.folder, allow_pipe)
        _warn_of_shared(self.folder, index["shared"])
        datasets: Dict[str, Any] = {}
        for split in index["splits"]:
            mode = "train" if split == "train" else "eval"
            processors = self.vis_processors[mode], self.text_processors[mode]
            if split == "train":
                datasets[split] = TrainStream(
                    self.folder,
                    split,
                    *processors,
                    rank=get_rank(),
                    world_size=get_world_size(),
                    allow_pipe=allow_pipe,
                    **self.config.stream,
                )
            else:
                datasets[split] = EvaluationSet(self.folder, split, *processors, allow_pipe, self.image_root())
        return datasets

    def image_root(self) -> Optional[Path]:
        """Where the images themselves lie, for pictures of them; None where only the shards are known."""
        return None

    @cached_property
    def folder(self) -> Path:
        """The folder of shards that the datasets read, prepared when it is first asked for."""
        if self.config.data_type not in ("features", "images"):
            raise UserError(f"data_type: expected 'features' or 'images', got {self.config.data_type!r}")
        return self.prepare(self.config.get("vision_encoder", "efficientnet_lite0"))

    @abstractmethod
    def prepare(self, encoder: str) -> Path:
        """The folder of shards, of the kind that `data_type` says, written if it is not there.

        Args:
            encoder: the run's `model.vision_encoder`.
        """


class CustomBuilder(ShardsBuilder):
    """Any folder in LAVIS's retrieval layout, packed into shards once; configs/datasets/custom.yaml has its keys."""

    DATASET_CONFIG_DICT = {"default": config_path("datasets/custom.yaml")}

    def prepare(self, encoder: str) -> Path:
        images = prepare_images(self.root, self.storage(), self.config.train_shards)
        return images if self.config.data_type == "images" else prepare_features(images, encoder)

    def image_root(self) -> Path:
        return self.root / "images"

    @cached_property
    def root(self) -> Path:
        """The folder in LAVIS's layout."""
        if not self.config.root:
            raise UserError(
                "datasets.asym_custom.root: not set; expected the folder with train.json, val.json and images/ "
                "(--options datasets.asym_custom.root=DIR)"
            )
        return Path(self.config.root).expanduser().resolve()

    def storage(self) -> Path:
        """Where the shards go."""
        if self.config.storage:
            return Path(self.config.storage).expanduser().resolve()
        name = f"{self.root.name}-{hashlib.sha256(str(self.root).encode()).hexdigest()[:8]}"
        return Path(registry.get_path("cache_root")).expanduser() / "asym" / name


class ScenesBuilder(CustomBuilder):
    """The embedded scenes (`data.scenes`), rendered into the cache once."""

    DATASET_CONFIG_DICT = {"default": config_path("datasets/scenes.yaml")}

    @cached_property
    def root(self) -> Path:
        """Where they lie in LAVIS's layout, rendered when it is first asked for."""
        counts = {split: int(count) for split, count in self.config.counts.items()}
        name = hashlib.sha256(json.dumps([self.config.seed, counts]).encode()).hexdigest()[:8]
        root = Path(registry.get_path("cache_root")).expanduser() / "asym" / f"scenes-{name}"
        write_scenes(root, self.config.seed, counts)
        return root


class CocoBuilder(ShardsBuilder):
    """COCO as `lavis-asym pack coco` and `features` wrote it; configs/datasets/coco.yaml has its keys."""

    DATASET_CONFIG_DICT = {"default": config_path("datasets/coco.yaml")}
    NAME = "coco"

    def prepare(self, encoder: str) -> Path:
        folder = self.packed()
        kind = read_index(folder, bool(self.config.allow_pipe))["kind"]
        if self.config.data_type == "images":
            if kind == "images":
                return folder
            raise UserError(
                f"datasets.asym_{self.NAME}.data_type: 'images', but {folder} holds features; give the folder that "
                "lavis-asym pack wrote, or data_type=features"
            )
        if kind == "features":
            features = load_index(folder)["features"]
            if encoder == GivenRegions.name != features["encoder"]:
                raise UserError(
                    f"{folder}: holds the features of {features['encoder']}, but model.vision_encoder is {encoder}; "
                    f"give a folder of region features (lavis-asym features --npy), or model.vision_encoder="
                    f"{features['encoder']}"
                )
            own = GivenRegions(features) if encoder == GivenRegions.name else VISION_ENCODERS[encoder]
            check_features(folder, features, features_header(own))
            return folder
        if encoder == GivenRegions.name:
            raise UserError(
                f"{folder}: holds images, but model.vision_encoder is regions; give datasets.asym_{self.NAME}.shards "
                f"a folder of region features: lavis-asym features {folder} --npy FOLDER --out DIR"
            )
        return prepare_features(folder, encoder)

    def packed(self) -> Path:
        """Where the run's configuration or the environment says that the shards are."""
        option, name = f"datasets.asym_{self.NAME}.shards", self.NAME
        if self.config.shards:
            folder, given = Path(self.config.shards).expanduser(), option
        elif SHARDS_VARIABLE in os.environ:
            folder, given = Path(os.environ[SHARDS_VARIABLE]).expanduser(), SHARDS_VARIABLE
            folder = folder if (folder / INDEX).is_file() else folder / name
        else:
            folder, given = Path("shards") / name, f"neither {option} nor {SHARDS_VARIABLE} is set"
        if not folder.is_dir():
            raise UserError(
                f"{folder}: no such folder of shards ({given}). Pack once:\n"
                f"  lavis-asym pack {name} --annotations DIR --images DIR --out {folder}\n"
                f"where --annotations has {'coco_karpathy' if name == 'coco' else name}_train.json, ..._val.json and "
                f"..._test.json; or say where the shards are: {SHARDS_VARIABLE}=PARENT or --options {option}=DIR"
            )
        return folder.resolve()


class Flickr30kBuilder(CocoBuilder):
    """Flickr30k, as `CocoBuilder`; configs/datasets/flickr30k.yaml has its keys."""

    DATASET_CONFIG_DICT = {"default": config_path("datasets/flickr30k.yaml")}
    NAME = "flickr30k"


def _warn_of_shared(folder: Path, shared: List[List[str]]) -> None:
    if shared:
        split, key, other, other_key = shared[0]
        logging.warning(
            f"{folder}: {len(shared)} image(s) stand in two splits with the same content, such as {split}/{key} and "
            f"{other}/{other_key}; lavis-asym check {folder} lists them, --fix OUT packs without them"
        )

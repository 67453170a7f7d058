"""LAVIS dataset builders: the user's own data, and the embedded scenes."""

import hashlib
import json
from pathlib import Path
from typing import Any, Dict

from lavis.common.dist_utils import get_rank, get_world_size
from lavis.common.registry import registry
from lavis.datasets.builders.base_dataset_builder import BaseDatasetBuilder

from lavis_asym.data.evaluation_set import EvaluationSet
from lavis_asym.data.prepare import prepare_features, prepare_images
from lavis_asym.data.scenes import write_scenes
from lavis_asym.data.shards import read_index
from lavis_asym.data.stream import TrainStream
from lavis_asym.encoders import VISION_ENCODERS
from lavis_asym.errors import UserError, near_matches
from lavis_asym.paths import config_path


class CustomBuilder(BaseDatasetBuilder):
    """Any folder in LAVIS's retrieval layout, packed into shards once; configs/datasets/custom.yaml has its keys."""

    DATASET_CONFIG_DICT = {"default": config_path("datasets/custom.yaml")}

    def _download_data(self) -> None:
        """Runs in the main process only, before any other builds its datasets."""
        self._prepare()

    def build(self) -> Dict[str, Any]:
        """`train`: an infinite stream; `val`, `test`: evaluation sets; each where the data has that split."""
        self.build_processors()
        folder = self._prepare()
        datasets: Dict[str, Any] = {}
        for split in read_index(folder)["splits"]:
            mode = "train" if split == "train" else "eval"
            processors = self.vis_processors[mode], self.text_processors[mode]
            if split == "train":
                stream = self.config.stream
                place = {"rank": get_rank(), "world_size": get_world_size()}
                datasets[split] = TrainStream(folder, split, *processors, stream.seed, stream.shuffle_buffer, **place)
            else:
                datasets[split] = EvaluationSet(folder, split, *processors)
        return datasets

    def root(self) -> Path:
        """The folder in LAVIS's layout."""
        if not self.config.root:
            raise UserError(
                "datasets.asym_custom.root: not set; expected the folder with train.json, val.json and images/ "
                "(--options datasets.asym_custom.root=DIR)"
            )
        return Path(self.config.root).expanduser().resolve()

    def storage(self, root: Path) -> Path:
        """Where the shards go."""
        if self.config.storage:
            return Path(self.config.storage).expanduser().resolve()
        name = f"{root.name}-{hashlib.sha256(str(root).encode()).hexdigest()[:8]}"
        return Path(registry.get_path("cache_root")).expanduser() / "asym" / name

    def _prepare(self) -> Path:
        """The folder of shards that the datasets read, written if it is not there."""
        if self.config.data_type not in ("features", "images"):
            raise UserError(f"data_type: expected 'features' or 'images', got {self.config.data_type!r}")
        encoder = self.config.features.encoder
        if encoder not in VISION_ENCODERS:
            raise UserError(f"features.encoder: unknown {encoder!r}; {near_matches(encoder, VISION_ENCODERS)}")
        root = self.root()
        images = prepare_images(root, self.storage(root), self.config.train_shards)
        if self.config.data_type == "images":
            return images
        return prepare_features(images, encoder)


class ScenesBuilder(CustomBuilder):
    """The embedded scenes (`data.scenes`), rendered into the cache once."""

    DATASET_CONFIG_DICT = {"default": config_path("datasets/scenes.yaml")}

    def root(self) -> Path:
        counts = {split: int(count) for split, count in self.config.counts.items()}
        name = hashlib.sha256(json.dumps([self.config.seed, counts]).encode()).hexdigest()[:8]
        root = Path(registry.get_path("cache_root")).expanduser() / "asym" / f"scenes-{name}"
        write_scenes(root, self.config.seed, counts)
        return root

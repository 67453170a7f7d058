"""The LAVIS task `asym_retrieval`: LAVIS's retrieval task, ties against the model, rSum, a result file a split."""

import json
from pathlib import Path
from typing import Any, Dict, Optional

from lavis.common.dist_utils import get_world_size, is_main_process
from lavis.common.registry import registry
from lavis.tasks.retrieval import RetrievalTask
from tqdm import tqdm

from lavis_asym.data.shards import write_atomically
from lavis_asym.data.stream import TrainStream
from lavis_asym.errors import UserError
from lavis_asym.evaluation import recall_table, retrieval_metrics


class AsymRetrievalTask(RetrievalTask):
    """Trains with a progress bar; evaluates every image-text pair alike; selects the best epoch by the val rSum."""

    def __init__(self, cfg):
        super().__init__(cfg)
        self._bar: Optional[tqdm] = None
        self._protocol: Dict[str, Any] = {}

    def build_datasets(self, cfg) -> Dict[str, Dict[str, Any]]:
        """LAVIS's; then checks that every split of the run is there and that no worker goes without a shard.

        Fills in `run.test_splits` where it is null.
        """
        datasets = super().build_datasets(cfg)
        run = cfg.run_cfg
        splits = {split for dataset in datasets.values() for split in dataset}
        if run.test_splits is None:
            run.test_splits = [split for split in ("val", "test") if split in splits]
        wanted = {key: list(run[key]) for key in ("valid_splits", "test_splits")}
        if not run.evaluate:
            wanted["train_splits"] = list(run.train_splits)
        for key, names in wanted.items():
            for name in names:
                if name not in splits:
                    raise UserError(
                        f"run.{key}: {name!r} is no split of {', '.join(datasets)}, which has "
                        f"{', '.join(sorted(splits))}; add {name}.json or set run.{key}"
                    )
        for name, dataset in datasets.items():
            stream = dataset.get("train")
            readers = max(1, run.num_workers) * get_world_size()
            if isinstance(stream, TrainStream) and not run.evaluate and len(stream.shards) < readers:
                more = f"set datasets.{name}.train_shards={readers}"
                if "train_shards" not in cfg.datasets_cfg[name]:
                    more = f"pack again with --shard-samples {max(1, stream.n_images // readers)}"
                raise UserError(
                    f"datasets.{name}: {len(stream.shards)} train shards for run.num_workers={run.num_workers} x "
                    f"{get_world_size()} processes, at least {readers} are needed; {more} (the split has "
                    f"{stream.n_images} images), or fewer workers"
                )
        return datasets

    def train_step(self, model, samples):
        if samples["iters"] == 0 and is_main_process():
            title = f"Training, epoch {samples['epoch'] + 1}"
            self._bar = tqdm(total=samples["num_iters_per_epoch"], desc=title, unit=" steps")
        loss = super().train_step(model, samples)
        if self._bar is not None:
            self._bar.update()
            if self._bar.n == self._bar.total:
                self._bar.close()
        return loss

    def evaluation(self, model, data_loader, **kwargs) -> Optional[Dict[str, float]]:
        """Metrics of a split in the main process, None in the others."""
        dataset = data_loader.dataset
        scores_i2t, scores_t2i = model.compute_sim_matrix(data_loader, task_cfg=self.cfg)
        if not is_main_process():
            return None
        self._protocol = {
            "images": len(dataset.image),
            "captions": len(dataset.text),
            "distinct_captions": len(set(dataset.text)),
            "ties": "against the model",
            "scoring": "every pair, exact",
            "selection": "rsum of val" if self.cfg.get("valid_splits") else "last weights",
            "seed": self.cfg.seed,
        }
        return retrieval_metrics(scores_i2t, scores_t2i, dataset.txt2img, dataset.img2txt)

    def after_evaluation(self, val_result, split_name, epoch, **kwargs):
        """Write `result/<split>.json` and print its table."""
        if val_result is None:
            return None
        protocol = {"split": split_name, "epoch": epoch, **self._protocol}
        content = json.dumps({**val_result, "protocol": protocol}, indent=1) + "\n"
        write_atomically(Path(registry.get_path("result_dir")) / f"{split_name}.json", content.encode())
        tqdm.write(
            f"\n{split_name}: {protocol['images']} images, {protocol['captions']} captions "
            f"({protocol['distinct_captions']} distinct), epoch {epoch}, ties against the model, every pair scored\n"
            f"{recall_table(val_result)}\n"
        )
        return val_result

"""The LAVIS task `asym_retrieval`: LAVIS's retrieval task, honest ranks, rSum, a report of every final evaluation."""

import sys
from pathlib import Path
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Union

import torch
from lavis.common.dist_utils import get_rank, get_world_size, is_main_process
from lavis.common.registry import registry
from lavis.tasks.retrieval import RetrievalTask
from omegaconf import OmegaConf
from tqdm import tqdm

from lavis_asym.assessment import (
    TESTED,
    Settings,
    assess,
    check_settings,
    protocol_of,
    rank,
    two_stage_line,
    write_result,
)
from lavis_asym.data.stream import TrainStream
from lavis_asym.encoders import GivenRegions, check_features
from lavis_asym.errors import UserError
from lavis_asym.evaluation import protocol_line, recall_table
from lavis_asym.models.checkpoint import Training, check_trained_with, read_checkpoint, read_run
from lavis_asym.report import write_scalars
from lavis_asym.scorers import Scored, scorer

UNTRAINED = Training(None, None, 0)
SEEDS_A_RUN = 2**20  # more than a run has passes


class Evaluated(NamedTuple):
    """The scores of a split, and what gives more of them."""

    model: Any
    scorer: Any
    scored: Scored


class AsymRetrievalTask(RetrievalTask):
    """Trains with a progress bar; evaluates every image-text pair alike; selects the best epoch by the val rSum."""

    def __init__(self, cfg):
        super().__init__(cfg)
        self._bar: Optional[tqdm] = None
        self._streams: List[TrainStream] = []
        self._resumed: Optional[Dict[str, Any]] = None
        self._training = Training(None, None)
        self._data = ""

    @classmethod
    def setup_task(cls, cfg):
        task = super().setup_task(cfg)
        if not cfg.run_cfg.evaluate:
            task._training = Training.of(OmegaConf.to_container(cfg.config, resolve=True))
            task._resumed = _resumed(cfg)
        elif cfg.model_cfg.finetuned:
            checkpoint = read_checkpoint(cfg.model_cfg.finetuned)
            check_trained_with(checkpoint.get("config") or {}, cfg.model_cfg, "model.finetuned")
            task._training = Training.of_checkpoint(checkpoint)
        else:
            task._training = UNTRAINED
        task._data = ", ".join(cfg.datasets_cfg)
        return task

    def build_datasets(self, cfg) -> Dict[str, Dict[str, Any]]:
        """LAVIS's; then checks that every split of the run is there and can be used, see below and `check_settings`.

        Fills in `run.test_splits` where it is null, and `model.features` of a model of given regions.
        """
        datasets = super().build_datasets(cfg)
        run = cfg.run_cfg
        _check_joined(datasets, training=not run.evaluate)
        self._streams = [
            split for data in datasets.values() for split in data.values() if isinstance(split, TrainStream)
        ]
        if cfg.model_cfg.vision_encoder == GivenRegions.name:
            cfg.model_cfg.features = _common_features(datasets)
        splits = {split: data for dataset in datasets.values() for split, data in dataset.items()}
        if run.test_splits is None:
            run.test_splits = [split for split in ("val", "test") if split in splits]
        wanted = {"test_splits": list(run.test_splits)}
        if not run.evaluate:
            wanted.update({key: list(run[key]) for key in ("valid_splits", "train_splits")})
        for key, names in wanted.items():
            for name in names:
                if name not in splits:
                    raise UserError(
                        f"run.{key}: {name!r} is no split of {', '.join(datasets)}, which has "
                        f"{', '.join(sorted(splits))}; add {name}.json or set run.{key}"
                    )
        check_settings(self._settings(), {split: splits[split] for split in run.test_splits})
        if not run.evaluate:
            for name, dataset in datasets.items():
                _check_shards(name, dataset.get("train"), cfg)
        return datasets

    def build_model(self, cfg):
        """LAVIS's; of a run that is resumed, the checkpoint must be of the same features.

        The stream then starts after the images that the checkpoint has seen. Says so if nothing is left to train. Wants
        a complete schedule, see `run.complete_schedule`.
        """
        model = super().build_model(cfg)
        if self._resumed:
            model.check_trained_on(self._resumed, cfg.run_cfg.resume_ckpt_path)
            _say_if_trained(self._resumed, cfg.run_cfg)
            self._skip_trained(self._resumed, cfg.run_cfg)
        return model

    def _skip_trained(self, checkpoint: Mapping[str, Any], run: Any) -> None:
        trained = checkpoint["config"]["run"]
        images = checkpoint.get("iters", 0) * trained["batch_size_train"] * trained["world_size"]
        for stream in self._streams:
            stream.skip(images // (run.batch_size_train * run.world_size), run.batch_size_train)

    def train_step(self, model, samples):
        if samples["iters"] == 0:  # a pass draws the same numbers in a run that was resumed before it
            torch.manual_seed(SEEDS_A_RUN * (self.cfg.seed + get_rank()) + samples["epoch"])
        if samples["iters"] == 0 and is_main_process():
            title = f"Training, epoch {samples['epoch'] + 1}"
            self._bar = tqdm(total=samples["num_iters_per_epoch"], desc=title, unit=" steps", leave=False)
        loss = super().train_step(model, samples)
        if self._bar is not None:
            self._bar.update()
            if self._bar.n == self._bar.total:
                self._bar.close()
        return loss

    def evaluation(self, model, data_loader, **kwargs) -> Optional[Evaluated]:
        """The scores of a split in the main process, None in the others, which have shared the work."""
        own = scorer(model, data_loader, self._cache())
        scored = own.scores(self.cfg.k_test)
        return Evaluated(model, own, scored) if is_main_process() else None

    def after_evaluation(self, val_result, split_name, epoch, **kwargs):
        """Write `result/<split>.json`, of a final evaluation with all its sections and its report; print its table."""
        if val_result is None:
            return None
        model, own, scored = val_result
        settings = self._settings()
        if split_name != TESTED:  # the protocol is that of the test split
            settings = settings._replace(protocol="custom")
        ranked = rank(scored, own.dataset, settings)
        metrics = ranked.metrics(settings.ties)
        passes = self._training.passes if self.cfg.evaluate else self._passes(epoch)
        protocol = protocol_of(
            model,
            own.dataset,
            scored,
            settings,
            data=self._data,
            split=split_name,
            epoch=passes,
            selection=self._training.selection,
        )
        tqdm.write(f"\n{protocol_line(protocol)}\n{recall_table(metrics)}\n")
        folder = Path(registry.get_path("result_dir"))
        if epoch == "best" or self.cfg.evaluate or split_name not in self.cfg.valid_splits:
            result = assess(own, scored, ranked, protocol, settings, folder, split_name)
        else:
            result = {**metrics, "protocol": protocol}
            write_result(folder, split_name, result)
        write_scalars(folder.parent / "tensorboard", split_name, result, step=passes or 0)
        own.forget(self.cfg.k_test)
        if "two_stage" in result:
            tqdm.write(two_stage_line(result["two_stage"]))
        return metrics

    def _passes(self, epoch: Union[int, str]) -> int:
        """How many passes have trained the weights that a runner calls 2 (the third), "0_iters=12", or "best"."""
        if epoch == "best":
            best = read_checkpoint(str(Path(registry.get_path("output_dir")) / "checkpoint_best.pth"))
            return Training.of_checkpoint(best).passes
        if isinstance(epoch, int):
            return epoch + 1
        return int(epoch.rpartition("=")[2]) // self.cfg.iters_per_inner_epoch

    def _settings(self) -> Settings:
        given = OmegaConf.to_container(self.cfg.evaluation, resolve=True)
        more = {"k_test": self.cfg.k_test, "seed": self.cfg.seed, "policy": self._training.policy}
        return Settings(**{**given, "choices": tuple(given["choices"]), **more})

    def _cache(self) -> Optional[Path]:
        """Where `lavis.evaluate` keeps features and rows, so that it goes on after a stop."""
        if not self.cfg.evaluate:
            return None
        return Path(registry.get_path("cache_root")).expanduser() / "asym" / "scores"


def _resumed(cfg) -> Optional[Dict[str, Any]]:
    """The checkpoint to go on from, if any.

    Raises:
        UserError: it is of other data, whose best metric it would bring, or of other settings.
    """
    path = cfg.run_cfg.resume_ckpt_path
    if not path:
        return None
    checkpoint = read_run(path)
    trained, own = set(checkpoint["config"]["datasets"]), set(cfg.datasets_cfg)
    if trained != own:
        raise UserError(
            f"run.resume_ckpt_path: {path} was trained on {', '.join(sorted(trained))}, this run's data is "
            f"{', '.join(sorted(own))}; start from its weights with model.finetuned"
        )
    check_trained_with(checkpoint["config"], cfg.model_cfg, "run.resume_ckpt_path")
    return checkpoint


def _say_if_trained(checkpoint: Mapping[str, Any], run: Any) -> None:
    counted = "iters" in checkpoint
    done, total = (checkpoint["iters"], run.max_iters) if counted else (checkpoint.get("epoch", -1) + 1, run.max_epoch)
    if done >= total and is_main_process():
        tqdm.write(
            f"run.resume_ckpt_path: {run.resume_ckpt_path} has done all {total} {'steps' if counted else 'epochs'} of "
            "this run, so that only its test is left; to train on, set run.max_epoch higher",
            file=sys.stderr,
        )


def _common_features(datasets: Mapping[str, Mapping[str, Any]]) -> Dict[str, Any]:
    """What the indices of all data sets say of their features. Raises UserError unless it is the same."""
    splits = [split for dataset in datasets.values() for split in dataset.values()]
    for split in splits[1:]:
        check_features(split.folder, split.features, splits[0].features)
    return splits[0].features


def _check_joined(datasets: Mapping[str, Mapping[str, Any]], training: bool) -> None:
    """LAVIS evaluates a split on one data set, and chains streams: behind one that never ends no other is read.

    Raises:
        UserError: several data sets with the same split but train, or with a stream to train on.
    """
    for split in dict.fromkeys(split for dataset in datasets.values() for split in dataset):
        names = [name for name, dataset in datasets.items() if split in dataset]
        streams = [name for name in names if isinstance(datasets[name][split], TrainStream)]
        if split != "train" and len(names) > 1:
            raise UserError(
                f"datasets: {' and '.join(names)} each have a split {split}, which LAVIS takes from one data set only; "
                f"name one of them, or leave {split} out of the others"
            )
        if training and len(streams) > 1:
            raise UserError(
                f"datasets: {' and '.join(streams)} each stream their train split without an end, so LAVIS would read "
                "the first of them alone; put their images and annotations into one folder and pack that"
            )


def _check_shards(name: str, stream: Any, cfg: Any) -> None:
    """Raise UserError if a worker of a process would go without a shard of a train stream."""
    readers = max(1, cfg.run_cfg.num_workers) * get_world_size()
    if isinstance(stream, TrainStream) and len(stream.shards) < readers:
        more = f"set datasets.{name}.train_shards={readers}"
        if "train_shards" not in cfg.datasets_cfg[name]:
            more = f"pack again with --shard-samples {max(1, stream.n_images // readers)}"
        raise UserError(
            f"datasets.{name}: {len(stream.shards)} train shards for run.num_workers={cfg.run_cfg.num_workers} x "
            f"{get_world_size()} processes, at least {readers} are needed; {more} (the split has "
            f"{stream.n_images} images), or fewer workers"
        )

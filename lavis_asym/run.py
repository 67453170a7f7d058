"""What `python -m lavis.train` and `python -m lavis.evaluate` do: LAVIS's own steps, with `register()` first."""

import argparse
import os
import random
import sys
import warnings
from pathlib import Path
from typing import List, Optional

EPILOG = """
examples:
  python -m lavis.{verb} --cfg-path projects/asym/demo.yaml
  python -m lavis.{verb} --cfg-path projects/asym/custom.yaml --options datasets.asym_custom.root=DIR {more}

A relative --cfg-path that does not exist is looked up among the files that came with lavis-asym. Every key is listed,
with its default, in configs/run.yaml, configs/models/*.yaml and configs/datasets/*.yaml.
"""


def main(verb: str, arguments: Optional[List[str]] = None) -> int:
    """Run a command. `verb` is "train" or "evaluate"; returns the exit code, 2 for a fault that the user can mend."""
    more = "run.max_epoch=3" if verb == "train" else "model.finetuned=RUN/checkpoint_best.pth run.test_splits=[val]"
    parser = argparse.ArgumentParser(
        prog=f"python -m lavis.{verb}",
        allow_abbrev=False,
        description="Train a model." if verb == "train" else "Evaluate a checkpoint on run.test_splits.",
        epilog=EPILOG.format(verb=verb, more=more),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--cfg-path", required=True, help="path to configuration file.")
    parser.add_argument(
        "--options",
        nargs="+",
        action="extend",
        metavar="KEY=VALUE",
        help="override settings of the configuration, as in run.seed=1",
    )
    args = parser.parse_args(arguments)

    quiet()
    from lavis_asym.errors import UserError

    try:
        _run(args, verb)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    return 0


def quiet() -> None:
    """What LAVIS and its packages say while they are imported concerns no user."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # its threads do not survive the loaders' forks
    warnings.filterwarnings("ignore", category=FutureWarning)
    warnings.filterwarnings("ignore", message="pkg_resources is deprecated")
    warnings.filterwarnings("ignore", message="'pin_memory' argument is set as true")  # LAVIS sets it on CPUs too


def _run(args: argparse.Namespace, verb: str) -> None:
    print("Importing LAVIS (takes about ten seconds) ...", file=sys.stderr)
    from lavis_asym.registration import register_all

    register_all()
    import lavis.common.dist_utils as dist_utils
    import lavis.common.utils as utils
    import lavis.tasks as tasks
    from lavis.common.logger import setup_logger
    from lavis.common.registry import registry

    from lavis_asym.config import build_config

    cfg = build_config(args)
    if verb == "evaluate":
        cfg.config.run.evaluate = True
        if cfg.model_cfg.arch == "asym_retrieval" and not cfg.model_cfg.finetuned:
            print("model.finetuned is not set: the scores are those of an untrained head", file=sys.stderr)
    dist_utils.init_distributed_mode(cfg.run_cfg)
    job_id = _broadcast(utils.now())
    setup_logger()
    cfg.pretty_print()

    task = tasks.setup_task(cfg)
    datasets = task.build_datasets(cfg)
    # after the data, so that a run that had to cache features starts from the same weights as one that found them
    setup_seeds(cfg.run_cfg.seed + dist_utils.get_rank())
    complete_schedule(cfg.run_cfg, datasets, dist_utils.get_world_size())
    model = task.build_model(cfg)
    runner_class = registry.get_runner_class(cfg.run_cfg.get("runner", "runner_base"))
    runner = runner_class(cfg=cfg, job_id=job_id, task=task, model=model, datasets=datasets)
    if verb == "evaluate":
        runner.evaluate(skip_reload=True)
    else:
        _train(runner)

    results = [Path(runner.result_dir) / f"{split}.json" for split in cfg.run_cfg.get("test_splits", [])]
    results = [path for path in results if path.is_file()]
    sys.stderr.flush()
    if dist_utils.is_main_process():
        print(
            "".join(f"Results: {path}\n" for path in results) or f"Run folder: {runner.output_dir}\n",
            end="",
            flush=True,
        )


def _train(runner) -> None:
    """LAVIS's; a run that is stopped says how it goes on."""
    from lavis.common.dist_utils import is_main_process

    try:
        runner.train()
    except KeyboardInterrupt:
        last = Path(runner.output_dir) / "checkpoint_last.pth"
        if is_main_process() and last.is_file():
            print(
                f"\nTo go on after the last finished pass, add --options run.resume_ckpt_path={last}", file=sys.stderr
            )
        raise


def complete_schedule(run, datasets, world_size: int) -> None:
    """Turn `max_epoch` passes over a stream into the iterations that `runner_iter` counts, where they are not set.

    A batch larger than a pass becomes a pass, so that small data trains too.

    Raises:
        UserError: a stream for a runner that counts its length, or iterations that end between two validations, where
            LAVIS would train on to the next.
    """
    from lavis_asym.data.stream import TrainStream
    from lavis_asym.errors import UserError

    streams = [d["train"] for d in datasets.values() if isinstance(d.get("train"), TrainStream)]
    if streams and run.runner != "runner_iter":
        raise UserError(f"run.runner: {run.runner} counts the steps of an epoch, a stream of shards has none; "
                        "use runner_iter")  # fmt: skip
    if run.get("evaluate"):
        run.max_iters = run.iters_per_inner_epoch = 1  # runner_iter wants them, to take no step
    if run.get("evaluate") or not streams:
        return
    images = sum(stream.n_images for stream in streams)
    if run.batch_size_train * world_size > images:
        given, run.batch_size_train = run.batch_size_train, max(1, images // world_size)
        print(f"run.batch_size_train: {run.batch_size_train} instead of {given}, as train has {images} images",
              file=sys.stderr)  # fmt: skip
    one_pass = max(1, images // (run.batch_size_train * world_size))
    if run.iters_per_inner_epoch is None:
        run.iters_per_inner_epoch = min(one_pass, run.max_iters or one_pass)
    if run.max_iters is None:
        run.max_iters = run.max_epoch * run.iters_per_inner_epoch
    between = run.max_iters % run.iters_per_inner_epoch
    if between:
        raise UserError(
            f"run.max_iters: {run.max_iters} steps end between two validations, run.iters_per_inner_epoch="
            f"{run.iters_per_inner_epoch} (by default one pass) apart; set run.max_iters="
            f"{run.max_iters - between + run.iters_per_inner_epoch}, or run.iters_per_inner_epoch to what divides it"
        )


def setup_seeds(seed: int) -> None:
    import numpy as np
    import torch

    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True


def _broadcast(value: str) -> str:
    """The main process's value, in every process."""
    import torch.distributed as dist

    if not dist.is_available() or not dist.is_initialized():
        return value
    holder = [value]
    dist.broadcast_object_list(holder)
    return holder[0]

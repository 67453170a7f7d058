"""Repairs of faults in LAVIS 1.0.2, one function a fault, each made only while the fault is there.

LAVIS has been quiet since 2024, so nothing here waits for it. Most repairs change one fragment of a LAVIS function: the
fragment is the fault, and where it is gone (in a newer LAVIS) nothing is changed. The classes stay
LAVIS's own. `#n` are threads of github.com/salesforce/LAVIS; "source" means seen in its code and by running it.
"""

import inspect
import linecache
import logging
import os
import textwrap
import uuid
from datetime import datetime
from typing import Any, Callable, Dict, List, NamedTuple, Set, Tuple

from lavis_asym.errors import UserError


class Replacement(NamedTuple):
    """An attribute of LAVIS that a repair replaced."""

    owner: Any
    name: str
    original: Any


applied: Dict[str, List[Replacement]] = {}
"""What each repair has replaced, by the repair's name; a repair that found no fault is not listed."""


def apply() -> None:
    """Make every repair whose fault is there. Safe to call again."""
    for repair in REPAIRS:
        replaced = None if repair.__name__ in applied else repair()
        if replaced:
            applied[repair.__name__] = replaced
            logging.getLogger(__name__).debug("repaired LAVIS: %s", repair.__name__)


def model_on_its_own_device() -> List[Replacement]:
    """#477, #135: `RunnerBase.model` is None when the model already sits on the run's device, as on every CPU run."""
    from lavis.runners.runner_base import RunnerBase

    return _mend(RunnerBase, "model", ("if self._model.device != self.device:", "if self._wrapped_model is None:"))


def loaders_without_a_gpu() -> List[Replacement]:
    """#76: `PrefetchLoader` opens a CUDA stream, so that every map-style loader fails without a GPU."""
    from lavis.datasets.datasets.dataloader_utils import PrefetchLoader

    return _mend(
        PrefetchLoader,
        "__init__",
        ("torch.cuda.Stream()", "torch.cuda.Stream() if torch.cuda.is_available() else None"),
    ) + _mend(
        PrefetchLoader,
        "__iter__",
        (
            "    self.preload(loader_it)\n",
            "    if self.stream is None:\n        yield from loader_it\n        return\n    self.preload(loader_it)\n",
        ),
    )


def processes_without_a_gpu() -> List[Replacement]:
    """Source: torchrun on CPUs fails, since the process group, DDP and the meters' sums insist on CUDA."""
    from lavis.common import dist_utils
    from lavis.common.logger import SmoothedValue
    from lavis.runners.runner_base import RunnerBase

    return (
        _mend(
            dist_utils,
            "init_distributed_mode",
            (
                "    torch.cuda.set_device(args.gpu)\n",
                "    torch.cuda.is_available() and torch.cuda.set_device(args.gpu)\n",
            ),
            ('args.dist_backend = "nccl"', 'args.dist_backend = "nccl" if torch.cuda.is_available() else "gloo"'),
        )
        + _mend(
            RunnerBase,
            "model",
            (
                "device_ids=[self.config.run_cfg.gpu]",
                "device_ids=[self.config.run_cfg.gpu] if self.cuda_enabled else None",
            ),
        )
        + _mend(
            SmoothedValue,
            "synchronize_between_processes",
            ('device="cuda"', 'device="cuda" if dist.get_backend() == "nccl" else "cpu"'),
        )
    )


def no_barrier_in_a_single_process() -> List[Replacement]:
    """#58, #537: both runners call `dist.barrier()` without a process group and die after their first validation."""
    return [
        replacement
        for runner in _runners()
        for replacement in _mend(
            runner, "train", ("dist.barrier()", "dist.is_available() and dist.is_initialized() and dist.barrier()")
        )
    ]


def schedules_are_registered() -> List[Replacement]:
    """Source: the learning rate schedules exist only once `lavis.common.optims` was imported, which nothing does."""
    import lavis.common.optims  # noqa: F401

    return []


def runs_of_their_own_folder() -> List[Replacement]:
    """Source: `now()` cuts off the last digit of the minute, so that two runs within ten minutes share a folder."""
    import lavis.common.utils as utils

    if len(utils.now()) >= len("YYYYMMDDHHMMSS"):
        return []
    return [_replace(utils, "now", lambda: f"{datetime.now():%Y%m%d%H%M%S}-{uuid.uuid4().hex[:4]}")]


def output_in_the_working_directory() -> List[Replacement]:
    """Source: a relative `run.output_dir` is put under site-packages/lavis."""
    from lavis.runners.runner_base import RunnerBase

    return _mend(
        RunnerBase,
        "setup_output_dir",
        ("lib_root / self.config.run_cfg.output_dir", "Path(self.config.run_cfg.output_dir).expanduser().resolve()"),
    )


def many_runs_in_one_process() -> List[Replacement]:
    """Source: `registry.register_path` refuses a second runner, whose folders have the names of the first's."""
    from lavis.common.registry import Registry

    return _mend(
        Registry,
        "register_path",
        (
            '    if name in cls.mapping["paths"]:\n'
            "        raise KeyError(\"Name '{}' already registered.\".format(name))\n",
            "",
        ),
    )


def cache_in_the_home_folder() -> List[Replacement]:
    """Source: `cache_root` is a folder under /export. $LAVIS_CACHE, or else ~/.cache/lavis, takes its place."""
    from lavis.common.registry import registry

    paths, chosen = registry.mapping["paths"], os.environ.get("LAVIS_CACHE")
    default = paths["cache_root"].startswith("/export/") and not os.path.isdir(paths["cache_root"])
    if not default and not chosen:
        return []
    original = paths["cache_root"]
    paths["cache_root"] = os.path.abspath(os.path.expanduser(chosen or "~/.cache/lavis"))
    return [Replacement(paths, "cache_root", original)] if paths["cache_root"] != original else []


def resume_with_frozen_weights() -> List[Replacement]:
    """#153: `runner_base` saves no frozen parameter but loads strictly. Missing keys may be frozen ones, and no others.

    Also, source: checkpoints are read as unrestricted pickles where torch still allows it, and one that cannot be
    resumed is a KeyError.
    """
    strict = "self.unwrap_dist_model(self.model).load_state_dict(state_dict)"
    replaced = []
    for runner in _runners():
        replaced += _mend(
            runner,
            "_load_checkpoint",
            (strict, "self._load_trained(state_dict, url_or_filename)"),
            ("torch.load(", "self._read_state("),
            (", map_location=self.device)", ")"),
        )
    if replaced:
        replaced += [_replace(_runners()[0], method.__name__, method) for method in (_load_trained, _read_state)]
    return replaced


def _load_trained(self, state: Dict[str, Any], path: str) -> None:
    """A method for LAVIS's runners: load a state that may lack what is not trained."""
    from lavis_asym.models.checkpoint import load_trained

    load_trained(self.unwrap_dist_model(self.model), state, f"run.resume_ckpt_path: {path}")


def _read_state(self, path: str) -> Dict[str, Any]:
    """A method for LAVIS's runners: what a runner of this kind saved."""
    from lavis_asym.models.checkpoint import read_run

    state = read_run(path)
    unit = _unit(type(self))
    if unit not in state:
        raise UserError(
            f"run.resume_ckpt_path: {path} does not count {unit}, so it is of another run.runner; set that one"
        )
    return state


def resume_at_the_next_iteration() -> List[Replacement]:
    """Source: a checkpoint counts the iterations done, but `runner_iter` resumes at that number plus one."""
    from lavis.runners.runner_iter import RunnerIter

    return _mend(RunnerIter, "_load_checkpoint", ('checkpoint["iters"] + 1', 'checkpoint["iters"]'))


def best_metric_is_kept() -> List[Replacement]:
    """Source: `best_agg_metric` starts at 0, so a model at 0 has no best checkpoint and the test dies; and a resumed
    run forgets it, so that a worse epoch becomes the best. It starts at -inf, and is saved and restored. Only a split
    named val selects, whatever `valid_splits` says: now its first."""
    replaced = []
    for runner in _runners():
        best = f"best_{_unit(runner)}"
        replaced += _mend(
            runner,
            "train",
            ("    best_agg_metric = 0\n", ""),
            (f"    {best} = 0\n", ""),
            ("> best_agg_metric", "> self.best_agg_metric"),
            (f"{best}, best_agg_metric =", f"self.{best}, self.best_agg_metric ="),
            (f'"{best}": {best}', f'"{best}": self.{best}'),
            ('split_name == "val"', "split_name == self.valid_splits[0]"),
        )
        replaced += _mend(
            runner,
            "_save_checkpoint",
            (
                "    save_obj = {\n",
                f'    save_obj = {{\n        "best_agg_metric": self.best_agg_metric, "{best}": self.{best},\n',
            ),
        )
        replaced += _mend(
            runner,
            "_load_checkpoint",
            (
                '    state_dict = checkpoint["model"]\n',
                '    self._restore_best(checkpoint, url_or_filename)\n    state_dict = checkpoint["model"]\n',
            ),
        )
    if replaced:
        start = {"best_agg_metric": float("-inf"), "best_epoch": 0, "best_iters": 0, "_restore_best": _restore_best}
        replaced += [_replace(_runners()[0], name, value) for name, value in start.items()]
    return replaced


def _restore_best(self, checkpoint: Dict[str, Any], path: str) -> None:
    """A method for LAVIS's runners: the best epoch so far, with its weights in the new run's folder."""
    import torch
    from lavis.common.dist_utils import is_main_process

    if checkpoint.get("best_agg_metric", float("-inf")) == float("-inf"):
        return
    unit, best = _unit(type(self)), checkpoint
    if best.get(f"best_{unit}", best[unit]) != best[unit]:
        beside = os.path.join(os.path.dirname(path), "checkpoint_best.pth")
        if not os.path.isfile(beside):
            raise UserError(
                f"run.resume_ckpt_path: {path} is not of its run's best epoch; put {beside}, which is, there"
            )
        best = self._read_state(beside)
    self.best_agg_metric = best["best_agg_metric"]
    setattr(self, f"best_{unit}", best[unit])
    if is_main_process():
        torch.save(best, os.path.join(self.output_dir, "checkpoint_best.pth"))


def best_weights_are_tested() -> List[Replacement]:
    """Source: `runner_iter` tests its last weights although it has selected the best ones; the last weights of a stream
    are said to be of epoch 0, and of a run resumed at its end they are not tested but a NameError."""
    runner_base, runner_iter = _runners()
    return _mend(
        runner_iter,
        "train",
        (
            "self.evaluate(cur_epoch=self.cur_epoch)",
            'self.evaluate("best" if self.valid_splits else self._progress(self.max_iters), self.evaluate_only)',
        ),
    ) + _mend(
        runner_base,
        "train",
        ('"best" if len(self.valid_splits) > 0 else cur_epoch', '"best" if self.valid_splits else self.max_epoch - 1'),
    )


def last_state_is_saved() -> List[Replacement]:
    """Source: with a validation split only the best epoch is saved, from which a run that was stopped long after it
    would go on; the last is now `checkpoint_last.pth`. `runner_iter` saves the frozen parameters each time."""
    runner_base, runner_iter = _runners()
    replaced = _mend(
        runner_iter,
        "_save_checkpoint",
        ("self.unwrap_dist_model(self.model).state_dict(),", "self._trained_state(),"),
    )
    for runner, counted in ((runner_base, "cur_epoch"), (runner_iter, "end_iters")):
        stop = "        if self.evaluate_only:\n            break\n"
        replaced += _mend(
            runner, "train", (stop, f'{stop}        self._save_checkpoint({counted}, name="last")\n')
        ) + _mend(
            runner,
            "_save_checkpoint",
            ("is_best=False):", "is_best=False, name=None):"),
            ('"best" if is_best else ', '"best" if is_best else name or '),
        )
    if replaced:
        replaced += [
            _replace(runner_base, "_trained_state", _trained_state),
            *_mend(
                runner_base,
                "_reload_best_model",
                (
                    'model.load_state_dict(checkpoint["model"])',
                    'self._load_trained(checkpoint["model"], checkpoint_path)',
                ),
            ),
        ]
    return replaced


def _trained_state(self) -> Dict[str, Any]:
    """A method for LAVIS's runners: the model's state without the parameters that are not trained."""
    model = self.unwrap_dist_model(self.model)
    frozen = _frozen(model)
    return {name: value for name, value in model.state_dict().items() if name not in frozen}


def _frozen(model: Any) -> Set[str]:
    return {name for name, parameter in model.named_parameters() if not parameter.requires_grad}


def checkpoints_are_whole() -> List[Replacement]:
    """Source: a checkpoint is written over the one before, so that a run killed meanwhile has lost both."""
    return [
        replacement
        for runner in _runners()
        for replacement in _mend(
            runner,
            "_save_checkpoint",
            (
                "    torch.save(save_obj, save_to)\n",
                '    torch.save(save_obj, save_to + ".partial")\n    os.replace(save_to + ".partial", save_to)\n',
            ),
        )
    ]


def models_without_a_type() -> List[Replacement]:
    """Source: `load_model(name)` fails, since model_type has no default; a wrong one fails without naming the types."""
    from lavis import models
    from lavis.models.base_model import BaseModel, get_abs_path

    if inspect.signature(models.load_model).parameters["model_type"].default is not inspect.Parameter.empty:
        return []

    def default_config_path(cls, model_type=None):
        types = cls.PRETRAINED_MODEL_CONFIG_DICT
        if model_type is None:
            model_type = getattr(cls, "DEFAULT_MODEL_TYPE", next(iter(types)) if len(types) == 1 else None)
        if model_type not in types:
            raise ValueError(f"{cls.__name__}: unknown model type {model_type!r}, expected one of {', '.join(types)}")
        return get_abs_path(types[model_type])

    # of the very functions, since users hold them: `from lavis.models import load_model`
    replaced = []
    for function in (models.load_model, models.load_model_and_preprocess):
        replaced.append(Replacement(function, "__defaults__", function.__defaults__))
        function.__defaults__ = (None, *function.__defaults__)
    return [*replaced, _replace(BaseModel, "default_config_path", classmethod(default_config_path))]


REPAIRS: Tuple[Callable[[], List[Replacement]], ...] = (
    model_on_its_own_device,
    loaders_without_a_gpu,
    processes_without_a_gpu,
    no_barrier_in_a_single_process,
    schedules_are_registered,
    runs_of_their_own_folder,
    output_in_the_working_directory,
    many_runs_in_one_process,
    cache_in_the_home_folder,
    resume_with_frozen_weights,
    resume_at_the_next_iteration,
    best_metric_is_kept,
    best_weights_are_tested,
    last_state_is_saved,
    checkpoints_are_whole,
    models_without_a_type,
)


def _runners() -> Tuple[type, type]:
    from lavis.runners.runner_base import RunnerBase
    from lavis.runners.runner_iter import RunnerIter

    return RunnerBase, RunnerIter


def _unit(runner: type) -> str:
    """What a runner counts, and what its checkpoints call it."""
    return "iters" if issubclass(runner, _runners()[1]) else "epoch"


def _replace(owner: Any, name: str, new: Any) -> Replacement:
    original = vars(owner).get(name)
    setattr(owner, name, new)
    return Replacement(owner, name, original)


def _mend(owner: Any, name: str, *changes: Tuple[str, str]) -> List[Replacement]:
    """Compile a function of LAVIS again with fragments of its source changed, if all of them are there.

    Args:
        owner: the class or module that defines it.
        name: the function's name.
        changes: fragment of the dedented source -> what takes its place, wherever it stands.
    """
    member = vars(owner)[name]
    function = member.fget if isinstance(member, property) else getattr(member, "__func__", member)
    source = textwrap.dedent(inspect.getsource(function))
    if any(fault not in source for fault, _ in changes):
        return []
    for fault, repair in changes:
        source = source.replace(fault, repair)
    place = f"<{owner.__name__}.{name} of LAVIS, repaired by lavis_asym.compat>"
    linecache.cache[place] = (len(source), None, source.splitlines(keepends=True), place)  # for tracebacks
    namespace: Dict[str, Any] = {}
    exec(compile(source, place, "exec"), inspect.unwrap(function).__globals__, namespace)
    return [_replace(owner, name, namespace[name])]

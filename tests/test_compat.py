"""Each repair of LAVIS: the fault shows without it and is gone with it, on LAVIS's own classes."""

import builtins
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from omegaconf import OmegaConf
from torch.utils.data import DataLoader, Dataset
from torch.utils.data.dataloader import default_collate

from lavis_asym import compat
from lavis_asym.errors import UserError

needs_no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="the fault shows only without a GPU")
both_runners = pytest.mark.parametrize("name", ["runner_base", "runner_iter"])


@pytest.fixture(autouse=True)
def _registered(registered):
    pass


@pytest.fixture
def without(monkeypatch):
    """LAVIS as it was before a repair."""

    def undo(repair):
        for owner, name, original in reversed(compat.applied[repair]):
            if isinstance(owner, dict):
                monkeypatch.setitem(owner, name, original)
            else:
                monkeypatch.setattr(owner, name, original)

    return undo


class Pairs(Dataset):
    def __len__(self):
        return 4

    def __getitem__(self, k):
        return {"x": torch.full((3,), float(k))}

    def collater(self, samples):
        return default_collate(samples)


@pytest.fixture
def toy_run(tmp_path):
    """Makes a runner of LAVIS around a model with a frozen and a trained layer; `metrics`: what it validates to."""
    from lavis.common.registry import registry
    from lavis.models.base_model import BaseModel
    from lavis.tasks.base_task import BaseTask

    class Toy(BaseModel):
        def __init__(self):
            super().__init__()
            self.trained, self.frozen = torch.nn.Linear(3, 1), torch.nn.Linear(3, 3).requires_grad_(False)

        def forward(self, samples):
            return {"loss": self.trained(self.frozen(samples["x"])).mean()}

    class ToyTask(BaseTask):
        def __init__(self, metrics):
            super().__init__()
            self.metrics, self.weights = list(metrics), []

        def evaluation(self, model, data_loader):
            self.weights.append(model.trained.weight.clone())
            return {"agg_metrics": self.metrics.pop(0) if self.metrics else -1.0}

        def after_evaluation(self, val_result, **_):
            return val_result

    def make(name="runner_base", metrics=(), model=None, **run):
        epochs = len(metrics)
        run = {
            "device": "cpu", "distributed": False, "gpu": None, "output_dir": str(tmp_path / "runs"), "evaluate": False,
            "max_epoch": epochs, "max_iters": max(1, 2 * epochs), "iters_per_inner_epoch": 2, "init_lr": 0.1,
            "min_lr": 0.1, "lr_sched": "linear_warmup_cosine_lr", "weight_decay": 0.0, "batch_size_train": 2,
            "batch_size_eval": 2, "num_workers": 0, "train_splits": ["train"], "valid_splits": ["val"],
            "test_splits": ["val"], **run,
        }  # fmt: skip
        config = SimpleNamespace(run_cfg=OmegaConf.create(run), to_dict=lambda: {})
        datasets = {"toy": {"train": Pairs(), "val": Pairs()}}
        make.runs += 1
        return registry.get_runner_class(name)(config, ToyTask(metrics), model or Toy(), datasets, f"run{make.runs}")

    make.runs = 0
    return make


def test_every_repair_found_its_fault_in_this_lavis():
    found = {*compat.applied, "schedules_are_registered"}
    assert found == {repair.__name__ for repair in compat.REPAIRS}


def test_a_repair_is_made_once():
    from lavis.runners.runner_iter import RunnerIter

    repaired = RunnerIter.train
    compat.apply()
    assert RunnerIter.train is repaired


def test_a_fault_that_is_gone_is_left_alone():
    class Mended:
        def run(self):
            return "mended upstream"

    mended = Mended.run
    assert compat._mend(Mended, "run", ("the fault", "its repair")) == [] and Mended.run is mended


def test_model_on_its_own_device(toy_run, without):
    runner = toy_run()
    assert runner.model is runner._model and runner.model.device == torch.device("cpu")
    without("model_on_its_own_device")
    assert toy_run().model is None


@needs_no_gpu
def test_loaders_without_a_gpu(without):
    from lavis.datasets.datasets.dataloader_utils import PrefetchLoader

    loader = PrefetchLoader(DataLoader(Pairs(), batch_size=2))
    assert [batch["x"].shape[0] for batch in loader] == [2, 2] and len(loader.dataset) == 4
    without("loaders_without_a_gpu")
    with pytest.raises((AssertionError, RuntimeError)):
        PrefetchLoader(DataLoader(Pairs(), batch_size=2))


@needs_no_gpu
def test_processes_without_a_gpu(toy_run, without, monkeypatch):
    import torch.distributed as dist
    from lavis.common import dist_utils
    from lavis.common.logger import SmoothedValue

    monkeypatch.setattr(builtins, "print", builtins.print)  # LAVIS replaces it in every process
    for name, value in (("RANK", 0), ("WORLD_SIZE", 1), ("LOCAL_RANK", 0), ("MASTER_PORT", 29531)):
        monkeypatch.setenv(name, str(value))
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    args = SimpleNamespace(dist_url="env://")
    dist_utils.init_distributed_mode(args)
    try:
        assert args.dist_backend == dist.get_backend() == "gloo"
        meter = SmoothedValue()
        meter.update(3.0)
        meter.synchronize_between_processes()
        assert meter.global_avg == 3.0
        model = toy_run(distributed=True, gpu=0).model
        assert isinstance(model, torch.nn.parallel.DistributedDataParallel)
    finally:
        dist.destroy_process_group()
    without("processes_without_a_gpu")
    with pytest.raises((AssertionError, RuntimeError)):
        dist_utils.init_distributed_mode(args)


@both_runners
def test_no_barrier_in_a_single_process(toy_run, without, name):
    toy_run(name, metrics=[1.0]).train()
    without("no_barrier_in_a_single_process")
    with pytest.raises((ValueError, RuntimeError), match="process group"):
        toy_run(name, metrics=[1.0]).train()


def test_schedules_are_registered(monkeypatch):
    from lavis.common.registry import registry

    monkeypatch.delitem(sys.modules, "lavis.common.optims")
    monkeypatch.setitem(registry.mapping, "lr_scheduler_name_mapping", {})
    assert registry.get_lr_scheduler_class("linear_warmup_cosine_lr") is None
    compat.schedules_are_registered()
    assert registry.get_lr_scheduler_class("linear_warmup_cosine_lr") is not None


def test_runs_of_their_own_folder(without):
    import lavis.common.utils as utils

    assert utils.now() != utils.now()
    without("runs_of_their_own_folder")
    assert len(utils.now()) == 11, "the last digit of the minute is cut off"


def test_output_in_the_working_directory(toy_run, without, tmp_path, monkeypatch):
    from lavis.common.registry import registry

    monkeypatch.setitem(registry.mapping["paths"], "library_root", str(tmp_path / "site-packages"))
    monkeypatch.chdir(tmp_path)
    assert toy_run(output_dir="out").output_dir == tmp_path / "out" / "run1"
    without("output_in_the_working_directory")
    assert toy_run(output_dir="out").output_dir == tmp_path / "site-packages" / "out" / "run2"


def test_many_runs_in_one_process(toy_run, without):
    assert toy_run().output_dir != toy_run().output_dir
    without("many_runs_in_one_process")
    with pytest.raises(KeyError, match="already registered"):
        toy_run()


def test_cache_in_the_home_folder(monkeypatch):
    from lavis.common.registry import registry

    paths = registry.mapping["paths"]
    monkeypatch.setitem(paths, "cache_root", "/export/home/.cache/lavis")
    monkeypatch.delenv("LAVIS_CACHE", raising=False)
    compat.cache_in_the_home_folder()
    assert paths["cache_root"] == str(Path("~/.cache/lavis").expanduser())
    monkeypatch.setenv("LAVIS_CACHE", "~/elsewhere")
    compat.cache_in_the_home_folder()
    assert paths["cache_root"] == str(Path("~/elsewhere").expanduser())
    monkeypatch.delenv("LAVIS_CACHE")
    monkeypatch.setitem(paths, "cache_root", "/a/folder/of/the/user")
    assert compat.cache_in_the_home_folder() == [] and paths["cache_root"] == "/a/folder/of/the/user"


@both_runners
def test_resume_with_frozen_weights(toy_run, without, name):
    first = toy_run(name, metrics=[1.0])
    first.train()
    path = first.output_dir / "checkpoint_best.pth"
    checkpoint = torch.load(path, weights_only=True)
    checkpoint["model"] = {k: v for k, v in checkpoint["model"].items() if not k.startswith("frozen")}
    torch.save(checkpoint, path)
    resumed = toy_run(name)
    resumed._load_checkpoint(str(path))
    assert torch.equal(resumed.model.trained.weight, first.model.trained.weight)

    other = "runner_base" if name == "runner_iter" else "runner_iter"
    with pytest.raises(UserError, match=r"run.resume_ckpt_path: .*checkpoint_best.pth .* of another run.runner"):
        toy_run(other)._load_checkpoint(str(path))

    del checkpoint["model"]["trained.bias"]
    torch.save(checkpoint, path)
    with pytest.raises(UserError, match="resume_ckpt_path: .*another architecture.*\n  - trained.bias: missing"):
        toy_run(name)._load_checkpoint(str(path))

    torch.save({"model": first.model.state_dict()}, path)
    with pytest.raises(UserError, match=r"run.resume_ckpt_path: .*checkpoint_best.pth holds weights alone"):
        toy_run(name)._load_checkpoint(str(path))
    path.write_bytes(b"half")
    with pytest.raises(UserError, match=r"run.resume_ckpt_path: .*checkpoint_best.pth: no checkpoint"):
        toy_run(name)._load_checkpoint(str(path))

    torch.save(checkpoint, path)
    without("resume_with_frozen_weights")
    with pytest.raises(RuntimeError, match="Missing key.*frozen"):
        toy_run(name)._load_checkpoint(str(path))


def test_resume_at_the_next_iteration(toy_run, without):
    runner = toy_run("runner_iter", metrics=[1.0])
    runner.train()
    path = str(runner.output_dir / "checkpoint_best.pth")
    runner._load_checkpoint(path)
    assert runner.start_iters == 2
    without("resume_at_the_next_iteration")
    runner._load_checkpoint(path)
    assert runner.start_iters == 3


@both_runners
def test_best_metric_is_kept(toy_run, without, name):
    first = toy_run(name, metrics=[0.0])
    first.train()
    best = first.output_dir / "checkpoint_best.pth"
    assert best.is_file(), "a metric of 0 is the best so far"

    second = toy_run(name, metrics=[5.0])
    second.train()
    best = second.output_dir / "checkpoint_best.pth"
    worse = toy_run(name, metrics=[3.0, 4.0], resume_ckpt_path=str(best))
    worse.train()
    kept = torch.load(worse.output_dir / "checkpoint_best.pth", weights_only=True)
    assert kept["best_agg_metric"] == 5.0
    assert torch.equal(kept["model"]["trained.weight"], second.model.trained.weight)

    without("best_metric_is_kept")
    with pytest.raises(FileNotFoundError):
        toy_run("runner_base", metrics=[0.0]).train()


def test_best_weights_are_tested(toy_run, without):
    def tested_weights():
        runner = toy_run("runner_iter", metrics=[5.0, 1.0])
        runner.train()
        return runner.task.weights

    best, last, tested = tested_weights()
    assert torch.equal(tested, best) and not torch.equal(tested, last)
    without("best_weights_are_tested")
    best, last, tested = tested_weights()
    assert torch.equal(tested, last)


@both_runners
def test_the_last_weights_are_named(toy_run, without, name):
    """And a run that is resumed at its end tests them."""

    def tested(**more):
        runner = toy_run(name, valid_splits=[], max_epoch=2, max_iters=4, **more)
        epochs = []
        runner.task.after_evaluation = lambda val_result, split_name, epoch: epochs.append(str(epoch))
        runner.train()
        assert len(epochs) == 1
        return epochs[0], str(runner.output_dir / "checkpoint_last.pth")

    last = "1" if name == "runner_base" else "_iters=4"
    said, path = tested()
    assert said.endswith(last) and tested(resume_ckpt_path=path)[0].endswith(last)
    without("best_weights_are_tested")
    if name == "runner_base":
        with pytest.raises(UnboundLocalError):
            tested(resume_ckpt_path=path)
    else:
        assert tested(resume_ckpt_path=path)[0] == "0"


@both_runners
def test_last_state_is_saved(toy_run, without, name):
    first = toy_run(name, metrics=[1.0, 5.0, 3.0])
    first.train()
    files = {file: first.output_dir / f"checkpoint_{file}.pth" for file in ("best", "last")}
    saved = {file: torch.load(path, weights_only=True) for file, path in files.items()}
    assert not any(name.startswith("frozen") for state in saved.values() for name in state["model"])
    counted, per_epoch = ("iters", 2) if name == "runner_iter" else ("epoch", 1)
    assert saved["last"][counted] - saved["best"][counted] == per_epoch
    assert saved["last"]["best_agg_metric"] == 5.0
    best, last = first.task.weights[1:3]
    assert torch.equal(saved["last"]["model"]["trained.weight"], last)

    resumed = toy_run(name, metrics=[4.0], max_epoch=4, max_iters=8, resume_ckpt_path=str(files["last"]))
    resumed.train()
    validated, tested = resumed.task.weights
    assert torch.equal(tested, best) and not torch.equal(validated, last), "one epoch was left, worse than the best"
    again = torch.load(resumed.output_dir / "checkpoint_last.pth", weights_only=True)
    assert again[counted] == saved["last"][counted] + per_epoch and again["best_agg_metric"] == 5.0
    assert again[f"best_{counted}"] == saved["best"][counted]
    steps = [state["step"].item() for state in again["optimizer"]["state"].values()]
    assert steps == [8, 8], "of four epochs"

    files["best"].unlink()
    with pytest.raises(UserError, match=r"run.resume_ckpt_path: .*checkpoint_last.pth .*put .*checkpoint_best.pth"):
        toy_run(name)._load_checkpoint(str(files["last"]))

    without("last_state_is_saved")
    unrepaired = toy_run(name, metrics=[5.0, 1.0])
    unrepaired.train()
    assert [path.name for path in unrepaired.output_dir.glob("*.pth")] == ["checkpoint_best.pth"]


@both_runners
def test_checkpoints_are_whole(toy_run, without, monkeypatch, name):
    def killed_while_saving(runner):
        runner.train()
        with monkeypatch.context() as patch:

            def save(content, path):
                Path(path).write_bytes(b"half")
                raise KeyboardInterrupt

            patch.setattr(torch, "save", save)
            with pytest.raises(KeyboardInterrupt):
                runner._save_checkpoint(9, is_best=True)
        return runner.output_dir / "checkpoint_best.pth"

    torch.load(killed_while_saving(toy_run(name, metrics=[1.0])), weights_only=True)
    without("checkpoints_are_whole")
    assert killed_while_saving(toy_run(name, metrics=[1.0])).read_bytes() == b"half"


def test_models_without_a_type(without):
    from lavis.models import load_model
    from lavis.models.blip_models.blip_retrieval import BlipRetrieval

    assert type(load_model("asym_retrieval")).__name__ == "AsymRetrieval"
    with pytest.raises(ValueError, match="BlipRetrieval: unknown model type 'cocoo', expected one of coco, flickr"):
        BlipRetrieval.default_config_path("cocoo")
    without("models_without_a_type")
    with pytest.raises(TypeError, match="model_type"):
        load_model("asym_retrieval")

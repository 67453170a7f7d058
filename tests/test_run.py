"""Whole runs through LAVIS's own runners, on a few rendered scenes: train, validate, test, evaluate, resume, refuse."""

import json
import re
import shutil
import subprocess
import sys
from itertools import islice
from pathlib import Path

import pytest
import torch

from lavis_asym.evaluation import retrieval_metrics
from lavis_asym.run import main
from lavis_asym.tasks import AsymRetrievalTask

CUSTOM = "projects/asym/custom.yaml"


@pytest.fixture(autouse=True)
def _in_an_empty_directory(registered, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def storage(tmp_path_factory):
    """Shards and features, shared by the runs of this module as a user's runs share them."""
    return tmp_path_factory.mktemp("storage")


def options(root, storage, *more):
    return [
        f"datasets.asym_custom.root={root}", f"datasets.asym_custom.storage={storage}", "run.output_dir=out",
        "datasets.asym_custom.train_shards=4", "run.max_epoch=2", "run.batch_size_train=8", "run.warmup_steps=1",
        "run.evaluation.probe=false", "run.evaluation.graded=false", "run.evaluation.resamples=0",
        "model.fusion.heads=2", "model.fusion.scale_t2i=12", *more,
    ]  # fmt: skip


WHOLE = ["run.evaluation.probe=true", "run.evaluation.graded=true", "run.evaluation.resamples=50"]


def run(verb, path, *given):
    return main(verb, ["--cfg-path", str(path), "--options", *given])


def results(folder="out"):
    """The newest run folder, and its results by split."""
    newest = max(Path(folder).iterdir(), key=lambda path: path.stat().st_mtime_ns)
    return newest, {path.stem: json.loads(path.read_text()) for path in (newest / "result").glob("*.json")}


def scalar_steps(folder, name):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / "tensorboard")).Reload()
    return {event.step for event in events.Scalars(name)}


def metrics(result):
    return {name: value for name, value in result.items() if isinstance(value, float)}


@pytest.fixture(scope="module")
def trained(scenes_root, storage, registered, tmp_path_factory):
    """A finished run: its folder and its results."""
    place = tmp_path_factory.mktemp("trained") / "out"
    assert run("train", CUSTOM, *options(scenes_root, storage, f"run.output_dir={place}", *WHOLE)) == 0
    return results(place)


def test_a_run_leaves_its_metrics_weights_and_log(trained):
    folder, found = trained
    assert set(found) == {"val", "test"} and (folder / "checkpoint_best.pth").is_file()
    for split, result in found.items():
        names = {f"{side}_{name}" for side in ("txt", "img") for name in ("r1", "r5", "r10", "r_mean", "medr", "meanr")}
        assert set(metrics(result)) == names | {"r_mean", "rsum", "agg_metrics"}
        assert set(result) - set(metrics(result)) == {
            "protocol", "intervals", "duplicates", "by_length", "geometry", "graded", "probe"
        }  # fmt: skip
        protocol = result["protocol"]
        assert (protocol["data"], protocol["split"], protocol["images"]) == ("asym_custom", split, 6)
        assert (protocol["captions"], protocol["ties"], protocol["k_test"]) == (30, "against", 0)
        assert protocol["selection"] == "rsum of val" and len(protocol["weights"]) == 12
        assert result["probe"]["operators"]["replace_colour"]["trained"]
        for kind in ("md", "html", "run.json.gz"):
            assert (folder / "result" / f"{split}.{kind}").stat().st_size > 1000
    best, last = (torch.load(folder / f"checkpoint_{name}.pth", weights_only=True) for name in ("best", "last"))
    assert last["iters"] == 6 and last["best_iters"] == best["iters"]
    assert {result["protocol"]["epoch"] for result in found.values()} == {best["iters"] // 3}
    assert scalar_steps(folder, "val/rsum") == {1, 2} and scalar_steps(folder, "test/rsum") == {best["iters"] // 3}
    log = [json.loads(line) for line in (folder / "log.txt").read_text().splitlines() if line.startswith('{"')]
    assert sum("train_loss" in line for line in log) == 2 and max(line.get("val_rsum", 0) for line in log) > 0


def test_the_last_line_names_the_results(scenes_root, storage, capfd):
    assert run("train", CUSTOM, *options(scenes_root, storage, "run.max_epoch=1")) == 0
    last = capfd.readouterr().out.strip().splitlines()[-1]
    folder, _ = results()
    assert last == f"Results: {folder.resolve() / 'result' / 'test.json'}"


def test_evaluate_scores_a_checkpoint_as_training_did(trained, scenes_root, storage):
    folder, found = trained
    given = options(scenes_root, storage, f"model.finetuned={folder}/checkpoint_best.pth", "run.test_splits=[val]")
    assert run("evaluate", CUSTOM, *given) == 0
    _, again = results()
    assert set(again) == {"val"} and metrics(again["val"]) == metrics(found["val"])


def test_data_without_a_train_split_is_evaluated(trained, scenes_root, tmp_path):
    root = tmp_path / "held_out"
    shutil.copytree(scenes_root / "images", root / "images")
    shutil.copy(scenes_root / "val.json", root / "val.json")
    given = options(root, tmp_path / "shards", f"model.finetuned={trained[0]}/checkpoint_best.pth")
    assert run("evaluate", CUSTOM, *given) == 0
    assert metrics(results()[1]["val"]) == metrics(trained[1]["val"])


def test_two_stages_say_what_they_lose(trained, scenes_root, storage, capfd):
    folder, _ = trained
    given = options(scenes_root, storage, f"model.finetuned={folder}/checkpoint_best.pth", "run.k_test=3")
    assert run("evaluate", CUSTOM, *given, "run.evaluation.ties=expected") == 0
    newest, found = results()
    loss = found["test"]["two_stage"]
    assert found["test"]["protocol"]["k_test"] == 3 and (loss["images"], loss["texts"]) == (6, 30)
    assert f"the largest difference of a recall is {loss['largest']:.2f} points" in capfd.readouterr().out
    assert "probe" not in found["test"] and "ties expected value, k 3" in (newest / "result" / "test.md").read_text()


def test_selection_on_test_is_said_in_every_table(scenes_root, storage, capfd):
    given = options(scenes_root, storage, "run.max_epoch=1", "run.valid_splits=[test]", "run.test_splits=[test]")
    assert run("train", CUSTOM, *given) == 2
    assert "run.select_on_test=true" in capfd.readouterr().err
    assert run("train", CUSTOM, *given, "run.select_on_test=true") == 0
    newest, found = results()
    assert found["test"]["protocol"]["selection"] == "rsum of test, THE TEST SPLIT"
    assert "THE TEST SPLIT" in (newest / "result" / "test.md").read_text()
    assert (newest / "checkpoint_best.pth").is_file()


def test_a_protocol_of_another_size_is_refused(trained, scenes_root, storage, capfd):
    folder, _ = trained
    given = options(scenes_root, storage, f"model.finetuned={folder}/checkpoint_best.pth", "run.test_splits=[test]")
    assert run("evaluate", CUSTOM, *given, "run.evaluation.protocol=flickr30k_1k") == 2
    assert "flickr30k_1k is defined on 1000 images, test has 6" in capfd.readouterr().err
    assert run("evaluate", CUSTOM, *given, "run.evaluation.protocol=flickr_1k") == 2
    assert "did you mean 'flickr30k_1k'" in capfd.readouterr().err


def test_evaluate_says_when_nothing_was_trained(scenes_root, storage, capfd):
    assert run("evaluate", CUSTOM, *options(scenes_root, storage)) == 0
    assert "model.finetuned is not set" in capfd.readouterr().err
    protocol = results()[1]["val"]["protocol"]
    assert (protocol["epoch"], protocol["selection"]) == (0, None)


def test_a_checkpoint_of_a_run_loads_by_name(trained, scenes_root):
    from lavis_asym import load_model

    folder, found = trained
    model = load_model(checkpoint=folder / "checkpoint_best.pth")
    assert (model.fusion.heads, model.fusion.scale_t2i) == (2, 12), "the run's own settings"
    images = json.loads((scenes_root / "val.json").read_text())
    pictures = [scenes_root / "images" / image["image"] for image in images]
    scores = model.similarity(pictures, [caption for image in images for caption in image["caption"]]).numpy()
    own = {image: range(5 * image, 5 * image + 5) for image in range(6)}
    again = retrieval_metrics(scores, scores.T, {text: text // 5 for text in range(30)}, own)
    assert metrics(again) == metrics(found["val"])


def test_evaluate_refuses_other_settings_than_those_of_the_training(trained, scenes_root, storage, capfd):
    given = options(scenes_root, storage, f"model.finetuned={trained[0]}/checkpoint_best.pth")
    assert run("evaluate", CUSTOM, *given, "model.fusion.heads=4", "model.fusion.scale_t2i=9") == 2
    error = capfd.readouterr().err
    assert "model.fusion.heads: 4, trained with 2" in error and "model.fusion.scale_t2i=12" in error


def test_a_run_resumes_where_it_was_and_keeps_its_best(trained, scenes_root, storage):
    folder, found = trained
    best = torch.load(folder / "checkpoint_best.pth", weights_only=True)
    given = options(
        scenes_root, storage, f"run.resume_ckpt_path={folder}/checkpoint_best.pth", "run.max_epoch=3",
        "run.init_lr=0.0", "run.min_lr=0.0", "run.weight_decay=0.0", "run.warmup_lr=0.0",
    )  # fmt: skip
    assert run("train", CUSTOM, *given) == 0
    resumed, again = results()
    log = [json.loads(line) for line in (resumed / "log.txt").read_text().splitlines() if line.startswith('{"')]
    assert sum("train_loss" in line for line in log) == 3 - best["iters"] // 3
    assert metrics(again["test"]) == metrics(found["test"]), "no step was taken, so these are the best weights"


def test_a_run_goes_on_from_its_last_state(trained, scenes_root, storage):
    folder, _ = trained
    saved = torch.load(folder / "checkpoint_last.pth", weights_only=True)
    given = options(scenes_root, storage, f"run.resume_ckpt_path={folder}/checkpoint_last.pth", "run.max_epoch=3")
    assert run("train", CUSTOM, *given) == 0
    resumed, found = results()
    again = torch.load(resumed / "checkpoint_last.pth", weights_only=True)
    assert (again["iters"], again["optimizer"]["state"][0]["step"]) == (9, 9)
    assert again["best_agg_metric"] >= saved["best_agg_metric"] and again["best_iters"] in (saved["best_iters"], 9)
    assert found["test"]["protocol"]["epoch"] == again["best_iters"] // 3 and scalar_steps(resumed, "val/rsum") >= {3}


def test_a_run_resumed_at_its_end_is_tested_and_says_so(trained, scenes_root, storage, capfd):
    folder, found = trained
    given = options(scenes_root, storage, f"run.resume_ckpt_path={folder}/checkpoint_last.pth")
    assert run("train", CUSTOM, *given) == 0
    assert "has done all 6 steps of this run, so that only its test is left" in capfd.readouterr().err
    assert metrics(results()[1]["test"]) == metrics(found["test"])


@pytest.mark.parametrize("workers", [0, 2])
def test_a_stopped_run_says_how_it_goes_on_and_ends_as_if_it_had_not_been(
    scenes_root, storage, capfd, monkeypatch, workers
):
    train_step = AsymRetrievalTask.train_step

    def stopped_in_the_third_pass(self, model, samples):
        if samples["epoch"] == 2:
            raise KeyboardInterrupt
        return train_step(self, model, samples)

    given = options(
        scenes_root, storage, f"run.num_workers={workers}", "run.max_epoch=3", "run.batch_size_train=7",
        "datasets.asym_custom.text_processor.train.policy.I.gaussian_noise=1", "run.test_splits=[]",
    )  # fmt: skip
    assert run("train", CUSTOM, *given) == 0
    whole, _ = results()
    with monkeypatch.context() as patch:
        patch.setattr(AsymRetrievalTask, "train_step", stopped_in_the_third_pass)
        assert run("train", CUSTOM, *given) == 130
    way = re.search(r"--options run.resume_ckpt_path=(\S+)\nstopped\n", capfd.readouterr().err)
    assert main("train", ["--cfg-path", CUSTOM, "--options", *given, *way[0].split()[:2]]) == 0
    resumed, _ = results()
    for name in ("checkpoint_last.pth", "checkpoint_best.pth"):
        first, second = (torch.load(folder / name, weights_only=True) for folder in (whole, resumed))
        torch.testing.assert_close(first["model"], second["model"], rtol=0, atol=0)
        torch.testing.assert_close(first["optimizer"], second["optimizer"], rtol=0, atol=0)
        assert first["best_agg_metric"] == second["best_agg_metric"]


def test_a_checkpoint_of_other_data_is_not_resumed(trained, scenes_root, storage, tmp_path, capfd):
    """Its best metric is of another val split, which no epoch of this run might reach."""
    checkpoint = torch.load(trained[0] / "checkpoint_last.pth", weights_only=True)
    checkpoint["config"]["datasets"] = {"asym_scenes": checkpoint["config"]["datasets"]["asym_custom"]}
    torch.save(checkpoint, tmp_path / "checkpoint_last.pth")
    given = options(scenes_root, storage, f"run.resume_ckpt_path={tmp_path}/checkpoint_last.pth", "run.max_epoch=3")
    assert run("train", CUSTOM, *given) == 2
    assert "was trained on asym_scenes, this run's data is asym_custom" in capfd.readouterr().err


@pytest.mark.parametrize(
    "change, message",
    [
        ("model.width=128", "run.resume_ckpt_path: .*: of another architecture than this model"),
        ("model.fusion.heads=4", "run.resume_ckpt_path: .*model.fusion.heads=2"),
    ],
)
def test_a_checkpoint_of_other_settings_is_not_resumed(trained, scenes_root, storage, capfd, change, message):
    given = options(scenes_root, storage, f"run.resume_ckpt_path={trained[0]}/checkpoint_last.pth", change)
    assert run("train", CUSTOM, *given, "run.max_epoch=3") == 2
    assert re.search(message, capfd.readouterr().err)


def test_weights_alone_are_not_resumed(trained, scenes_root, storage, tmp_path, capfd):
    checkpoint = torch.load(trained[0] / "checkpoint_last.pth", weights_only=True)
    torch.save({"model": checkpoint["model"]}, tmp_path / "weights.pth")
    given = options(scenes_root, storage, f"run.resume_ckpt_path={tmp_path}/weights.pth")
    assert run("train", CUSTOM, *given) == 2
    assert "weights.pth holds weights alone" in capfd.readouterr().err


def test_without_a_validation_the_last_weights_are_tested(scenes_root, storage):
    assert run("train", CUSTOM, *options(scenes_root, storage, "run.valid_splits=[]", "run.test_splits=[test]")) == 0
    folder, found = results()
    protocol = found["test"]["protocol"]
    assert (protocol["epoch"], protocol["selection"]) == (2, "last weights")
    assert scalar_steps(folder, "test/rsum") == {2}


@pytest.mark.parametrize("max_iters, rest, between", [(2, [], 2), (6, [], 3), (4, ["run.iters_per_inner_epoch=2"], 2)])
def test_max_iters_are_the_steps_in_all(scenes_root, storage, max_iters, rest, between):
    given = options(scenes_root, storage, f"run.max_iters={max_iters}", "run.test_splits=[]", *rest)
    assert run("train", CUSTOM, *given) == 0
    folder, _ = results()
    last = torch.load(folder / "checkpoint_last.pth", weights_only=True)
    assert last["iters"] == last["optimizer"]["state"][0]["step"] == max_iters
    assert scalar_steps(folder, "val/rsum") == set(range(1, max_iters // between + 1))


def test_max_iters_that_end_between_validations_are_refused(scenes_root, storage, capsys):
    assert run("train", CUSTOM, *options(scenes_root, storage, "run.max_iters=5")) == 2
    assert "run.max_iters: 5 steps end between two validations" in (error := capsys.readouterr().err)
    assert "run.iters_per_inner_epoch=3" in error and "set run.max_iters=6" in error


def test_a_batch_is_at_most_a_pass(scenes_root, storage, capsys):
    assert run("train", CUSTOM, *options(scenes_root, storage, "run.batch_size_train=64", "run.test_splits=[]")) == 0
    assert "run.batch_size_train: 24 instead of 64, as train has 24 images" in capsys.readouterr().err
    assert torch.load(results()[0] / "checkpoint_last.pth", weights_only=True)["iters"] == 2


def test_the_seed_of_the_run_is_that_of_order_and_samples(scenes_root, storage):
    from argparse import Namespace

    import lavis.tasks as tasks

    from lavis_asym.config import build_config

    def stream(*more):
        cfg = build_config(Namespace(cfg_path=CUSTOM, options=options(scenes_root, storage, *more)))
        return tasks.setup_task(cfg).build_datasets(cfg)["asym_custom"]["train"]

    def drawn(train):
        samples = list(islice(train, 24))
        return [sample["key"] for sample in samples], {s["key"]: s["text_input"]["negative"] for s in samples}

    order, negatives = drawn(stream("run.seed=7"))
    assert drawn(stream("run.seed=7")) == (order, negatives)
    other_order, other_negatives = drawn(stream("run.seed=8"))
    assert other_order != order and other_negatives != negatives
    assert drawn(stream("run.seed=8", "datasets.asym_custom.stream.seed=7"))[0] == order


def test_the_same_seed_gives_the_same_weights(trained, scenes_root, storage):
    assert run("train", CUSTOM, *options(scenes_root, storage)) == 0
    first, second = (torch.load(p / "checkpoint_best.pth", weights_only=True) for p in (trained[0], results()[0]))
    assert first["iters"] == second["iters"]
    assert all(torch.equal(value, second["model"][name]) for name, value in first["model"].items())


def test_pixels_are_encoded_in_every_step_where_no_features_are_wanted(scenes_root, storage):
    given = options(
        scenes_root, storage, "datasets.asym_custom.data_type=images", "run.max_epoch=1", "run.num_workers=2"
    )
    assert run("train", CUSTOM, *given) == 0
    assert set(results()[1]) == {"val", "test"}


@pytest.fixture
def stock_folder(scenes_root, tmp_path):
    """The scenes as LAVIS's own COCO and Flickr30k builders want them."""
    folder = tmp_path / "stock"
    shutil.copytree(scenes_root / "images", folder / "images")
    for split in ("train", "val", "test"):
        shutil.copy(scenes_root / f"{split}.json", folder / f"{split}.json")
    return folder


@pytest.mark.parametrize("dataset", ["coco_retrieval", "flickr30k"])
def test_lavis_own_data_sets_train_with_runner_base(dataset, stock_folder, tmp_path):
    splits = {s: {"storage": str(stock_folder / f"{s}.json"), "url": "unused"} for s in ("train", "val", "test")}
    processors = {
        "vis_processor": {mode: {"name": "asym_image"} for mode in ("train", "eval")},
        "text_processor": {"train": {"name": "asym_caption", "samples": True}, "eval": {"name": "asym_caption"}},
    }
    build_info = {"annotations": splits, "images": {"storage": str(stock_folder / "images")}}
    config = {
        "model": {"arch": "asym_retrieval"},
        "datasets": {dataset: {"build_info": build_info, **processors}},
        "run": {"runner": "runner_base", "max_epoch": 1, "batch_size_train": 40, "output_dir": "out", "num_workers": 0},
    }
    path = tmp_path / "stock.yaml"
    path.write_text(json.dumps(config))
    assert main("train", ["--cfg-path", str(path)]) == 0
    folder, found = results()
    assert set(found) == {"val", "test"} and found["test"]["protocol"]["captions"] == 30
    assert (folder / "checkpoint_best.pth").is_file()


def test_a_stream_needs_runner_iter(scenes_root, storage, capsys):
    assert run("train", CUSTOM, *options(scenes_root, storage, "run.runner=runner_base")) == 2
    assert "run.runner: runner_base counts the steps of an epoch" in capsys.readouterr().err


@pytest.mark.parametrize(
    "change,message",
    [
        (["run.num_workers=9"], "4 train shards for run.num_workers=9 x 1 processes, at least 9 are needed"),
        (["run.valid_splits=[vall]"], "run.valid_splits: 'vall' is no split"),
        (["datasets.asym_custom.root=nowhere"], "nowhere: no such folder"),
        (["datasets.asym_custom.root="], "datasets.asym_custom.root"),
        (["run.use_dist_eval_sampler=true"], "run.use_dist_eval_sampler: expected false"),
        (["run.max_epochs=2"], "run.max_epochs: unknown key; did you mean 'run.max_epoch'"),
        (["datasets.asym_custom.data_type=pixels"], "data_type: expected 'features' or 'images', got 'pixels'"),
    ],
)
def test_a_fault_stops_before_training_with_one_message(scenes_root, storage, capsys, change, message):
    assert run("train", CUSTOM, *options(scenes_root, storage, *change)) == 2
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error
    assert not Path("out").exists()


def beside_scenes(root, storage, tmp_path):
    """The configuration of a run on the scenes, as `asym_custom`, and on others, as `asym_scenes`."""
    custom = {"root": str(root), "storage": str(storage), "train_shards": 4}
    others = {"counts": {"train": 4, "val": 2, "test": 2}, "storage": str(tmp_path / "others"), "train_shards": 1}
    evaluation = {"probe": False, "graded": False, "resamples": 0}
    config = {
        "model": {"arch": "asym_retrieval"},
        "datasets": {"asym_custom": custom, "asym_scenes": others},
        "run": {"max_epoch": 1, "batch_size_train": 8, "output_dir": "out", "evaluation": evaluation},
    }
    path = tmp_path / "both.yaml"
    path.write_text(json.dumps(config))
    return path


def only(splits, tmp_path, monkeypatch):
    """Let the data set `asym_scenes` have these splits alone."""
    from lavis.common.registry import registry

    from lavis_asym.data.builders import ScenesBuilder

    monkeypatch.setitem(registry.mapping["paths"], "cache_root", str(tmp_path / "cache"))
    build = ScenesBuilder.build
    monkeypatch.setattr(
        ScenesBuilder, "build", lambda self: {split: data for split, data in build(self).items() if split in splits}
    )


@pytest.mark.parametrize(
    "verb, splits, message",
    [
        ("train", ["val"], "asym_custom and asym_scenes each have a split val"),
        ("evaluate", ["test"], "asym_custom and asym_scenes each have a split test"),
        ("train", ["train"], "asym_custom and asym_scenes each stream their train split"),
    ],
)
def test_data_sets_that_lavis_cannot_join_are_refused(
    scenes_root, storage, tmp_path, monkeypatch, capsys, verb, splits, message
):
    only(splits, tmp_path, monkeypatch)
    assert main(verb, ["--cfg-path", str(beside_scenes(scenes_root, storage, tmp_path))]) == 2
    assert message in capsys.readouterr().err


def test_settings_are_checked_against_the_splits_of_all_data_sets(scenes_root, storage, tmp_path, monkeypatch):
    """Choices for val do not have to be of a data set that has train alone."""
    only(["train"], tmp_path, monkeypatch)
    image = json.loads((scenes_root / "val.json").read_text())[0]["image"]
    choice = {"image": image, "question": "what?", "answer": "a star", "wrong": ["a heart"]}
    (tmp_path / "choices.json").write_text(json.dumps([choice]))
    path = beside_scenes(scenes_root, storage, tmp_path)
    assert run("evaluate", path, f"run.evaluation.choices=[{tmp_path}/choices.json]", "run.test_splits=[val]") == 0
    assert set(results()[1]) == {"val"}


def test_a_checkpoint_of_another_architecture_stops_the_run(trained, scenes_root, storage, capsys):
    given = options(scenes_root, storage, f"model.finetuned={trained[0]}/checkpoint_best.pth", "model.width=128")
    assert run("evaluate", CUSTOM, *given) == 2
    assert "of another architecture than this model" in capsys.readouterr().err


def test_two_processes_train_as_lavis_is_launched(scenes_root, storage):
    given = options(scenes_root, storage, "run.max_epoch=1", "run.batch_size_train=4")
    launch = ["-m", "torch.distributed.run", "--nproc_per_node=2", "--master_port=29547", "-m", "lavis.train"]
    command = [sys.executable, *launch, "--cfg-path", CUSTOM, "--options", *given]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    runs = list(Path("out").iterdir())
    assert len(runs) == 1, "one folder for all processes"
    _, found = results()
    assert found["test"]["protocol"]["images"] == 6


def test_packed_shards_and_their_features_train_with_the_coco_project(scenes_root):
    from lavis_asym.cli import main as command

    assert command(["pack", "custom", str(scenes_root), "--out", "shards", "--shard-samples", "6"]) == 0
    assert command(["features", "shards", "--model-type", "tiny", "--out", "features"]) == 0
    given = ["datasets.asym_coco.shards=features", "run.max_epoch=1", "run.batch_size_train=8", "run.output_dir=out"]
    assert run("train", "projects/asym/coco.yaml", *given) == 2, "six images are not COCO 5K"
    given.append("run.evaluation.protocol=custom")
    assert run("train", "projects/asym/coco.yaml", *given) == 0
    _, found = results()
    assert found["test"]["protocol"]["captions"] == 30 and found["val"]["rsum"] > 0

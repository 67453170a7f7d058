"""Every wrong name, key and type in a configuration is named with its key, all at once, before anything is built."""

from argparse import Namespace

import pytest
import torch
from omegaconf import OmegaConf

from lavis_asym.errors import UserError
from lavis_asym.paths import find_config

needs_no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="the fault shows only without a GPU")


def build(options=(), path="projects/asym/custom.yaml"):
    from lavis_asym.config import build_config

    return build_config(Namespace(cfg_path=str(path), options=list(options)))


@pytest.fixture(autouse=True)
def _registered(registered):
    pass


def test_defaults_are_complete_and_options_win():
    cfg = build(["datasets.asym_custom.root=DIR", "run.init_lr=1e-3", "model.fusion.heads=8"])
    assert cfg.run_cfg.init_lr == 1e-3 and cfg.run_cfg.runner == "runner_iter" and cfg.run_cfg.max_epoch == 10
    assert cfg.model_cfg.fusion.heads == 8 and cfg.model_cfg.fusion.scale_t2i == 9.0
    assert cfg.datasets_cfg.asym_custom.root == "DIR" and cfg.datasets_cfg.asym_custom.train_shards == 8
    assert cfg.run_cfg.device in ("cpu", "cuda")
    assert OmegaConf.create(cfg.to_dict()).model.arch == "asym_retrieval"


def test_the_data_sets_take_the_models_encoder():
    section = build(["model.vision_encoder=regions"], "projects/asym/coco.yaml").datasets_cfg.asym_coco
    processors = section.vis_processor.train, section.vis_processor.eval
    assert section.vision_encoder == "regions" and [own.encoder for own in processors] == ["regions", "regions"]


def test_data_takes_the_seed_of_the_run_unless_it_has_its_own():
    given = ["datasets.asym_custom.root=DIR", "run.seed=7", "datasets.asym_custom.text_processor.train.seed=8"]
    data = build(given).datasets_cfg.asym_custom
    assert (data.stream.seed, data.text_processor.train.seed) == (7, 8)
    scenes = build(["run.seed=7"], "projects/asym/demo.yaml").datasets_cfg.asym_scenes
    assert (scenes.stream.seed, scenes.seed) == (7, 0), "the scenes themselves stay"


def test_options_in_pairs_work_as_in_lavis():
    assert build(["run.seed", "7", "run.max_epoch", "2"]).run_cfg.seed == 7


@pytest.mark.parametrize("path", ["projects/asym/custom.yaml", "blip"])
def test_both_forms_of_options_may_be_mixed_and_a_value_may_have_an_equals_sign(path, tmp_path):
    if path == "blip":  # its configuration is LAVIS's own
        path = tmp_path / "blip.yaml"
        path.write_text(
            "model: {arch: blip_retrieval, model_type: coco}\ndatasets: {flickr30k: {}}\nrun: {task: retrieval}"
        )
    run = build(["run.seed", "1", "run.output_dir", "out=1", "run.dist_url=a=b", "run.max_epoch=2"], path).run_cfg
    assert (run.seed, run.output_dir, run.dist_url, run.max_epoch) == (1, "out=1", "a=b", 2)


@pytest.mark.parametrize(
    "option,message",
    [
        ("run.max_epochs=3", r"run.max_epochs: unknown key; did you mean 'run.max_epoch'"),
        ("model.fusion.head=3", r"model.fusion.head: unknown key; did you mean 'model.fusion.heads'"),
        ("run.heads=3", r"run.heads: unknown key; .*'model.fusion.heads'"),
        ("datasets.asym_custom.rot=x", r"datasets.asym_custom.rot: unknown key; .*asym_custom.root"),
        ("datasets.asym_custum.root=x", r"datasets.asym_custum: unknown 'asym_custum'; did you mean 'asym_custom'"),
        ("model.model_type=tinny", r"model.model_type: unknown 'tinny'; did you mean 'tiny'"),
        ("model.arch=asym_retreival", r"model.arch: unknown 'asym_retreival'; did you mean 'asym_retrieval'"),
        ("run.runner=runner_itr", r"run.runner: unknown 'runner_itr'; did you mean 'runner_iter'"),
        ("run.task=asym", r"run.task: unknown 'asym'"),
        ("run.lr_sched=cosine", r"run.lr_sched: unknown 'cosine'; known: .*linear_warmup_cosine_lr"),
        ("run.max_epoch=many", r"run.max_epoch: expected int, such as 10, got 'many'"),
        ("run.amp=3", r"run.amp: expected bool"),
        ("run.train_dataset_ratios={}", r"run.train_dataset_ratios: unknown key"),
        ("run.max_iters=0", r"run.max_iters: expected at least 1, got 0"),
        ("run.iters_per_inner_epoch=all", r"run.iters_per_inner_epoch: expected at least 1, got 'all'"),
        pytest.param("run.device=cuda", r"run.device: cuda, but torch finds 0 GPUs", marks=needs_no_gpu),
        ("run.device=gpu", r"run.device: .*gpu"),
        ("run.init_lr=fast", r"run.init_lr: expected float"),
        ("run.valid_splits=val", r"run.valid_splits: expected list"),
        (
            "datasets.asym_custom.text_processor.train.name=asym_captions",
            r"text_processor.train.name: unknown processor 'asym_captions'; did you mean 'asym_caption'",
        ),
        ("run.batch_size_train=0", r"run.batch_size_train: expected at least 1, got 0"),
        ("run.num_workers=-1", r"run.num_workers: expected at least 0"),
        ("run.resume_ckpt_path=no.pth", r"run.resume_ckpt_path: no such file, no.pth"),
        ("model.finetuned=no.pth", r"model.finetuned: no such file, no.pth"),
        ("run=3", r"run: missing, expected a section"),
        ("model.vision_encoder=region", r"model.vision_encoder: unknown 'region'; did you mean 'regions'"),
        ("model.vision_encoder=regions", r"datasets.asym_custom: has images, but model.vision_encoder is regions"),
        ("datasets.asym_custom.text_processor.train.policy.I.swop=1", r"train.policy.I.swop: unknown key"),
        ("datasets.asym_custom.text_processor.train.policy.types=3", r"train.policy.types: expected a mapping"),
        ("datasets.asym_custom.train_shards=0", r"datasets.asym_custom.train_shards: expected at least 1, got 0"),
        ("datasets.asym_custom.type=foo", r"datasets.asym_custom.type: unknown 'foo'; known: default"),
        ("datasets.asym_custom=3", r"datasets.asym_custom: expected a section, got 3"),
        ("model.fusion=", r"model.fusion: expected a section with keys of heads, .*, got None$"),
        ("run.test_splits=val", r"run.test_splits: expected list, such as \[val\], got 'val'"),
        ("model.siblings=sofft", r"model.siblings: unknown 'sofft'; did you mean 'soft'"),
        ("model.objective=triplett", r"model.objective: unknown 'triplett'; did you mean 'triplet'"),
        ("model.margin=0", r"model.margin: expected more than 0, got 0"),
        ("model.margin_warmup_epochs=-1", r"model.margin_warmup_epochs: expected at least 0, got -1"),
        ("model.outranking=zer", r"model.outranking: unknown 'zer'; did you mean 'zero'"),
        ("model.text_encoder=minlm", r"model.text_encoder: unknown 'minlm'; did you mean 'minilm'"),
        ("model.caption_weight=7", r"model.caption_weight: expected a number in \[0, 1\], got 7"),
        ("model.dropout=1.5", r"model.dropout: expected a number in \[0, 1\), got 1.5"),
        ("model.dropout=.nan", r"model.dropout: expected a number in \[0, 1\), got nan"),
        ("model.temperature=0.005", r"model.temperature: expected more than model.temperature_floor, 0.01, got 0.005"),
        ("model.temperature_floor=-1", r"model.temperature_floor: expected at least 0"),
        ("model.fusion.scale_t2i=50", r"model.fusion.scale_t2i: expected a number in \[0, 30\], got 50"),
        ("model.fusion.local_weight=1.5", r"model.fusion.local_weight: expected a number in \[0, 1\]"),
        ("model.fusion.heads=0", r"model.fusion.heads: expected at least 1, got 0"),
        ("model.fusion.heads=3", r"model.fusion.heads: 3 does not divide model.width, 256"),
        ("model.fusion.memory_bytes=lots", r"model.fusion.memory_bytes: expected null or an integer"),
    ],
)
def test_what_is_wrong_is_named_with_its_key(option, message):
    if option.startswith("run.max_epoch="):
        message = message.replace("10", "5")
    with pytest.raises(UserError, match=message):
        build([option])


def test_all_problems_are_listed_together():
    with pytest.raises(UserError, match="3 problem") as error:
        build(["run.max_epochs=3", "run.amp=1", "model.fusion.head=3"])
    assert str(error.value).count("\n") == 3


def test_what_a_model_may_be_is_checked_together():
    with pytest.raises(UserError, match="4 problem") as error:
        build(["model.siblings=hard", "model.width=0", "model.fusion.learn_local_weight=true",
               "model.fusion.local_weight=1"] + ["model.caption_weight=-1"])  # fmt: skip
    assert "model.fusion.local_weight: 1 cannot be learned from" in str(error.value)


@pytest.mark.parametrize("before", [["run.seed", "7"], ["run.seed=7"]])
def test_a_key_without_a_value_is_refused(before):
    with pytest.raises(UserError, match="'run.max_epoch' is a key without a value"):
        build([*before, "run.max_epoch"])


def test_an_empty_section_of_a_data_set_is_all_defaults(tmp_path):
    path = tmp_path / "empty.yaml"
    path.write_text("model: {arch: asym_retrieval}\ndatasets:\n  asym_scenes:\nrun: {}\n")
    assert build(path=path).datasets_cfg.asym_scenes.train_shards == 8


def test_a_key_that_a_processor_of_ours_does_not_take_is_named(tmp_path):
    path = tmp_path / "coco.yaml"
    path.write_text(
        "model: {arch: asym_retrieval}\nrun: {runner: runner_base}\ndatasets: {coco_retrieval: {\n"
        "vis_processor: {train: {name: asym_image, image_size: 224}, eval: {name: asym_image}},\n"
        "text_processor: {train: {name: asym_caption}, eval: {name: asym_caption}}}}\n"
    )
    with pytest.raises(UserError, match=r"coco_retrieval.vis_processor.train.image_size: unknown key of asym_image"):
        build(path=path)


def test_stock_data_sets_need_processors_of_ours(tmp_path):
    path = tmp_path / "coco.yaml"
    path.write_text("model: {arch: asym_retrieval}\ndatasets: {coco_retrieval: {}}\nrun: {runner: runner_base}\n")
    with pytest.raises(UserError, match=r"coco_retrieval.vis_processor.train.name: missing, .* such as asym_image"):
        build(path=path)


@pytest.mark.parametrize(
    "content,message",
    [
        ("model: [", "not valid"),
        ("- 1\n", "expected the sections"),
        ("model: {arch: asym_retrieval}\n", "datasets: missing"),
    ],
)
def test_a_file_that_is_no_configuration_is_named(tmp_path, content, message):
    path = tmp_path / "broken.yaml"
    path.write_text(content)
    with pytest.raises(UserError, match=message) as error:
        build(path=path)
    assert "broken.yaml" in str(error.value)


def test_lavis_own_models_keep_lavis_own_config(tmp_path):
    from lavis.common.config import Config

    path = tmp_path / "albef.yaml"
    path.write_text(
        "model: {arch: albef_retrieval, model_type: coco}\ndatasets: {coco_retrieval: {}}\n"
        "run: {task: retrieval, anything: 1}\n"
    )
    assert type(build(["run.anything=2"], path)) is Config


def test_project_files_hold_only_what_differs_from_the_defaults(tmp_path):
    files = sorted(find_config("projects/asym/demo.yaml").parent.glob("*.yaml"))
    assert len(files) > 3
    for path in files:
        given = OmegaConf.load(path)
        bare = {"model": {"arch": given.model.arch}, "datasets": {name: {} for name in given.datasets}, "run": {}}
        OmegaConf.save(bare, tmp_path / "bare.yaml")
        defaults = build(path=tmp_path / "bare.yaml").config
        del given.model["arch"]
        repeated = [key for key, value in leaves(given) if OmegaConf.select(defaults, key) == value]
        assert not repeated, f"{path.name}: {repeated}"


def leaves(tree, prefix=""):
    for key in tree:
        if OmegaConf.is_dict(tree[key]):
            yield from leaves(tree[key], f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", tree[key]

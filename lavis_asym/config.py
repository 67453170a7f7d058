"""A run's configuration: defaults, project file and options, put together and checked before anything is built."""

from argparse import Namespace
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional

import torch
from lavis.common.config import Config
from lavis.common.registry import registry
from lavis.common.utils import is_url
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from lavis_asym.encoders import GivenRegions
from lavis_asym.errors import UserError, did_you_mean, near_matches
from lavis_asym.evaluation import PROTOCOLS, TIES
from lavis_asym.models.settings import setting_problems
from lavis_asym.paths import config_path, find_config
from lavis_asym.processors import AsymCaptionProcessor, AsymImageProcessor

MODES = ("train", "eval")
AT_LEAST = {
    **{key: 1 for key in ("max_epoch", "max_iters", "iters_per_inner_epoch", "batch_size_train", "batch_size_eval")},
    **{key: 1 for key in ("accum_grad_iters", "log_freq")},
    **{key: 0 for key in ("num_workers", "k_test", "evaluation.resamples")},
}
PROCESSORS = ("vis_processor", "text_processor")
# LAVIS's own data sets name no processors in their defaults, but take them; an empty mapping accepts any key
STOCK_DATASET_KEYS = {"type": "default", **{side: {mode: {} for mode in MODES} for side in PROCESSORS}}


def build_config(args: Namespace) -> Config:
    """The configuration of a run: checked and completed for `asym_retrieval`, LAVIS's own for its other models.

    Args:
        args: `cfg_path` and `options`, as LAVIS's train.py parses them. A relative `cfg_path` that does not exist is
            looked up among the projects that came with the package.
    Raises:
        UserError: no such file, no valid YAML, or a list of all that is wrong in it, each with its key.
    """
    try:
        args.cfg_path = str(find_config(args.cfg_path))
        args.options = _assignments(args.options or [])
        given = OmegaConf.load(args.cfg_path)
        _raise(args.cfg_path, _section_problems(given))
        given = OmegaConf.merge(given, OmegaConf.from_dotlist(args.options))
    except FileNotFoundError as error:
        raise UserError(str(error)) from None
    except (OmegaConfBaseException, YAMLError, ValueError) as error:
        raise UserError(f"{args.cfg_path}, options {args.options}: not valid ({error})") from None
    _raise(args.cfg_path, _section_problems(given))
    given.datasets = {name: {} if section is None else section for name, section in given.datasets.items()}
    _raise(args.cfg_path, _name_problems(given))
    find_device(given.run.get("device"), "run.device")
    return RunConfig(args, given) if given.model.arch == "asym_retrieval" else Config(args)


class RunConfig(Config):
    """LAVIS's Config with complete defaults for `run` too, and every key checked. See `build_config`."""

    def __init__(self, args: Namespace, given: DictConfig):
        self.args = args
        registry.register("configuration", self)
        defaults = OmegaConf.merge(
            OmegaConf.load(config_path("run.yaml")), _model_defaults(given), _dataset_defaults(given)
        )
        plain = OmegaConf.to_container(defaults, resolve=True)
        _raise(args.cfg_path, list(_key_problems(OmegaConf.to_container(given), plain, "", list(_paths(plain)))))
        self.config = OmegaConf.merge(defaults, given)
        checks = (
            _processor_problems,
            _model_problems,
            _encoder_problems,
            _range_problems,
            _evaluation_problems,
            _file_problems,
        )
        _raise(args.cfg_path, [problem for check in checks for problem in check(self.config)])
        self.config.run.device = str(find_device(self.config.run.device, "run.device"))
        _set_encoder(self.config)
        OmegaConf.resolve(self.config)


def _set_encoder(config: DictConfig) -> None:
    """The data sets' features and pixels are those that the model's vision encoder takes."""
    for section in config.datasets.values():
        section.vision_encoder = config.model.vision_encoder
        for processor in section.vis_processor.values():
            if processor.name == "asym_image":
                processor.encoder = config.model.vision_encoder


def find_device(name: Optional[str], key: str) -> torch.device:
    """The device of that name, by default cuda where there is one, else cpu.

    Raises:
        UserError: no device has that name, or this machine has none; `key` is where the user named it.
    """
    gpus = torch.cuda.device_count()
    try:
        device = torch.device(name or ("cuda" if gpus else "cpu"))
    except RuntimeError:
        raise UserError(f"{key}: {name!r} is no device; expected cpu, cuda or cuda:N") from None
    if device.type == "cuda" and (device.index or 0) >= gpus:
        raise UserError(f"{key}: {name}, but torch finds {gpus} GPUs here; take another device, such as cpu")
    return device


def _raise(path: str, problems: List[str]) -> None:
    if problems:
        raise UserError.from_problems(f"{path}: {len(problems)} problem(s) in the file and its options:", problems)


def _assignments(options: List[str]) -> List[str]:
    """Each `KEY=VALUE` as it is, LAVIS's other form `KEY VALUE` joined."""
    assignments, items = [], iter(options)
    for item in items:
        if "=" not in item:
            value = next(items, None)
            if value is None:
                raise UserError(f"--options: {item!r} is a key without a value; give KEY=VALUE or KEY VALUE")
            item = f"{item}={value}"
        assignments.append(item)
    return assignments


def _section_problems(given: Any) -> List[str]:
    """What is no section; a data set's may be empty."""
    if not isinstance(given, DictConfig):
        return ["expected the sections model, datasets and run"]
    missing = [key for key in ("model", "datasets", "run") if not isinstance(given.get(key), DictConfig)]
    if missing:
        return [f"{key}: missing, expected a section" for key in missing]
    return [
        f"datasets.{name}: expected a section, got {section!r}"
        for name, section in given.datasets.items()
        if not (section is None or isinstance(section, DictConfig))
    ]


def _name_problems(given: DictConfig) -> List[str]:
    """Names that LAVIS's registry does not know."""
    problems = []
    model = registry.get_model_class(given.model.get("arch"))
    if model is not None:
        model_type, types = given.model.get("model_type"), model.PRETRAINED_MODEL_CONFIG_DICT
        if model_type is not None and model_type not in types:
            problems.append(f"model.model_type: unknown {model_type!r}; {near_matches(model_type, types)}")
    if given.run.get("task") == "asym_retrieval" and given.model.get("arch") != "asym_retrieval":
        problems.append(
            f"run.task: asym_retrieval trains asym_retrieval, not {given.model.get('arch')}; "
            "lavis-asym evaluate --model evaluates LAVIS's own models"
        )
    names = [("model.arch", given.model.get("arch"), registry.list_models())]
    names += [(f"datasets.{name}", name, registry.list_datasets()) for name in given.datasets]
    names += [
        (f"datasets.{name}.type", section.type, registry.get_builder_class(name).DATASET_CONFIG_DICT)
        for name, section in given.datasets.items()
        if "type" in section and name in registry.list_datasets()
    ]
    names += [
        (f"run.{key}", given.run[key], known)
        for key, known in (
            ("runner", registry.list_runners()),
            ("task", registry.list_tasks()),
            ("lr_sched", registry.list_lr_schedulers()),
        )
        if key in given.run
    ]
    problems += [
        f"{key}: unknown {name!r}; {near_matches(name, known)}" for key, name, known in names if name not in known
    ]
    return problems


def _model_defaults(given: DictConfig) -> DictConfig:
    return OmegaConf.load(registry.get_model_class(given.model.arch).default_config_path(given.model.get("model_type")))


def _dataset_defaults(given: DictConfig) -> DictConfig:
    merged = OmegaConf.create()
    for name, section in given.datasets.items():
        path = registry.get_builder_class(name).default_config_path(section.get("type", "default"))
        merged = OmegaConf.merge(merged, {"datasets": {name: STOCK_DATASET_KEYS}}, OmegaConf.load(path))
    return merged


def _key_problems(given: Any, default: Any, path: str, known: List[str]) -> Iterator[str]:
    """Keys that the defaults do not have, and values of another type than theirs (null takes any)."""
    if isinstance(default, dict) and isinstance(given, dict):
        for key, value in given.items():
            below = f"{path}.{key}" if path else str(key)
            if not default:
                continue
            if key in default:
                yield from _key_problems(value, default[key], below, known)
            else:
                same_name = [other for other in known if other.rpartition(".")[2] == str(key)]
                siblings = [other for other in known if other.rpartition(".")[0] == path]
                yield f"{below}: unknown key; {did_you_mean(same_name) if same_name else near_matches(below, siblings)}"
    elif isinstance(default, dict):
        yield f"{path}: expected a section with keys of {', '.join(map(str, default)) or 'any name'}, got {given!r}"
    elif default is not None and not _same_type(given, default):
        yield f"{path}: expected {type(default).__name__}, such as {default!r}, got {given!r}"


def _same_type(given: Any, default: Any) -> bool:
    if isinstance(default, bool) or isinstance(given, bool):
        return isinstance(default, bool) and isinstance(given, bool)
    if isinstance(default, float):
        return isinstance(given, (int, float))
    return isinstance(given, type(default))


def _paths(tree: Dict[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in tree.items():
        yield f"{prefix}{key}"
        if isinstance(value, dict):
            yield from _paths(value, f"{prefix}{key}.")


def _processor_problems(config: DictConfig) -> Iterator[str]:
    known = registry.list_processors()
    for name, section in config.datasets.items():
        for side in PROCESSORS:
            for mode in MODES:
                key, processor = f"datasets.{name}.{side}.{mode}", section[side][mode]
                if not processor or not processor.get("name"):
                    default = "asym_image" if side == "vis_processor" else "asym_caption"
                    yield f"{key}.name: missing, expected the name of a processor, such as {default}"
                elif processor.name not in known:
                    yield f"{key}.name: unknown processor {processor.name!r}; {near_matches(processor.name, known)}"
                elif registry.get_processor_class(processor.name) in (AsymImageProcessor, AsymCaptionProcessor):
                    try:
                        registry.get_processor_class(processor.name).from_config(processor)
                    except UserError as error:
                        yield f"{key}.{error}"


def _model_problems(config: DictConfig) -> Iterator[str]:
    return setting_problems(config.model)


def _encoder_problems(config: DictConfig) -> Iterator[str]:
    if config.model.vision_encoder == GivenRegions.name:
        for name, section in config.datasets.items():
            if "shards" not in section or section.data_type != "features":
                yield (
                    f"datasets.{name}: has images, but model.vision_encoder is regions; expected asym_coco or "
                    "asym_flickr30k with shards of region features (lavis-asym pack, then features --npy or --h5; or "
                    "features --scan)"
                )


def _range_problems(config: DictConfig) -> Iterator[str]:
    for key, least in AT_LEAST.items():
        value = OmegaConf.select(config.run, key)
        if value is not None and not (isinstance(value, int) and value >= least):
            yield f"run.{key}: expected at least {least}, got {value!r}"
    for name, section in config.datasets.items():
        if section.get("train_shards", 1) < 1:
            yield f"datasets.{name}.train_shards: expected at least 1, got {section.train_shards}"
    if config.run.use_dist_eval_sampler:
        yield "run.use_dist_eval_sampler: expected false; a retrieval evaluation needs every image in its gallery"


def _evaluation_problems(config: DictConfig) -> Iterator[str]:
    for key, known in (("protocol", PROTOCOLS), ("ties", TIES)):
        value = config.run.evaluation[key]
        if value not in known:
            yield f"run.evaluation.{key}: unknown {value!r}; {near_matches(value, known)}"
    if not isinstance(config.run.test_splits, (ListConfig, type(None))):
        yield f"run.test_splits: expected list, such as [val], got {config.run.test_splits!r}"
    tests = [split for split in config.run.valid_splits if "test" in split]
    if tests and not config.run.select_on_test:
        yield (
            f"run.valid_splits: {tests[0]!r} would select the best epoch on a test split, whose figures then mean "
            "little; use a val split, or set run.select_on_test=true, which every table will say"
        )


def _file_problems(config: DictConfig) -> Iterator[str]:
    checkpoint = "a checkpoint that a run saved"
    for key, path, expected in (
        ("model.finetuned", config.model.finetuned, checkpoint),
        ("run.resume_ckpt_path", config.run.resume_ckpt_path, checkpoint),
        *(("run.evaluation.choices", path, "a file of choices") for path in config.run.evaluation.choices),
        ("run.evaluation.karpathy", config.run.evaluation.karpathy, "Karpathy's dataset_coco.json"),
        ("run.evaluation.coco_captions", config.run.evaluation.coco_captions, "COCO's captions_val2014.json"),
    ):
        if path is not None and not is_url(path) and not Path(path).is_file():
            yield f"{key}: no such file, {path}; expected {expected}"

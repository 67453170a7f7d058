"""A model as the run built it that saved its checkpoint."""

from pathlib import Path
from typing import Any, Dict, Mapping, NamedTuple, Optional, Tuple, Union

import torch
from lavis.common.dist_utils import download_cached_file
from lavis.common.utils import is_url
from omegaconf import OmegaConf
from torch import nn

from lavis_asym.errors import UserError

SETTINGS = (  # that change scores without changing the shape of a weight
    "vision_encoder", "text_encoder", "fusion.heads", "fusion.scale_t2i", "fusion.scale_i2t", "fusion.local_weight"
)  # fmt: skip
SHOWN_KEYS = 3
LAST = "last weights"


def read_checkpoint(url_or_filename: Union[str, Path]) -> Dict[str, Any]:
    """What a run saved. Raises UserError: no such file, or no checkpoint."""
    path = str(url_or_filename)
    if is_url(path):
        path = download_cached_file(path, check_hash=False, progress=True)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError(f"checkpoint {url_or_filename}: no such file") from None
    except IsADirectoryError:
        raise UserError(f"checkpoint {url_or_filename}: a folder; give {url_or_filename}/checkpoint_best.pth") from None
    except OSError as error:
        raise UserError(f"checkpoint {url_or_filename}: cannot be read ({error})") from None
    except Exception as error:  # whose own text may advise to trust the file
        raise UserError(
            f"checkpoint {url_or_filename}: no checkpoint, or one that holds more than weights ({type(error).__name__})"
        ) from None
    if not isinstance(content, dict):
        raise UserError(f"checkpoint {url_or_filename}: expected the weights by name, found {type(content).__name__}")
    return content


def read_run(path: str) -> Dict[str, Any]:
    """What a run saved to go on from, `run.resume_ckpt_path`. Raises UserError: as above, or weights alone."""
    try:
        content = read_checkpoint(path)
    except UserError as error:
        raise UserError(f"run.resume_ckpt_path: {error}") from None
    if not {"model", "optimizer", "config"} <= set(content):
        raise UserError(
            f"run.resume_ckpt_path: {path} holds weights alone, without the state of a run; resume from a run's "
            "checkpoint_last.pth, or start a new run from these weights with model.finetuned"
        )
    return content


def load_trained(model: nn.Module, state: Mapping[str, torch.Tensor], name: str) -> None:
    """Load a state from which buffers and parameters that are not trained may have been left out.

    Raises:
        UserError: a state of another architecture; `name` stands first in it.
    """
    own = model.state_dict()
    optional = {key for key, parameter in model.named_parameters() if not parameter.requires_grad}
    optional |= {key for key, _ in model.named_buffers()}
    problems = [f"{key}: missing" for key in own if key not in state and key not in optional]
    problems += [f"{key}: unexpected" for key in state if key not in own]
    problems += [
        f"{key}: shape {tuple(state[key].shape)}, expected {tuple(own[key].shape)}"
        for key in own
        if key in state and state[key].shape != own[key].shape
    ]
    if problems:
        raise UserError.from_problems(
            f"{name}: of another architecture than this model; give the configuration it was trained with:",
            problems,
            shown=SHOWN_KEYS,
        )
    model.load_state_dict(state, strict=False)


class Training(NamedTuple):
    """How a model came about, as far as its run's configuration or checkpoint says, for the tables of an evaluation."""

    policy: Optional[Dict[str, Any]]  # of the samples: {} for the default one, None for a model trained without
    selection: Optional[str]  # how its epoch was chosen; None where the configuration does not say
    passes: Optional[int] = None  # over the data, that trained its weights

    @classmethod
    def of_checkpoint(cls, content: Dict[str, Any]) -> "Training":
        """From what a run saved; of weights alone nothing is known."""
        config = content.get("config") or {}
        training = cls.of(config)
        if "epoch" in content:
            training = training._replace(passes=content["epoch"] + 1)
        elif "iters" in content and (config.get("run") or {}).get("iters_per_inner_epoch"):
            training = training._replace(passes=content["iters"] // config["run"]["iters_per_inner_epoch"])
        if any(content.get(f"best_{unit}", content.get(unit)) != content.get(unit) for unit in ("iters", "epoch")):
            training = training._replace(selection=LAST)
        return training

    @classmethod
    def of(cls, config: Dict[str, Any]) -> "Training":
        """From a plain configuration with the sections run and datasets, either of which may be absent."""
        processors = [
            ((section or {}).get("text_processor") or {}).get("train")
            for section in config.get("datasets", {}).values()
        ]
        policies = [own.get("policy") or {} for own in processors if own and own.get("samples")]
        if config.get("model", {}).get("objective", "ascl") != "ascl":
            policies = []  # a baseline
        splits = config.get("run", {}).get("valid_splits")
        selection = None if splits is None else LAST
        if splits:
            selection = f"rsum of {splits[0]}" + (", THE TEST SPLIT" if "test" in splits[0] else "")
        return cls(policies[0] if policies else None, selection)


def load_checkpointed(url_or_filename: Union[str, Path], model_type: Optional[str] = None) -> Tuple[Any, Training]:
    """An `asym_retrieval` with the weights and settings of a checkpoint, and how it was trained.

    Args:
        url_or_filename: where it holds no configuration, the model type's is taken.
        model_type: overrides the checkpoint's own configuration of the model.
    Raises:
        UserError: as `read_checkpoint`, or weights of another architecture.
    """
    from lavis_asym.models.asym_retrieval import AsymRetrieval

    content = read_checkpoint(url_or_filename)
    own = (content.get("config") or {}).get("model")
    if own is None or model_type is not None:
        model = AsymRetrieval.from_pretrained(model_type=model_type)
    else:
        defaults = OmegaConf.load(AsymRetrieval.default_config_path(own.get("model_type")))
        model = AsymRetrieval.from_config(OmegaConf.merge(defaults.model, {**own, "finetuned": None}))
    model.load_weights(content, url_or_filename)
    return model, Training.of_checkpoint(content)


def check_trained_with(config: Dict[str, Any], given: Mapping[str, Any], key: str) -> None:
    """Raise UserError if a checkpoint is to be used with other settings than it was trained with.

    Args:
        config: of the checkpoint, which may be empty.
        given: the `model` section of the run that uses it.
        key: of the run's configuration, which names the checkpoint.
    """
    trained, own = (OmegaConf.create(dict(section)) for section in (config.get("model") or {}, given))
    values = {name: (OmegaConf.select(trained, name), OmegaConf.select(own, name)) for name in SETTINGS}
    other = {name: pair for name, pair in values.items() if None not in pair and pair[0] != pair[1]}
    if other:
        raise UserError.from_problems(
            f"{key}: the checkpoint was trained with other settings; add to --options "
            + " ".join(f"model.{name}={pair[0]}" for name, pair in other.items()),
            [f"model.{name}: {pair[1]}, trained with {pair[0]}" for name, pair in other.items()],
        )

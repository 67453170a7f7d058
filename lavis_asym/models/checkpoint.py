"""A model as the run built it that saved its checkpoint."""

from typing import Any, Dict, NamedTuple, Optional, Tuple

import torch
from lavis.common.dist_utils import download_cached_file
from lavis.common.utils import is_url
from omegaconf import OmegaConf

from lavis_asym.errors import UserError


def read_checkpoint(url_or_filename: str) -> Dict[str, Any]:
    """What a run saved. Raises UserError: no such file, or no checkpoint."""
    path = url_or_filename
    if is_url(path):
        path = download_cached_file(path, check_hash=False, progress=True)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError(f"checkpoint {url_or_filename}: no such file") from None
    except Exception as error:
        raise UserError(f"checkpoint {url_or_filename}: cannot be read ({type(error).__name__}: {error})") from None
    if not isinstance(content, dict):
        raise UserError(f"checkpoint {url_or_filename}: expected the weights by name, found {type(content).__name__}")
    return content


class Training(NamedTuple):
    """What a run's configuration says of how its model came about, for the tables of an evaluation."""

    policy: Optional[Dict[str, Any]]  # of the samples: {} for the default one, None for a model trained without
    selection: Optional[str]  # how its epoch was chosen; None where the configuration does not say

    @classmethod
    def of(cls, config: Dict[str, Any]) -> "Training":
        """From a plain configuration with the sections run and datasets, either of which may be absent."""
        processors = [
            ((section or {}).get("text_processor") or {}).get("train")
            for section in config.get("datasets", {}).values()
        ]
        policies = [own.get("policy") or {} for own in processors if own and own.get("samples")]
        splits = config.get("run", {}).get("valid_splits")
        selection = None if splits is None else "last weights"
        if splits:
            selection = f"rsum of {splits[0]}" + (", THE TEST SPLIT" if "test" in splits[0] else "")
        return cls(policies[0] if policies else None, selection)


def load_checkpointed(url_or_filename: str, model_type: Optional[str] = None) -> Tuple[Any, Training]:
    """An `asym_retrieval` with the weights and settings of a checkpoint, and how it was trained.

    Args:
        url_or_filename: where it holds no configuration, the model type's is taken.
        model_type: overrides the checkpoint's own configuration of the model.
    Raises:
        UserError: as `read_checkpoint`, or weights of another architecture.
    """
    from lavis_asym.models.asym_retrieval import AsymRetrieval

    content = read_checkpoint(url_or_filename)
    config = content.get("config") or {}
    own = config.get("model")
    if own is None or model_type is not None:
        model = AsymRetrieval.from_pretrained(model_type=model_type)
    else:
        model = AsymRetrieval.from_config(OmegaConf.create({**own, "finetuned": None}))
    model.load_weights(content, url_or_filename)
    return model, Training.of(config)

"""A model as the run built it that saved its checkpoint."""

from typing import Any, Dict, Optional, Tuple

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


def load_checkpointed(url_or_filename: str, model_type: Optional[str] = None) -> Tuple[Any, Optional[Dict[str, Any]]]:
    """An `asym_retrieval` with its weights and settings, and the policy of the samples that it was trained with.

    Args:
        url_or_filename: of a checkpoint; where it holds no configuration, the model type's is taken.
        model_type: overrides the checkpoint's own configuration of the model.
    Returns:
        the model, and its policy: {} for the default one, None for a model that was trained without samples.
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
    trained = [section.get("text_processor", {}).get("train") for section in config.get("datasets", {}).values()]
    policies = [processor.get("policy") or {} for processor in trained if processor and processor.get("samples")]
    return model, policies[0] if policies else None

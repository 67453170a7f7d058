"""Encoders by name."""

from typing import Any, Dict, Optional

from lavis_asym.encoders.base import TextEncoder, VisionEncoder
from lavis_asym.encoders.efficientnet_lite0 import EfficientNetLite0
from lavis_asym.encoders.given_regions import GivenRegions
from lavis_asym.encoders.minilm import MiniLM

VISION_ENCODERS = {encoder.name: encoder for encoder in (EfficientNetLite0, GivenRegions)}
TEXT_ENCODERS = {"minilm": MiniLM}


def build_vision_encoder(name: str, features: Optional[Dict[str, Any]] = None) -> VisionEncoder:
    """A frozen vision encoder.

    Args:
        name: in VISION_ENCODERS; raises KeyError for another.
        features: see `GivenRegions`, the only one that needs it.
    Raises:
        UserError: see `base.packaged_file` and `GivenRegions`.
    """
    return GivenRegions(features) if name == GivenRegions.name else VISION_ENCODERS[name]()


def build_text_encoder(name: str) -> TextEncoder:
    """A frozen text encoder. Raises KeyError for an unknown name; see `base.packaged_file` for missing weights."""
    return TEXT_ENCODERS[name]()

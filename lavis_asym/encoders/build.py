"""Encoders by name."""

from lavis_asym.encoders.base import TextEncoder, VisionEncoder
from lavis_asym.encoders.efficientnet_lite0 import EfficientNetLite0
from lavis_asym.encoders.minilm import MiniLM

VISION_ENCODERS = {"efficientnet_lite0": EfficientNetLite0}
TEXT_ENCODERS = {"minilm": MiniLM}


def build_vision_encoder(name: str) -> VisionEncoder:
    """A frozen vision encoder. Raises KeyError for an unknown name; see `base.packaged_file` for missing weights."""
    return VISION_ENCODERS[name]()


def build_text_encoder(name: str) -> TextEncoder:
    """A frozen text encoder. Raises KeyError for an unknown name; see `base.packaged_file` for missing weights."""
    return TEXT_ENCODERS[name]()

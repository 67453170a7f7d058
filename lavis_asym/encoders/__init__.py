"""Frozen backbones behind two small interfaces: images to a global vector and regions, texts to tokens and a mask."""

from lavis_asym.encoders.base import (
    TextEncoder,
    TextFeatures,
    VisionEncoder,
    VisionFeatures,
    check_features,
    features_header,
)
from lavis_asym.encoders.build import TEXT_ENCODERS, VISION_ENCODERS, build_text_encoder, build_vision_encoder
from lavis_asym.encoders.given_regions import GivenRegions

__all__ = [
    "TEXT_ENCODERS",
    "VISION_ENCODERS",
    "GivenRegions",
    "TextEncoder",
    "TextFeatures",
    "VisionEncoder",
    "VisionFeatures",
    "build_text_encoder",
    "build_vision_encoder",
    "check_features",
    "features_header",
]

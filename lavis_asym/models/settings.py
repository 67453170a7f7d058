"""What a `model` section may say, checked before anything is built."""

from typing import Iterator

from omegaconf import DictConfig, OmegaConf

from lavis_asym.encoders import TEXT_ENCODERS, VISION_ENCODERS
from lavis_asym.errors import near_matches
from lavis_asym.fusion.attention import MAX_SCALE
from lavis_asym.losses.contrastive import OUTRANKING, SIBLINGS

OBJECTIVES = ("ascl", "info_nce", "triplet")
NAMES = {
    "vision_encoder": VISION_ENCODERS,
    "text_encoder": TEXT_ENCODERS,
    "objective": OBJECTIVES,
    "siblings": SIBLINGS,
    "outranking": OUTRANKING,
}
# NaN is in no range
RANGES = {
    "width": ("at least 1", lambda value: value >= 1),
    "dropout": ("a number in [0, 1)", lambda value: 0 <= value < 1),
    "caption_weight": ("a number in [0, 1]", lambda value: 0 <= value <= 1),
    "temperature_floor": ("at least 0", lambda value: value >= 0),
    "margin": ("more than 0", lambda value: value > 0),
    "margin_warmup_epochs": ("at least 0", lambda value: value >= 0),
    "fusion.heads": ("at least 1", lambda value: value >= 1),
    "fusion.local_weight": ("a number in [0, 1]", lambda value: 0 <= value <= 1),
    "fusion.scale_t2i": (f"a number in [0, {MAX_SCALE:g}]", lambda value: 0 <= value <= MAX_SCALE),
    "fusion.scale_i2t": (f"a number in [0, {MAX_SCALE:g}]", lambda value: 0 <= value <= MAX_SCALE),
    "fusion.memory_bytes": (
        "null or an integer, at least 1",
        lambda value: value is None or (type(value) is int and value >= 1),
    ),
}


def setting_problems(model: DictConfig) -> Iterator[str]:
    """Each unknown name, each value out of range and each two that contradict each other, with its key."""
    for key, known in NAMES.items():
        if model[key] not in known:
            yield f"model.{key}: unknown {model[key]!r}; {near_matches(model[key], known)}"
    values = {key: OmegaConf.select(model, key) for key in RANGES}
    wrong = {key: value for key, value in values.items() if not RANGES[key][1](value)}
    yield from (f"model.{key}: expected {RANGES[key][0]}, got {value}" for key, value in wrong.items())
    if not model.temperature > model.temperature_floor:
        yield (
            f"model.temperature: expected more than model.temperature_floor, {model.temperature_floor}, "
            f"got {model.temperature}"
        )
    if wrong.keys().isdisjoint(("width", "fusion.heads")) and model.width % model.fusion.heads:
        yield f"model.fusion.heads: {model.fusion.heads} does not divide model.width, {model.width}"
    if model.fusion.learn_local_weight and model.fusion.local_weight in (0, 1):
        yield (
            f"model.fusion.local_weight: {model.fusion.local_weight} cannot be learned from; expected a number between "
            "0 and 1, or learn_local_weight=false"
        )

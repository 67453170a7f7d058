"""The asymmetry-sensitive contrastive objective and plain baselines. Pure functions on scores and ids; torch alone."""

from lavis_asym.losses.ascl import ascl_loss
from lavis_asym.losses.contrastive import GENERATED_NEGATIVE, contrastive_loss
from lavis_asym.losses.gather import gather, gather_objects, gather_texts
from lavis_asym.losses.info_nce import info_nce_loss
from lavis_asym.losses.temperature import Temperature
from lavis_asym.losses.triplet import triplet_loss, warm_up

__all__ = [
    "GENERATED_NEGATIVE",
    "Temperature",
    "ascl_loss",
    "contrastive_loss",
    "gather",
    "gather_objects",
    "gather_texts",
    "info_nce_loss",
    "triplet_loss",
    "warm_up",
]

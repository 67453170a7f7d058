"""The asymmetry-sensitive contrastive objective. Pure functions on scores and ids; depends on torch alone."""

from lavis_asym.losses.ascl import ascl_loss, contrastive_loss

__all__ = ["ascl_loss", "contrastive_loss"]

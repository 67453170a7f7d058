"""AsCL for LAVIS: asymmetry-sensitive contrastive learning with hierarchical cross-modal fusion (arXiv 2405.10029).

Importing this package is light: neither torch nor LAVIS is imported until `register()` or `load_model()` is called.
"""

import warnings

__version__ = "0.1.0"
__all__ = ["load_model", "register"]


def register() -> None:
    """Make the model, processors, data sets and task known to LAVIS, and repair its faults. Safe to call again."""
    from lavis_asym.registration import register_all

    register_all()


def load_model(name: str = "asym_retrieval", model_type=None, checkpoint=None, device: str = "cpu"):
    """Build a registered model in eval mode.

    Args:
        name: a model in LAVIS's registry.
        model_type: one of its types; None is that of the checkpoint, else the model's default ("tiny" for
            `asym_retrieval`).
        checkpoint: path or URL of a checkpoint that a run saved, which brings its settings with it; None leaves the
            head untrained.
        device: where the model is put.
    Returns:
        The model. `model.processors["vis"]["eval"]` and `model.processors["text"]["eval"]` are its processors.
    Raises:
        UserError: an unknown name or type, or a checkpoint of another architecture.
    """
    from lavis_asym.registration import model_class, register_all

    register_all()
    kind = model_class(name)
    if checkpoint is not None and name == "asym_retrieval":
        from lavis_asym.models.checkpoint import load_checkpointed

        return load_checkpointed(checkpoint, model_type)[0].to(device).eval()
    model = kind.from_pretrained(model_type=model_type)
    if checkpoint is not None:
        model.load_checkpoint(checkpoint)
    elif name == "asym_retrieval":
        warnings.warn("no checkpoint: the head is untrained, so its scores say nothing yet", stacklevel=2)
    return model.to(device).eval()

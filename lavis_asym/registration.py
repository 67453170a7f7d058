"""The one place that fills LAVIS's registries."""

from typing import Any, Type

from lavis_asym.errors import UserError, near_matches


def register_all() -> None:
    """Register the model, processors, data sets and task, and repair LAVIS's faults. Safe to call again.

    Raises:
        UserError: LAVIS is not installed, or another package has taken one of the names.
    """
    try:
        from lavis.common.registry import registry
        from lavis.datasets.builders import dataset_zoo
        from lavis.models import model_zoo
    except ImportError as error:
        raise UserError(f"LAVIS cannot be imported ({error}); pip install lavis-asym installs what it needs") from error

    from lavis_asym import compat
    from lavis_asym.data.builders import CocoBuilder, CustomBuilder, Flickr30kBuilder, ScenesBuilder
    from lavis_asym.models.asym_retrieval import AsymRetrieval
    from lavis_asym.processors import AsymCaptionProcessor, AsymImageProcessor
    from lavis_asym.tasks import AsymRetrievalTask

    compat.apply()
    for register, table, entries in (
        (registry.register_model, "model_name_mapping", {"asym_retrieval": AsymRetrieval}),
        (registry.register_task, "task_name_mapping", {"asym_retrieval": AsymRetrievalTask}),
        (
            registry.register_processor,
            "processor_name_mapping",
            {"asym_caption": AsymCaptionProcessor, "asym_image": AsymImageProcessor},
        ),
        (
            registry.register_builder,
            "builder_name_mapping",
            {
                "asym_coco": CocoBuilder,
                "asym_custom": CustomBuilder,
                "asym_flickr30k": Flickr30kBuilder,
                "asym_scenes": ScenesBuilder,
            },
        ),
    ):
        for name, entry in entries.items():
            present = registry.mapping[table].get(name)
            if present is None:
                register(name)(entry)
            elif present is not entry:
                raise UserError(f"the name {name!r} in LAVIS's {table} is taken by {present}")
    model_zoo.__init__()  # both list the registries as they were when LAVIS was imported
    dataset_zoo.__init__()


def model_class(name: str) -> Type[Any]:
    """A registered model. Raises UserError for an unknown name."""
    from lavis.common.registry import registry

    found = registry.get_model_class(name)
    if found is None:
        raise UserError(f"unknown model {name!r}; {near_matches(name, registry.list_models())}")
    return found

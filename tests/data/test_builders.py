"""LAVIS's builders over shards: what they prepare, and how often."""

from unittest.mock import Mock

import pytest
from omegaconf import OmegaConf


@pytest.fixture
def calls(registered, tmp_path, monkeypatch):
    """How often the costly parts of a preparation ran, the cache in an empty folder."""
    from lavis.common.registry import registry

    from lavis_asym.data import builders, prepare

    monkeypatch.setitem(registry.mapping["paths"], "cache_root", str(tmp_path / "cache"))
    costly = [(builders, "write_scenes"), (prepare, "read_layout"), (prepare, "source_content")]
    counted = {name: Mock(wraps=getattr(module, name)) for module, name in costly}
    for module, name in costly:
        monkeypatch.setattr(module, name, counted[name])
    return lambda: {name: own.call_count for name, own in counted.items()}


def test_data_is_prepared_once_however_many_ask_for_it(calls):
    from lavis_asym.data.builders import ScenesBuilder

    config = OmegaConf.load(ScenesBuilder.default_config_path()).datasets.asym_scenes
    config.counts, config.data_type = {"train": 4, "val": 2, "test": 2}, "images"
    builder = ScenesBuilder(config)
    datasets = builder.build_datasets()
    assert set(calls().values()) == {1}
    assert datasets["val"].photo(0).size == datasets["test"].photo(1).size and builder.folder.is_dir()
    assert (builder.image_root() / datasets["val"].image[1]).is_file() and set(calls().values()) == {1}

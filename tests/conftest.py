"""Shared small data: a few rendered scenes in LAVIS's layout, prepared once a session."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import pytest  # noqa: E402


@pytest.fixture(scope="session")
def scenes_root(tmp_path_factory):
    """A folder in LAVIS's layout: 24 train, 6 val and 6 test images."""
    from lavis_asym.data.scenes import write_scenes

    root = tmp_path_factory.mktemp("scenes")
    write_scenes(root, seed=3, counts={"train": 24, "val": 6, "test": 6}, progress=False)
    return root


@pytest.fixture(scope="session")
def image_shards(scenes_root, tmp_path_factory):
    from lavis_asym.data.prepare import prepare_images

    return prepare_images(scenes_root, tmp_path_factory.mktemp("storage"), train_shards=4)


@pytest.fixture(scope="session")
def feature_shards(image_shards):
    from lavis_asym.data.prepare import prepare_features

    return prepare_features(image_shards, "efficientnet_lite0")


@pytest.fixture(scope="session")
def registered():
    """LAVIS with lavis-asym registered."""
    import lavis_asym

    lavis_asym.register()


@pytest.fixture(scope="session")
def model(registered):
    """The model `tiny`, untrained. Tests must not change its weights."""
    import torch

    import lavis_asym

    torch.manual_seed(0)
    return lavis_asym.load_model()


def pytest_configure(config):
    config.addinivalue_line("filterwarnings", "ignore:no checkpoint:UserWarning")

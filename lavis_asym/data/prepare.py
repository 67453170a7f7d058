"""Packing by itself, on a data set's first run: shards in folders whose names stand for what they were made from."""

from pathlib import Path

from lavis_asym.data.features import write_features
from lavis_asym.data.layout import read_layout
from lavis_asym.data.packing import PackOptions, pack_images, short_hash, source_content
from lavis_asym.data.shards import FORMAT_VERSION, load_index, read_index
from lavis_asym.data.writing import is_written, locked
from lavis_asym.encoders import VISION_ENCODERS, features_header


def prepare_images(root: Path, storage: Path, train_shards: int) -> Path:
    """Shards of the images and captions in `root`; the folder's name changes with the content of `root`.

    A folder that was begun before `root` was changed is gone on with, under its new name.

    Args:
        root: a folder in LAVIS's retrieval layout.
        storage: where the shards go.
        train_shards: how many shards the train split gets (fewer if it has fewer images); other splits get one.
    Returns:
        The folder of shards, complete.
    Raises:
        UserError: naming every record or image that cannot be used.
    """
    source, options = read_layout(root), PackOptions(train_shards=train_shards)
    kin = f"images-{short_hash([FORMAT_VERSION, str(root), options.stored()])}"
    folder = storage / f"{kin}-{source_content(source)[:12]}"
    if not is_written(folder):
        with locked(storage):
            begun = [other for other in storage.glob(f"{kin}-*") if not is_written(other)]
            if begun and not folder.exists():
                begun[0].rename(folder)
            pack_images(source, folder, root.name, options)
    read_index(folder)
    return folder


def prepare_features(images: Path, encoder_name: str) -> Path:
    """Shards of the encoder's features, beside the shards of images.

    Args:
        images: a folder of image shards.
        encoder_name: a name in `encoders.VISION_ENCODERS`.
    Returns:
        The folder of feature shards, complete: float16 `global.npy` (D) and `local.npy` (R x D) of each image.
    """
    made_from = [load_index(images)["sha256"], features_header(VISION_ENCODERS[encoder_name])]
    folder = images.parent / f"features-{short_hash(made_from)}"
    write_features(images, encoder_name, folder)
    read_index(folder)
    return folder

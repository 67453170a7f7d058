"""What a stopped evaluation finds again: the features of its images and the rows of its scores."""

import hashlib
import logging
import os
from contextlib import suppress
from pathlib import Path
from typing import Any, Dict, Iterator, Optional, Sequence

import numpy as np
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from lavis_asym.encoders import VisionFeatures
from lavis_asym.errors import UserError
from lavis_asym.files import replacing


def can_keep(folder: Path) -> bool:
    """Whether a folder can be written, made if need be; where not, as in a cache of others, it is said."""
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
    possible = os.access(folder, os.W_OK)
    if not possible:
        logging.warning(f"{folder}: cannot be written, so an evaluation that is stopped begins anew; set LAVIS_CACHE")
    return possible


def kept_features(model, batch: Dict[str, Any], folder: Optional[Path]) -> VisionFeatures:
    """`model.encode_images(batch)` on the CPU, from the folder if these very pixels were encoded before.

    What is read from the encoder's cache already (`regions`) only has to be projected, and is not kept.

    Args:
        folder: of these weights alone; None keeps nothing.
    Raises:
        UserError: the folder cannot be written.
    """
    if folder is None or "regions" in batch:
        return VisionFeatures(*(part.cpu() for part in model.encode_images(batch)))
    pixels = batch["image"].cpu().contiguous()
    path = folder / f"{hashlib.sha256(pixels.numpy().tobytes()).hexdigest()[:24]}.safetensors"
    with suppress(OSError, SafetensorError):  # not there, or not whole
        return VisionFeatures(**load_file(path))
    features = VisionFeatures(*(part.cpu().contiguous() for part in model.encode_images(batch)))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(path) as partial:
            save_file(features._asdict(), partial)
    except (OSError, SafetensorError) as error:
        raise _not_written(path, error) from None
    return features


class Rows:
    """N x C float32 that fill up from the top; each is appended to a file, if given, and found there after a stop.

    Raises:
        UserError: the file cannot be written.
    """

    def __init__(self, shape: Sequence[int], path: Optional[Path] = None):
        self.values, self.done, self.path = np.empty(shape, np.float32), 0, path
        if path is not None and path.is_file():
            found = np.fromfile(path, np.float32)
            self.done = min(len(found) // shape[1], shape[0])
            self.values[: self.done] = found[: self.done * shape[1]].reshape(self.done, shape[1])

    def missing(self, size: int) -> Iterator[slice]:
        """Slices of at most `size` rows that are not done yet, in order."""
        for start in range(self.done, len(self.values), size):
            yield slice(start, min(start + size, len(self.values)))

    def append(self, rows: np.ndarray) -> None:
        own = slice(self.done, self.done + len(rows))
        self.values[own] = rows
        if self.path is not None:
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                with open(self.path, "r+b" if self.path.is_file() else "wb") as stream:
                    stream.seek(own.start * self.values.shape[1] * self.values.itemsize)
                    stream.write(self.values[own].tobytes())
            except OSError as error:
                raise _not_written(self.path, error) from None
        self.done = own.stop


def _not_written(path: Path, error: Exception) -> UserError:
    return UserError(f"{path}: cannot be written ({error}); make room, or set LAVIS_CACHE")

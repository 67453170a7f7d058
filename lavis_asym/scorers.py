"""A model before a gallery of images: the scores of any texts with all of them, for our model and for LAVIS's own."""

import hashlib
import math
import os
from contextlib import suppress
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np
import torch
from omegaconf import OmegaConf
from PIL import Image
from torch.utils.data import DataLoader, Dataset, Subset

from lavis_asym.encoders import VisionFeatures
from lavis_asym.fusion.two_stage import BELOW_EXACT
from lavis_asym.images import upright_rgb
from lavis_asym.models.asym_retrieval import AsymRetrieval
from lavis_asym.models.gallery import ExactSample
from lavis_asym.models.kept import can_keep
from lavis_asym.models.shares import join, share
from lavis_asym.report import Attention, attend

FIRST_STAGE = -BELOW_EXACT / 2  # exact scores of two stages lie above it, first scores below
NOT_RESCORED = -100.0  # the score of LAVIS's models


def source_fingerprint(package: Path) -> str:
    """sha256 of all modules of a package, whether git or a wheel brought them."""
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(package).as_posix()} {len(content)} ".encode() + content)
    return digest.hexdigest()


SOURCE = source_fingerprint(Path(__file__).parent)  # as it runs here, whatever is edited meanwhile


class Scored(NamedTuple):
    """The scores of a gallery's N images and M texts."""

    i2t: np.ndarray  # N x M
    t2i: np.ndarray  # M x N
    k_test: int  # candidates of each query that got the model's full score; 0: every pair
    floor: float = -math.inf  # scores below it are no full scores
    sample: Optional[ExactSample] = None
    vectors: Tuple[np.ndarray, ...] = ()  # of images and texts, where the model has such


def scorer(model, loader: DataLoader, cache: Optional[Path] = None):
    """The scorer that fits the model.

    Args:
        loader: goes through a LAVIS retrieval evaluation set, images in order.
        cache: a folder where a stopped evaluation by our model finds what it had; `forget` removes that.
    """
    return AsymScorer(model, loader, cache) if isinstance(model, AsymRetrieval) else LavisScorer(model, loader)


class AsymScorer:
    """`AsymRetrieval`; every image goes through its encoder once, whatever is asked afterwards.

    The processes of a group share the encoding and `scores`: each of them makes a scorer and calls it. All else is one
    process's own.

    Args:
        loader, cache: see `scorer`.
    """

    def __init__(self, model: AsymRetrieval, loader: DataLoader, cache: Optional[Path] = None):
        self.model, self.dataset = model, loader.dataset
        self._kept = cache / self._name() if cache is not None and can_keep(cache) else None
        self._own = share(len(self.dataset))
        shared = DataLoader(
            Subset(self.dataset, self._own.tolist()),
            loader.batch_size,
            num_workers=loader.num_workers,
            collate_fn=loader.collate_fn,
        )
        features = model.encode_gallery(shared, len(shared), self._kept)
        self._images = VisionFeatures(*(join(part, len(self.dataset), model.device) for part in features))

    def scores(self, k_test: int = 0) -> Scored:
        """Of the dataset's own texts."""
        path = None if self._kept is None else self._kept / self._rows(k_test)
        found = self.model.score_gallery(self._images, self.dataset.text, k_test, path, shared=True)
        floor = FIRST_STAGE if found.k else -math.inf
        return Scored(found.matrix, found.matrix.T, found.k, floor, found.sample, found.vectors)

    def forget(self, k_test: int = 0) -> None:
        """Remove the features, and the rows of this `k_test`, that all processes kept."""
        if self._kept is not None:
            for path in (*self._kept.glob("*.safetensors*"), *self._kept.glob(f"k{k_test}-*")):
                path.unlink(missing_ok=True)
            with suppress(OSError):  # never made, or another k's rows are in it
                self._kept.rmdir()

    def score_all(self, texts: Sequence[str]) -> np.ndarray:
        """N x len(texts), exact."""
        clean = self.model.processors["text"]["eval"]
        return self.model.score_gallery(self._images, [clean(text) for text in texts]).matrix

    def score_own(self, texts: Sequence[Sequence[str]]) -> List[np.ndarray]:
        """The exact scores of each of N images with its own list of texts."""
        clean = self.model.processors["text"]["eval"]
        return self.model.score_own(self._images, [[clean(text) for text in own] for own in texts])

    def attend(self, number: int, photo: Image.Image, text: str) -> Attention:
        """Where the words of a text look in an image."""
        return attend(self.model, number, photo, text)

    def _name(self) -> str:
        """Of the weights, the code, the images and the texts together."""
        parts = weights_fingerprint(self.model), SOURCE, list(self.dataset.image), list(self.dataset.text)
        return f"unfinished-{hashlib.sha256(repr(parts).encode()).hexdigest()[:16]}"

    def _rows(self, k_test: int) -> str:
        """Of the settings, the images' features and this process's share of them together."""
        fusion = self.model.fusion
        settings = fusion.heads, fusion.scale_t2i, fusion.scale_i2t, fusion.fixed_weight
        digest = hashlib.sha256(repr((settings, self._own.tolist())).encode())
        for part in self._images:
            digest.update(part.numpy().tobytes())
        return f"k{k_test}-{digest.hexdigest()[:24]}.f32"


class LavisScorer:
    """Any LAVIS model with `compute_sim_matrix`, which scores the texts of the loader's dataset.

    Most of its models rank by a product of vectors and rescore `k_test` candidates of each query; the rest tie at -100.
    """

    score_own = None  # `score_all` serves

    def __init__(self, model, loader: DataLoader):
        self.model, self.dataset, self.loader = model, loader.dataset, loader

    def scores(self, k_test: int = 0) -> Scored:
        """Of the dataset's own texts.

        Args:
            k_test: clipped to the number of images and of texts, the most that the models take; 0 is that number.
        """
        return self._scores(self.loader, k_test)

    def forget(self, k_test: int = 0) -> None:
        """Nothing was kept."""

    def score_all(self, texts: Sequence[str]) -> np.ndarray:
        """N x len(texts), each text with every image."""
        clean = [self.dataset.text_processor(text) for text in texts]
        clean += clean[-1:] * (len(self.dataset.image) - len(clean))  # fewer texts than images would clip k_test
        dataset = _OtherTexts(self.dataset, clean)
        loader = DataLoader(dataset, self.loader.batch_size, collate_fn=self.loader.collate_fn)
        return self._scores(loader, len(self.dataset.image)).t2i.T[:, : len(texts)]

    def attend(self, number: int, photo: Image.Image, text: str) -> None:
        """These models show no attention here."""

    def _scores(self, loader: DataLoader, k_test: int) -> Scored:
        most = min(len(loader.dataset.image), len(loader.dataset.text))
        k_test = min(k_test or most, most)
        with torch.no_grad():
            i2t, t2i = map(
                np.asarray, self.model.compute_sim_matrix(loader, task_cfg=OmegaConf.create({"k_test": k_test}))
            )
        is_staged = (i2t == NOT_RESCORED).any() or (t2i == NOT_RESCORED).any()
        return Scored(i2t, t2i, k_test, NOT_RESCORED / 2) if is_staged else Scored(i2t, t2i, 0)


class _OtherTexts(Dataset):
    """An evaluation set with other texts."""

    def __init__(self, dataset: Dataset, texts: Sequence[str]):
        self.dataset, self.text, self.image = dataset, list(texts), dataset.image

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, number: int) -> Dict[str, Any]:
        return self.dataset[number]


def photo_of(dataset: Any, number: int) -> Optional[Image.Image]:
    """An image of an evaluation set, ours or LAVIS's; None where it cannot be had."""
    if hasattr(dataset, "photo"):
        return dataset.photo(number)
    path = os.path.join(dataset.vis_root, dataset.image[number])
    return upright_rgb(Image.open(path)) if os.path.isfile(path) else None


def weights_fingerprint(model: torch.nn.Module) -> str:
    """12 hexadecimal digits of the sha256 of all parameters and buffers, with their names."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:12]

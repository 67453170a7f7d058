"""Scores of a whole gallery: every image with every text, all exactly or in two stages, on where it was stopped."""

from pathlib import Path
from typing import Iterable, Iterator, NamedTuple, Optional, Sequence

import numpy as np
import torch
from tqdm import tqdm

from lavis_asym.encoders import VisionFeatures
from lavis_asym.errors import UserError
from lavis_asym.fusion.head import PreparedTexts
from lavis_asym.fusion.texts import even_slices
from lavis_asym.fusion.two_stage import candidates, image_keys, score_candidates, text_keys

TEXTS_AT_ONCE = 256
IMAGES_AT_ONCE = 32
SAMPLED = 100


class ExactSample(NamedTuple):
    """Exact scores of some queries of each direction, to see what two stages lose."""

    images: np.ndarray  # S int64
    rows: np.ndarray  # S x M float32
    texts: np.ndarray  # S int64
    columns: np.ndarray  # N x S float32


class GalleryScores(NamedTuple):
    """N x M float32 scores of a gallery, and how they came about."""

    matrix: np.ndarray
    k: int  # candidates of each query that were scored exactly; 0: every pair
    sample: Optional[ExactSample] = None  # of two stages


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
                raise UserError(f"{self.path}: cannot be written ({error}); make room, or set LAVIS_CACHE") from None
        self.done = own.stop


def encode_gallery(model, batches: Iterable, count: int) -> VisionFeatures:
    """Projected features of N images, on the CPU."""
    parts = []
    for batch in tqdm(batches, "Encoding images", count, leave=False, unit=" batches"):
        parts.append([part.cpu() for part in model.encode_images(batch)])
    return VisionFeatures(*map(torch.cat, zip(*parts)))


def score_gallery(
    model, images: VisionFeatures, texts: Sequence[str], k: int = 0, path: Optional[Path] = None
) -> GalleryScores:
    """Every image with every text. Equal texts are scored once, so that they tie exactly.

    Args:
        images: of `encode_gallery`.
        k: 0 scores all pairs exactly; else only the best k texts of each image and images of each text by the first
            score of `fusion.two_stage`, the rest behind them. k is clipped to the gallery.
        path: a file of finished rows, of these weights, images, texts and this k alone; None keeps nothing.
    """
    distinct = sorted(set(texts), key=lambda text: (len(text), text))
    prepared = _prepare_texts(model, distinct)
    place = {distinct[given]: packed for packed, given in enumerate(prepared.order.tolist())}
    columns = np.array([place[text] for text in texts], dtype=np.int64)
    prepared = prepared._replace(order=torch.arange(len(distinct), device=model.device))  # scores in packed order
    rows = Rows((len(images.vectors), len(distinct)), path)
    if k == 0 or k >= min(rows.values.shape):
        for own in _progress(rows, "Scoring images"):
            rows.append(model.fusion.score(_prepare_images(model, images, own), prepared).cpu().numpy())
        return GalleryScores(rows.values[:, columns], 0)
    return _two_stages(model, images, prepared, columns, k, rows)


def _two_stages(
    model, images: VisionFeatures, prepared: PreparedTexts, columns: np.ndarray, k: int, rows: Rows
) -> GalleryScores:
    fusion, count = model.fusion, len(images.vectors)
    keys = text_keys(fusion, prepared).T
    blocks = even_slices(count, IMAGES_AT_ONCE)
    first = torch.cat([(image_keys(fusion, _prepare_images(model, images, own)) @ keys).cpu() for own in blocks])
    exact = candidates(first, k)
    for own in _progress(rows, "Scoring candidates"):
        staged = first[own].to(model.device)
        score_candidates(fusion, _prepare_images(model, images, own), prepared, exact[own].to(model.device), staged)
        rows.append(staged.cpu().numpy())
    draw = np.random.default_rng(0)
    sampled_images, sampled_texts = (
        np.sort(draw.choice(n, min(n, SAMPLED), replace=False)) for n in (count, len(columns))
    )
    sampled_rows = fusion.score(_prepare_images(model, images, torch.from_numpy(sampled_images)), prepared).cpu()
    places, back = np.unique(columns[sampled_texts], return_inverse=True)
    few = prepared.select(torch.from_numpy(places).to(model.device))
    sampled_columns = torch.cat([fusion.score(_prepare_images(model, images, own), few).cpu() for own in blocks])
    sample = ExactSample(
        sampled_images, sampled_rows.numpy()[:, columns], sampled_texts, sampled_columns.numpy()[:, back]
    )
    return GalleryScores(rows.values[:, columns], k, sample)


def _progress(rows: Rows, title: str) -> Iterable[slice]:
    with tqdm(total=len(rows.values), initial=rows.done, desc=title, leave=False, unit=" images") as bar:
        for own in rows.missing(IMAGES_AT_ONCE):
            yield own
            bar.update(own.stop - own.start)


def _prepare_texts(model, texts: Sequence[str]) -> PreparedTexts:
    blocks = [texts[k : k + TEXTS_AT_ONCE] for k in range(0, len(texts), TEXTS_AT_ONCE)]
    progress = tqdm(blocks, "Encoding texts", leave=False, unit=" blocks")
    return PreparedTexts.join([model.fusion.prepare_texts(model.encode_texts(block)) for block in progress])


def _prepare_images(model, images: VisionFeatures, own):
    return model.fusion.prepare_images(tuple(part[own].to(model.device) for part in images))

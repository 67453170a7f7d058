"""Scores of a whole gallery: every image with every text, all exactly or in two stages, on where it was stopped."""

from pathlib import Path
from typing import Iterable, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np
import torch
from lavis.common.dist_utils import get_rank
from torch import Tensor
from tqdm import tqdm

from lavis_asym.encoders import VisionFeatures
from lavis_asym.errors import UserError
from lavis_asym.fusion import two_stage
from lavis_asym.fusion.head import PreparedTexts
from lavis_asym.fusion.texts import even_slices
from lavis_asym.models.kept import Rows, kept_features
from lavis_asym.models.shares import join, share

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
    vectors: Tuple[np.ndarray, ...] = ()  # N x D and M x D, query-independent: see `two_stage.global_vectors`


def encode_gallery(model, batches: Iterable, count: int, folder: Optional[Path] = None) -> VisionFeatures:
    """Projected features of N images, on the CPU.

    Args:
        batches: as `AsymRetrieval.forward` takes them; `count` of them.
        folder: where a stopped call finds its batches again, of these weights alone; None keeps nothing.
    """
    progress = tqdm(batches, "Encoding images", count, leave=False, unit=" batches")
    return VisionFeatures(*map(torch.cat, zip(*(kept_features(model, batch, folder) for batch in progress))))


def score_gallery(
    model,
    images: VisionFeatures,
    texts: Sequence[str],
    k: int = 0,
    path: Optional[Path] = None,
    shared: bool = False,
) -> GalleryScores:
    """Every image with every text. Equal texts are scored once, so that they tie exactly.

    Args:
        images: of `encode_gallery`.
        k: 0 scores all pairs exactly; else only the best k texts of each image and images of each text by the first
            score of `fusion.two_stage`, the rest behind them. A k that leaves out no image or no text is exact.
        path: a file of finished rows, of these weights, images, texts, this k and this process alone; None keeps
            nothing.
        shared: every process of a group calls this with the same arguments, and scores a share of the images; all get
            the matrix, the main one the sample too.
    """
    if k < 0:
        raise UserError(f"k_test: expected 0 (every pair exactly) or a number of candidates, got {k}")
    distinct = sorted(set(texts), key=lambda text: (len(text), text))
    prepared = _prepare_texts(model, distinct)
    place = {distinct[given]: packed for packed, given in enumerate(prepared.order.tolist())}
    columns = np.array([place[text] for text in texts], dtype=np.int64)
    prepared = prepared._replace(order=torch.arange(len(distinct), device=model.device))  # scores in packed order
    count = len(images.vectors)
    own = share(count) if shared else torch.arange(count)
    rows = Rows((len(own), len(distinct)), path)
    image_keys, text_keys = _keys(model, images), two_stage.text_keys(prepared)
    vectors = two_stage.global_vectors(model.fusion, image_keys, text_keys)
    vectors = vectors[0].cpu().numpy(), vectors[1].cpu().numpy()[columns]
    is_exact = k == 0 or k >= min(count, len(distinct))
    if is_exact:
        for block in _progress(rows, "Scoring images"):
            rows.append(model.fusion.score(_prepare_images(model, images, own[block]), prepared).cpu().numpy())
    else:
        first = two_stage.first_scores(image_keys, text_keys).cpu()
        _score_candidates(model, images, prepared, first, two_stage.candidates(first, k), own, rows)
    matrix = join(torch.from_numpy(rows.values), count, model.device).numpy() if shared else rows.values
    sample = None if is_exact or shared and get_rank() else _exact_sample(model, images, prepared, columns)
    return GalleryScores(matrix[:, columns], 0 if is_exact else k, sample, vectors)


def score_own(model, images: VisionFeatures, texts: Sequence[Sequence[str]]) -> List[np.ndarray]:
    """The exact scores of each of N images with its own list of texts, which may be empty."""
    distinct = sorted({text for own in texts for text in own}, key=lambda text: (len(text), text))
    if not distinct:
        return [np.empty(0, np.float32) for _ in texts]
    prepared = _prepare_texts(model, distinct)
    place = {distinct[given]: packed for packed, given in enumerate(prepared.order.tolist())}
    scores = []
    for image, own in enumerate(tqdm(texts, "Scoring images with their own texts", leave=False, unit=" images")):
        places, back = np.unique(np.array([place[text] for text in own], np.int64), return_inverse=True)
        few = prepared.select(torch.from_numpy(places).to(model.device))
        found = model.fusion.score(_prepare_images(model, images, slice(image, image + 1)), few)
        scores.append(found[0].cpu().numpy()[back])
    return scores


def _score_candidates(
    model, images: VisionFeatures, prepared: PreparedTexts, first: Tensor, exact: Tensor, own: Tensor, rows: Rows
) -> None:
    """Fill the rows of the images `own`."""
    for block in _progress(rows, "Scoring candidates"):
        scores, wanted = first[own[block]].to(model.device), exact[own[block]].to(model.device)
        two_stage.score_candidates(model.fusion, _prepare_images(model, images, own[block]), prepared, wanted, scores)
        rows.append(scores.cpu().numpy())


def _exact_sample(model, images: VisionFeatures, prepared: PreparedTexts, columns: np.ndarray) -> ExactSample:
    draw, count = np.random.default_rng(0), len(images.vectors)
    sampled = [np.sort(draw.choice(n, min(n, SAMPLED), replace=False)) for n in (count, len(columns))]
    rows = model.fusion.score(_prepare_images(model, images, torch.from_numpy(sampled[0])), prepared).cpu().numpy()
    places, back = np.unique(columns[sampled[1]], return_inverse=True)
    few = prepared.select(torch.from_numpy(places).to(model.device))
    blocks = even_slices(count, IMAGES_AT_ONCE)
    all_images = torch.cat([model.fusion.score(_prepare_images(model, images, own), few).cpu() for own in blocks])
    return ExactSample(sampled[0], rows[:, columns], sampled[1], all_images.numpy()[:, back])


def _keys(model, images: VisionFeatures) -> Tensor:
    blocks = even_slices(len(images.vectors), IMAGES_AT_ONCE)
    return torch.cat([two_stage.image_keys(model.fusion, _prepare_images(model, images, own)) for own in blocks])


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

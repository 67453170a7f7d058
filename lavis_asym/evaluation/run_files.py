"""Run files: what a model ranked, query by query, to be scored again without the model. Bytes in, bytes out.

`result/<split>.run.json.gz` is JSON without NaN, gzipped:

    {"format": "lavis-asym run", "version": 1,
     "protocol": {...},                     of the result file
     "fold": 1000 or null,                  images in a fold; queries meet the candidates of their own fold alone
     "images": ["a.jpg", ...],              N ids: queries of image_to_text, gallery of text_to_image
     "texts": ["a.jpg#0", "a.jpg#1", ...],  M ids: gallery of image_to_text, queries of text_to_image
     "owner": [0, 0, ...],                  the right image of each text; the right texts of an image are those it owns
     "image_to_text": {"ahead": [...], "tied": [...], "right": [...],    the Ranks of its N queries, exact
                       "candidates": [[3, 0, ...], ...],                 the first k of each, numbers in "texts"
                       "scores": [[0.91, null, ...], ...]},              theirs, to 9 digits, which is all of a float32
     "text_to_image": the same for M queries}

A score that is NaN is null, an infinite one "Infinity" or "-Infinity". Among equal candidates, wrong ones come first.
"""

import gzip
import json
import zlib
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from lavis_asym.evaluation.protocols import PROTOCOLS, Protocol, RankedGallery, galleries, rank_gallery
from lavis_asym.evaluation.ranks import Ranks
from lavis_asym.evaluation.top import Top, top_candidates
from lavis_asym.evaluation.truth import Truth

SUFFIX = ".run.json.gz"
FORMAT, VERSION = "lavis-asym run", 1
DIRECTIONS = ("image_to_text", "text_to_image")
TOP_K = 100


class Run(NamedTuple):
    """A run file's content. `texts_found` and `images_found` are the lists of image_to_text and text_to_image."""

    protocol: Dict[str, Any]
    images: List[str]
    texts: List[str]
    ranked: RankedGallery
    texts_found: Top
    images_found: Top


def make_run(
    scores_i2t: np.ndarray,
    scores_t2i: np.ndarray,
    truth: Truth,
    images: Sequence[str],
    described: Dict[str, Any],
    protocol: Protocol = PROTOCOLS["custom"],
    k: int = TOP_K,
) -> Run:
    """Rank and list every query.

    Args:
        scores_i2t, scores_t2i: N x M and M x N.
        truth: each text with one image.
        images: N file names, each once; a text's id is its image's, '#' and its number there.
        described: the "protocol" section of the result file.
        k: length of the lists, at most; no longer than the smallest gallery.
    Raises:
        ValueError: see `rank_gallery`.
    """
    ranked = rank_gallery(scores_i2t, scores_t2i, truth, protocol)
    parts = list(galleries(protocol, truth))
    fewest = min(len(part.truth.images) for part in parts), min(len(part.truth.texts) for part in parts)
    shapes = [(queries, min(k, candidates)) for queries, candidates in zip(scores_i2t.shape, fewest)]
    found = [Top(np.empty(shape, np.int64), np.empty(shape)) for shape in shapes]
    numbers = [np.arange(size) for size in scores_i2t.shape]
    for part in parts:
        directions = (
            (found[0], part.images, numbers[1][part.texts], scores_i2t[part.images][:, part.texts], part.truth.texts),
            (found[1], part.texts, numbers[0][part.images], scores_t2i[part.texts, part.images], part.truth.images),
        )
        for whole, queries, gallery, scores, right in directions:
            top = top_candidates(scores, right, whole.candidates.shape[1])
            whole.candidates[queries], whole.scores[queries] = gallery[top.candidates], top.scores
    return Run(described, list(images), text_ids(images, ranked.owner), ranked, *found)


def text_ids(images: Sequence[str], owner: np.ndarray) -> List[str]:
    """`IMAGE#N` for the N-th text (from 0) of each image."""
    seen = [0] * len(images)
    ids = []
    for image in owner.tolist():
        ids.append(f"{images[image]}#{seen[image]}")
        seen[image] += 1
    return ids


def encode(run: Run) -> bytes:
    """A run file's bytes; the same run gives the same bytes."""
    content: Dict[str, Any] = {"format": FORMAT, "version": VERSION, "protocol": run.protocol, "fold": run.ranked.fold}
    content.update(images=run.images, texts=run.texts, owner=run.ranked.owner.tolist())
    for name, ranks, top in zip(DIRECTIONS, (run.ranked.i2t, run.ranked.t2i), (run.texts_found, run.images_found)):
        content[name] = {field: values.tolist() for field, values in ranks._asdict().items()}
        content[name]["candidates"] = top.candidates.tolist()
        content[name]["scores"] = [[_number(score) for score in row] for row in top.scores.tolist()]
    return gzip.compress(json.dumps(content, allow_nan=False, separators=(",", ":")).encode(), 6, mtime=0)


def _number(score: float) -> Any:
    if score - score == 0:
        return float(f"{score:.9g}")
    return None if score != score else "Infinity" if score > 0 else "-Infinity"


def decode(content: bytes, name: str) -> Run:
    """A run file's content.

    Args:
        name: of the file, for errors.
    Raises:
        ValueError: not a run file, or one that contradicts itself; names the file and the key.
    """
    try:
        whole = json.loads(gzip.decompress(content))
    except (OSError, EOFError, zlib.error, ValueError, RecursionError) as error:
        raise ValueError(f"{name}: cannot be read as gzipped JSON ({error})") from None
    try:
        return _checked(whole)
    except _Fault as fault:
        raise ValueError(f"{name}: {fault}") from None


class _Fault(Exception):
    """What is wrong, and at which key."""


def _checked(whole: Any) -> Run:
    for key, expected in (("format", FORMAT), ("version", VERSION)):
        if _get(whole, key) != expected:
            raise _Fault(f"key '{key}': {whole[key]!r:.80}, expected {expected!r}")
    protocol = _get(whole, "protocol", dict)
    images, texts = _ids(whole, "images"), _ids(whole, "texts")
    owner = _integers(whole, "owner", (len(texts),), 0, len(images) - 1)
    fold: Optional[int] = whole.get("fold")
    if fold is not None and not (type(fold) is int and fold > 0 and len(images) % fold == 0):
        raise _Fault(f"key 'fold': {fold!r:.80}, expected null or a number that divides {len(images)} images")
    ranked, found = [], []
    for name, queries, gallery in zip(DIRECTIONS, (len(images), len(texts)), (len(texts), len(images))):
        part = _get(whole, name, dict)
        lows = {"ahead": 0, "tied": 0, "right": 1}
        ranks = Ranks(*(_integers(part, key, (queries,), low, gallery, name) for key, low in lows.items()))
        candidates = _integers(part, "candidates", (queries, None), 0, gallery - 1, name)
        top = Top(candidates, _scores(part, candidates.shape, name))
        of_images = name == DIRECTIONS[0]
        own = owner[candidates] == np.arange(queries)[:, None] if of_images else candidates == owner[:, None]
        listed = np.where(own.any(axis=1), own.argmax(axis=1), own.shape[1])
        wrong = np.flatnonzero(np.minimum(ranks.against(), own.shape[1]) != listed)
        if len(wrong):
            raise _Fault(f"key '{name}': the ranks and the candidates of query {wrong[0]} contradict each other")
        ranked.append(ranks)
        found.append(top)
    return Run(protocol, images, texts, RankedGallery(*ranked, owner, fold), *found)


def _get(holder: Any, key: str, kind: type = object, where: str = "") -> Any:
    path = f"{where}.{key}" if where else key
    if not isinstance(holder, dict) or key not in holder:
        raise _Fault(f"key '{path}' is missing")
    if not isinstance(holder[key], kind):
        raise _Fault(f"key '{path}': {holder[key]!r:.80}, expected a {kind.__name__}")
    return holder[key]


def _ids(whole: Dict[str, Any], key: str) -> List[str]:
    ids = _get(whole, key, list)
    if not ids or not all(isinstance(name, str) for name in ids) or len(set(ids)) < len(ids):
        raise _Fault(f"key '{key}': expected ids, each once")
    return ids


def _integers(
    holder: Dict[str, Any], key: str, shape: Tuple[Optional[int], ...], low: int, high: int, where: str = ""
) -> np.ndarray:
    """int64 of that shape (None: any length from 1) in low..high."""
    values = _get(holder, key, list, where)
    expected = f"{' x '.join('k' if n is None else str(n) for n in shape)} integers from {low} to {high}"
    try:
        array = np.array(values)
    except ValueError:  # rows of unequal length
        array = np.array(None)
    fits = array.ndim == len(shape) and array.size and all(n in (None, m) for n, m in zip(shape, array.shape))
    if not fits or array.dtype.kind != "i" or array.min() < low or array.max() > high:
        raise _Fault(f"key '{where}{'.' * bool(where)}{key}': expected {expected}")
    return array.astype(np.int64)


def _scores(holder: Dict[str, Any], shape: Tuple[int, int], where: str) -> np.ndarray:
    rows = _get(holder, "scores", list, where)
    try:
        scores = np.array([[np.nan if score is None else float(score) for score in row] for row in rows])
    except (TypeError, ValueError):
        scores = np.array(None)
    if scores.shape != shape:
        raise _Fault(f"key '{where}.scores': expected {shape[0]} x {shape[1]} numbers, null, 'Infinity' or '-Infinity'")
    return scores

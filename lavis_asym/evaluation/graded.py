"""NDCG with the similarity of captions as graded relevance: what nearly says the same is not all wrong.

As Messina et al. publish it ("Transformer Reasoning Network for Image-Text Matching and Retrieval", ICPR 2020, and
TERAN): rel(image, text) = tau(the image's captions, text), NDCG@p = DCG / ideal DCG, DCG = sum over ranks r <= p of
(2^rel - 1) / log2(r + 1), p = 25. An image's own captions have relevance too, and belong to its references. tau is
ROUGE-L, as there, or CIDEr-D; their second tau, SPICE, needs Java. CIDEr-D lies in [0, 10] and is divided by 10.

Values lie in [0, 1], as they are published. Their floor is high: captions share words. Each comes with its `chance`,
the value of a model that scores every pair alike.
"""

from typing import Any, Callable, Dict, Iterable, List, Sequence, Tuple

import numpy as np

from lavis_asym.evaluation.bootstrap import RESAMPLES, mean_interval
from lavis_asym.evaluation.caption_similarity import Cider, RougeL
from lavis_asym.evaluation.truth import Ragged, Truth
from lavis_asym.evaluation.words import groups_of, words_of

SIMILARITIES = {"rouge_l": RougeL, "cider": Cider}


def ndcg(scores: np.ndarray, gains: np.ndarray, at: int = 25) -> float:
    """Normalised discounted cumulative gain of one query, in [0, 1].

    Equal scores stand in random order, and the expected value is taken (as in scikit-learn): a constant score gives
    what chance gives. A NaN score takes a first place and earns nothing: it never helps, whatever the candidate is
    worth. 0 where no candidate is worth anything.

    Args:
        scores: C, higher is better.
        gains: C in [0, inf), for instance 2^rel - 1.
        at: the number of places that count.
    """
    at = min(at, len(scores))
    places = np.append(0, np.cumsum(1 / np.log2(np.arange(at) + 2)))
    ideal = np.diff(places) @ -np.sort(np.partition(-gains, at - 1)[:at])
    if ideal == 0:
        return 0.0
    unknown = np.isnan(scores)
    losses = np.where(unknown, -np.inf, -scores.astype(np.float64))
    counted = np.flatnonzero(losses <= np.partition(losses, at - 1)[at - 1])
    counted = counted[np.argsort(losses[counted], kind="stable")]
    first = np.flatnonzero(np.append(True, losses[counted][1:] != losses[counted][:-1]))
    bounds = np.append(first, len(counted))
    mean_gain = np.add.reduceat(np.where(unknown, 0, gains)[counted], first) / np.diff(bounds)
    return float(mean_gain @ np.diff(places[np.minimum(bounds, at)]) / ideal)


def graded_metrics(
    scores_i2t: np.ndarray,
    scores_t2i: np.ndarray,
    texts: Sequence[str],
    truth: Truth,
    at: int = 25,
    most_queries: int = 30_000,
    resamples: int = RESAMPLES,
    seed: int = 42,
    progress: Callable[[Iterable], Iterable] = iter,
) -> Dict[str, Dict[str, Any]]:
    """NDCG both ways, by ROUGE-L and by CIDEr-D.

    Words are those of `words.words_of`, a plain lower-case tokeniser. Texts of the same words are graded once.

    Args:
        scores_i2t, scores_t2i: N x M and M x N, higher is better.
        texts: the M texts.
        truth: whose texts describe which image, as annotated (not with groups of duplicates: these would change the
            references).
        at: the number of places that count.
        most_queries: a direction with more queries is measured on a sample of so many. COCO 5K is graded whole.
        resamples: of the intervals; 0 for none.
        seed: of that sample and of the intervals.
        progress: wraps each loop over queries, for instance `tqdm`.
    Raises:
        ValueError: scores of another shape, or an image without a text.
    Returns:
        For `rouge_l` and `cider`: `txt_ndcg25` (texts found for an image), `img_ndcg25` (images found for a text),
        their 95% intervals `txt_ndcg25_interval` and `img_ndcg25_interval` (None of too few images), their values at
        chance `txt_chance25` and `img_chance25`, and the numbers of queries `txt_queries` and `img_queries`.
    """
    images = len(truth.texts)
    if scores_i2t.shape != (images, len(texts)) or scores_t2i.shape != (len(texts), images):
        shapes = f"{scores_i2t.shape} and {scores_t2i.shape}"
        raise ValueError(f"{images} images and {len(texts)} texts, but scores of {shapes}")
    if not truth.texts.counts().all():
        raise ValueError(f"image {int(truth.texts.counts().argmin())} has no text to compare with")
    rng = np.random.default_rng(seed)
    image_queries, text_queries = (
        np.sort(rng.choice(count, most_queries, replace=False)) if count > most_queries else np.arange(count)
        for count in (images, len(texts))
    )
    distinct = groups_of(texts)
    words = [words_of(texts[first]) for first in np.unique(distinct, return_index=True)[1]]
    references = Ragged(distinct[truth.texts.values], truth.texts.starts)
    result = {}
    for name, kind in SIMILARITIES.items():
        similarity = kind(words, references)
        values: Dict[str, List[Tuple[float, float]]] = {"txt": [], "img": []}
        asked: Dict[str, List[int]] = {"txt": image_queries.tolist(), "img": []}  # the image of each query
        for image in progress(image_queries):
            gains = 2 ** similarity.of_image(image)[distinct] - 1
            values["txt"].append((ndcg(scores_i2t[image], gains, at), ndcg(np.zeros(len(gains)), gains, at)))
        for number in progress(np.unique(distinct[text_queries])):
            gains = 2 ** similarity.of_text(number) - 1
            chance = ndcg(np.zeros(len(gains)), gains, at)
            same_words = text_queries[distinct[text_queries] == number]
            values["img"] += [(ndcg(scores_t2i[text], gains, at), chance) for text in same_words]
            asked["img"] += [int(truth.images.row(text)[0]) for text in same_words]
        result[name] = {}
        for side, pairs in values.items():
            value, chance = np.mean(pairs, axis=0)
            result[name][f"{side}_ndcg{at}"] = float(value)
            interval = mean_interval([own for own, _ in pairs], asked[side], resamples, seed)
            result[name][f"{side}_ndcg{at}_interval"] = interval
            result[name][f"{side}_chance{at}"] = float(chance)
            result[name][f"{side}_queries"] = len(pairs)
    return result

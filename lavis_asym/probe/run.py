"""The asymmetry probe: what a model makes of texts that say less, more, or something false."""

from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any, Callable, Dict, FrozenSet, List, Mapping, Optional, Sequence, Set

import numpy as np

from lavis_asym.asymmetry.policy import read_policy
from lavis_asym.asymmetry.rearrange import negate
from lavis_asym.errors import UserError
from lavis_asym.evaluation.bootstrap import RESAMPLES, mean_interval
from lavis_asym.evaluation.by_length import recalls
from lavis_asym.evaluation.probe import chance, chosen
from lavis_asym.evaluation.ranks import Ranks
from lavis_asym.probe import texts
from lavis_asym.probe.choices import Choice, PathLike, items_of, photo_key, read_choices, read_karpathy_train
from lavis_asym.probe.operators import OWN
from lavis_asym.probe.scoring import OwnScores, Pair, Rank, ScoreAll, ScoreOwn, Scorer
from lavis_asym.probe.text_only import text_only_accuracy
from lavis_asym.probe.texts import FAMILIES, Item, Query

CAPTIONS = 1000

Interval = Callable[[Sequence[float], Sequence[int]], Optional[List[float]]]  # of values and the image of each


def run_probe(
    score_all: ScoreAll,
    images: Sequence[str],
    captions: Sequence[Sequence[str]],
    *,
    policy: Optional[Mapping[str, Any]] = None,
    score_own: Optional[ScoreOwn] = None,
    choices: Sequence[PathLike] = (),
    karpathy: Optional[PathLike] = None,
    limit: int = CAPTIONS,
    ties: str = "against",
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Dict[str, Any]:
    """Probe a model on a gallery of N images.

    Args:
        score_all: M different texts -> N x M scores, higher is better: `lambda t: model.similarity(paths, t).numpy()`.
        images: N names, as the annotations have them.
        captions: N lists; an image without captions only serves as a distractor, and for `choices`.
        policy: what the run overrode of asymmetry/policy.yaml ({} for nothing); None where it trained without samples.
        score_own: N lists of texts -> N arrays, the scores of each image with its own texts. Asked for type I where
            `score_all` is too dear; then "other_photos" is not measured.
        choices: multiple-choice or SugarCrepe files (see `choices`), of photos in the gallery.
        karpathy: his dataset_coco.json. Items of photos that his splits train on are then counted apart.
        limit: of the captions drawn by `seed` that texts are made of.
        ties: of the recalls, see `evaluation.ranks`; a false text that ties with the true one always counts as chosen.
        resamples: of the intervals; 0 for none.
        seed: of the texts and of the intervals.
    Returns:
        Plain JSON, accuracies and recalls in percent:
        {"seed": int, "captions": int drawn, "captions_in_all": int,
         "recall": {family of FAMILIES: {"type": "II" or "III", "queries": int,
                "captions": {"img_r1", "img_r5", "img_r10"}   of the captions that the queries were made from; where a
                                                             query has several, their mean
                "texts": {the same}                           of the queries, over the same gallery
                "gain_interval": {the same: [low, high]}      95% interval of texts less captions, by images,
                                                             or null of too few
                "ambiguous": int                              queries that may fit another photo too
                "unambiguous": {all but "type"} of the others; absent where there are none}},
         "operators": {operator: {"trained": bool, ITEM}},
         "operators_mean": {"trained", "held_out", and "own" for those that no policy trains on, the same in every run:
                {"operators": int, ITEM over all their items}},
         "people": {file's name, or its path where another has that name: {"not_in_gallery": int, ITEM,
                "karpathy_train": {ITEM} where there are such items}}}
        with ITEM: "items": int, "chance", "accuracy": the true text scores strictly above all wrong ones,
                "interval": its 95% interval, from images resampled with all their items, or null of too few,
                "text_only": what a classifier of words reaches without the photo, or null,
                "other_photos": the same choice by each text's mean score over all other photos, or null.
        Operators and families that apply to no caption are left out.
    Raises:
        UserError: a file that cannot be read, or none of whose photos is in the gallery.
        ValueError: another number of images than of lists of captions, a wrong policy, or scores of a wrong shape.
    """
    if len(images) != len(captions):
        raise ValueError(f"{len(images)} images but captions of {len(captions)}")
    trained = _trained(policy)
    named = Counter(Path(path).name for path in choices)
    people = {str(path) if named[Path(path).name] > 1 else Path(path).name: read_choices(path) for path in choices}
    seen = frozenset(map(photo_key, read_karpathy_train(karpathy))) if karpathy else frozenset()
    found = {name: _in_gallery(name, own, images) for name, own in people.items()}

    drawn = texts.draw_captions(captions, limit, seed)
    negatives = {name: items for name, items in texts.negatives(drawn, images, captions, seed) if items}
    scorer = Scorer(len(images), score_all, score_own)
    every = [item for items in (*negatives.values(), *found.values()) for item in items]
    scores = scorer.own((item.image, text) for item in every for text in (item.true, *item.wrong))

    interval = partial(mean_interval, resamples=resamples, seed=seed)
    operators = {
        name: {"trained": name in trained, **_accuracy(items, scores, interval, seed)}
        for name, items in negatives.items()
    }
    return {
        "seed": seed,
        "captions": len(drawn),
        "captions_in_all": sum(map(len, captions)),
        "recall": _recall(scorer, drawn, images, captions, ties, interval, seed),
        "operators": operators,
        "operators_mean": _means(operators),
        "people": {
            name: _of_people(people[name], own, scores, images, seen, interval, seed) for name, own in found.items()
        },
    }


def _trained(policy: Optional[Mapping[str, Any]]) -> Set[str]:
    """The type I operators that a run's samples came from."""
    operators = read_policy(policy).operators.get("I", {}) if policy is not None else {}
    return {*operators, negate.__name__} if operators else set()  # the last resort whatever its weight


def _in_gallery(name: str, choices: Sequence[Choice], images: Sequence[str]) -> List[Item]:
    items = items_of(choices, images)
    if not items:
        raise UserError(f"{name}: none of its photos is in the gallery (it begins with {choices[0].image}, the gallery "
                        f"with {images[0]}); give the file of this split, or leave it out")  # fmt: skip
    return items


def _recall(scorer: Scorer, drawn, images, captions, ties: str, interval: Interval, seed: int) -> Dict[str, Any]:
    made = {family: texts.queries(family, drawn, images, captions, seed) for family in FAMILIES}
    every = [query for own in made.values() for query in own]
    ranks = scorer.ranks((query.image, text) for query in every for text in (query.text, *query.sources))
    result = {}
    for family, own in made.items():
        if own:
            unclear = texts.ambiguous(own, captions)
            clear = [query for query, is_unclear in zip(own, unclear) if not is_unclear]
            row = {"type": FAMILIES[family][0], **_paired(own, ranks, ties, interval), "ambiguous": sum(unclear)}
            result[family] = {**row, **({"unambiguous": _paired(clear, ranks, ties, interval)} if clear else {})}
    return result


def _paired(queries: Sequence[Query], ranks: Mapping[Pair, Rank], ties: str, interval: Interval) -> Dict[str, Any]:
    def mean_recalls(image: int, asked: Sequence[str]) -> Dict[str, float]:
        ahead, tied = np.array([ranks[image, text] for text in asked]).T
        return recalls(Ranks(ahead, tied, np.ones_like(ahead)), ties)

    captions = [mean_recalls(query.image, query.sources) for query in queries]
    texts = [mean_recalls(query.image, [query.text]) for query in queries]
    own = [query.image for query in queries]
    gained = {name: [after[name] - before[name] for before, after in zip(captions, texts)] for name in captions[0]}
    return {
        "queries": len(queries),
        "captions": {name: float(np.mean([row[name] for row in captions])) for name in captions[0]},
        "texts": {name: float(np.mean([row[name] for row in texts])) for name in texts[0]},
        "gain_interval": {name: interval(values, own) for name, values in gained.items()},
    }


def _accuracy(items: Sequence[Item], scores: OwnScores, interval: Interval, seed: int) -> Dict[str, Any]:
    def right(of: Mapping[Pair, float]) -> np.ndarray:
        true = [of[item.image, item.true] for item in items]
        return 100.0 * chosen(true, [[of[item.image, text] for text in item.wrong] for item in items])

    own = right(scores.own)
    return {
        "items": len(items),
        "chance": 100.0 * chance([item.wrong for item in items]),
        "accuracy": float(own.mean()),
        "interval": interval(own, [item.image for item in items]),
        "text_only": text_only_accuracy(items, seed),
        "other_photos": None if scores.elsewhere is None else float(right(scores.elsewhere).mean()),
    }


def _means(operators: Mapping[str, Mapping[str, Any]]) -> Dict[str, Any]:
    groups = {
        "trained": [row for row in operators.values() if row["trained"]],
        "held_out": [row for row in operators.values() if not row["trained"]],
        "own": [operators[name] for name in OWN if name in operators],
    }
    return {name: _mean(rows) for name, rows in groups.items() if rows}


def _mean(rows: Sequence[Mapping[str, Any]]) -> Dict[str, Any]:
    """Means over the items of some operators."""
    counts = [row["items"] for row in rows]
    mean: Dict[str, Any] = {"operators": len(rows), "items": sum(counts)}
    for figure in ("chance", "accuracy", "text_only", "other_photos"):
        values = [row[figure] for row in rows]
        mean[figure] = None if None in values else float(np.average(values, weights=counts))
    return mean


def _of_people(
    choices: Sequence[Choice],
    items: Sequence[Item],
    scores: OwnScores,
    images: Sequence[str],
    seen: FrozenSet[str],
    interval: Interval,
    seed: int,
) -> Dict[str, Any]:
    known = [item for item in items if photo_key(images[item.image]) in seen]
    new = [item for item in items if photo_key(images[item.image]) not in seen]
    result: Dict[str, Any] = {"not_in_gallery": len(choices) - len(items)}
    if new:
        result.update(_accuracy(new, scores, interval, seed))
    if known:
        result["karpathy_train"] = _accuracy(known, scores, interval, seed)
    return result

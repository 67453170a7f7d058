"""The evaluation of a split: scores -> the sections of `result/<split>.json`, and the files beside it.

A validation takes the metrics alone; a final evaluation every section: intervals, duplicates, graded relevance, caption
lengths, the asymmetry probe, geometry, what two stages lose, and ECCV Caption where COCO's ids are known.
"""

import json
import math
import subprocess
from pathlib import Path
from typing import Any, Dict, Iterable, Iterator, List, Mapping, NamedTuple, Optional, Tuple

from tqdm import tqdm

from lavis_asym import evaluation
from lavis_asym.data.coco_ids import coco_ids
from lavis_asym.data.shards import write_atomically
from lavis_asym.errors import UserError
from lavis_asym.evaluation import Truth
from lavis_asym.evaluation.run_files import SUFFIX, encode
from lavis_asym.evaluation.words import groups_of
from lavis_asym.probe import run_probe
from lavis_asym.report import Pictures, collect, write_report
from lavis_asym.scorers import Scored, photo_of, weights_fingerprint

WHOLE_PROBE_IMAGES = 1000  # in larger galleries the probe scores false texts with their own photo alone
ATTENTION_PICTURES = 3
FIRST_STAGE = -2.0  # scores of two stages below it are first scores


class Settings(NamedTuple):
    """What a final evaluation does; `configs/run.yaml` says what each means."""

    protocol: str = "custom"
    ties: str = "against"
    k_test: int = 0
    resamples: int = 1000
    graded: bool = True
    probe: bool = True
    choices: Tuple[str, ...] = ()
    karpathy: Optional[str] = None
    coco_captions: Optional[str] = None
    policy: Optional[Mapping[str, Any]] = None  # of the samples that the model was trained with
    seed: int = 42


def rank(scored: Scored, dataset: Any, settings: Settings) -> evaluation.RankedGallery:
    """The ranks of all queries under the settings' protocol, whose `metrics(settings.ties)` are the figures.

    Raises:
        UserError: a gallery of another size than the protocol's.
    """
    protocol = evaluation.PROTOCOLS[settings.protocol]
    try:
        return evaluation.rank_gallery(scored.i2t, scored.t2i, truth_of(dataset), protocol)
    except ValueError as error:
        raise UserError(f"evaluation: {error}; take protocol custom, or the split that it is for") from None


def protocol_of(model, dataset: Any, scored: Scored, settings: Settings, /, **more: Any) -> Dict[str, Any]:
    """The "protocol" section: all that must be equal for two results to be comparable, and whose they are."""
    return {
        "name": settings.protocol,
        **more,
        "images": len(dataset.image),
        "captions": len(dataset.text),
        "distinct_captions": len(set(dataset.text)),
        "ties": settings.ties,
        "k_test": scored.k_test,
        "precision": str(next(model.parameters()).dtype).replace("torch.", ""),
        "weights": weights_fingerprint(model),
        "seed": settings.seed,
        "commit": commit(),
    }


def sections(scorer, scored: Scored, ranked: evaluation.RankedGallery, settings: Settings) -> Iterator[Tuple[str, Any]]:
    """(name, content) of each section of a final evaluation, one after another."""
    dataset, truth = scorer.dataset, truth_of(scorer.dataset)
    if settings.resamples:
        yield "intervals", evaluation.intervals(ranked, settings.ties, settings.resamples, settings.seed)
    if settings.protocol == "coco_5k":
        yield "coco_1k", rank(scored, dataset, settings._replace(protocol="coco_1k")).metrics(settings.ties)
    if scored.sample is not None:
        yield "two_stage", evaluation.two_stage_loss(scored.i2t, *scored.sample, truth, settings.ties)
    yield "duplicates", evaluation.metrics_with_duplicates(scored.i2t, scored.t2i, dataset.text, truth, settings.ties)
    lengths = [len(text.split()) for text in dataset.text]
    yield "by_length", evaluation.recall_by_length(ranked.t2i.against(), lengths)
    if scored.vectors:
        yield "geometry", evaluation.alignment_and_uniformity(*scored.vectors, truth.texts, groups_of(dataset.text))
    if settings.graded:
        bar = tqdm(desc="Grading captions", leave=False, unit=" queries")
        yield (
            "graded",
            evaluation.graded_metrics(
                scored.i2t, scored.t2i, dataset.text, truth, progress=lambda queries: _counted(queries, bar)
            ),
        )
    if settings.coco_captions:
        ids = coco_ids(dataset.image, dataset.text, truth.images.values, Path(settings.coco_captions))
        yield "eccv", evaluation.eccv_metrics(scored.i2t, scored.t2i, *ids)
    if settings.probe:
        yield "probe", _probe(scorer, settings)


def assess(
    scorer,
    scored: Scored,
    ranked: evaluation.RankedGallery,
    protocol: Mapping[str, Any],
    settings: Settings,
    folder: Path,
    split: str,
) -> Dict[str, Any]:
    """A final evaluation: its result, also written as `<split>.json`, `.md`, `.html` and `.run.json.gz`."""
    dataset = scorer.dataset
    result: Dict[str, Any] = {**ranked.metrics(settings.ties), "protocol": dict(protocol)}
    with tqdm(desc=f"Evaluating {split}", leave=False, unit=" sections") as bar:
        for name, content in sections(scorer, scored, ranked, settings):
            result[name] = content
            bar.set_postfix_str(name)
            bar.update()
    write_result(folder, split, result)
    named = evaluation.PROTOCOLS[settings.protocol]
    run = evaluation.make_run(scored.i2t, scored.t2i, truth_of(dataset), dataset.image, result["protocol"], named)
    write_atomically(folder / f"{split}{SUFFIX}", encode(run))
    write_report(folder, split, result, _pictures(scorer, scored, settings), lambda n: photo_of(dataset, n))
    return result


def write_result(folder: Path, split: str, result: Mapping[str, Any]) -> None:
    """`<split>.json`; a figure that does not exist (NaN) is null."""
    content = json.dumps(_without_nan(result), indent=1, allow_nan=False) + "\n"
    write_atomically(folder / f"{split}.json", content.encode())


def truth_of(dataset: Any) -> Truth:
    return Truth.from_maps(dataset.txt2img, dataset.img2txt)


def commit() -> Optional[str]:
    """The commit of this code, with a + behind it if files were changed since; None outside a git checkout."""
    git = ["git", "-C", str(Path(__file__).parent)]
    try:
        subprocess.run([*git, "ls-files", "--error-unmatch", Path(__file__).name], capture_output=True, check=True)
        described = subprocess.run([*git, "describe", "--always", "--abbrev=12", "--dirty=+", "--exclude=*"],
                                   capture_output=True, text=True, check=True)  # fmt: skip
    except (OSError, subprocess.CalledProcessError):
        return None
    return described.stdout.strip()


def _probe(scorer, settings: Settings) -> Dict[str, Any]:
    dataset = scorer.dataset
    is_large = len(dataset.image) > WHOLE_PROBE_IMAGES
    return run_probe(
        scorer.score_all,
        dataset.image,
        [[dataset.text[text] for text in dataset.img2txt[image]] for image in range(len(dataset.image))],
        policy=settings.policy,
        score_own=scorer.score_own if is_large else None,
        choices=settings.choices,
        karpathy=settings.karpathy,
        seed=settings.seed,
    )


def _pictures(scorer, scored: Scored, settings: Settings) -> Pictures:
    dataset = scorer.dataset
    floor = FIRST_STAGE if scored.sample is not None else -math.inf
    pictures = collect(
        scored.i2t, scored.t2i, truth_of(dataset), dataset.image, dataset.text, ties=settings.ties, floor=floor
    )
    attention: List[Any] = []
    for example in (*pictures.t2i.best, *pictures.t2i.worst):
        number = example.best_right.number
        photo = photo_of(dataset, number)
        if photo is not None and len(attention) < ATTENTION_PICTURES:
            attention.append(scorer.attend(number, photo, dataset.text[example.query]))
    return pictures._replace(attention=tuple(found for found in attention if found is not None))


def _counted(items: Iterable[Any], bar: tqdm) -> Iterator[Any]:
    for item in items:
        yield item
        bar.update()


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(own) for key, own in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(own) for own in value]
    return None if isinstance(value, float) and math.isnan(value) else value

"""The evaluation of a split: scores -> the sections of `result/<split>.json`, and the files beside it.

A validation takes the metrics alone; a final evaluation every section: intervals, duplicates, graded relevance, caption
lengths, the asymmetry probe, geometry, what two stages lose, and ECCV Caption where COCO's ids are known.
"""

import json
import math
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Dict, Iterable, Iterator, List, Mapping, NamedTuple, Optional, Tuple

from tqdm import tqdm

from lavis_asym import evaluation
from lavis_asym.data.coco_ids import coco_ids
from lavis_asym.errors import UserError
from lavis_asym.evaluation import Truth
from lavis_asym.evaluation.eccv import EXTRA
from lavis_asym.evaluation.run_files import SUFFIX, encode
from lavis_asym.evaluation.words import groups_of, identical
from lavis_asym.files import write_atomically
from lavis_asym.probe import read_choices, run_probe
from lavis_asym.probe.choices import items_of
from lavis_asym.report import Pictures, collect, write_report
from lavis_asym.scorers import Scored, photo_of, weights_fingerprint
from lavis_asym.version import commit

WHOLE_PROBE_IMAGES = 1000  # in larger galleries the probe scores false texts with their own photo alone
ATTENTION_PICTURES = 3
TESTED = "test"


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
        raise UserError(f"evaluation: {error}") from None


def protocol_of(model, dataset: Any, scored: Scored, settings: Settings, /, **more: Any) -> Dict[str, Any]:
    """The "protocol" section: all that must be equal for two results to be comparable, and whose they are."""
    return {
        "name": settings.protocol,
        **more,
        "images": len(dataset.image),
        "captions": len(dataset.text),
        "distinct_captions": len(set(map(identical, dataset.text))),
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
    yield (
        "duplicates",
        evaluation.metrics_with_duplicates(
            scored.i2t, scored.t2i, dataset.text, truth, settings.ties, evaluation.PROTOCOLS[settings.protocol]
        ),
    )
    lengths = [len(text.split()) for text in dataset.text]
    yield (
        "by_length",
        evaluation.recall_by_length(
            ranked.t2i, lengths, ranked.owner, settings.ties, resamples=settings.resamples, seed=settings.seed
        ),
    )
    if scored.vectors:
        yield "geometry", evaluation.alignment_and_uniformity(*scored.vectors, truth.texts, groups_of(dataset.text))
    if settings.graded:
        bar = tqdm(desc="Grading captions", leave=False, unit=" queries")
        yield (
            "graded",
            evaluation.graded_metrics(
                scored.i2t,
                scored.t2i,
                dataset.text,
                truth,
                resamples=settings.resamples,
                seed=settings.seed,
                progress=lambda queries: _counted(queries, bar),
            ),
        )
    if settings.probe and (scorer.score_own or len(dataset.image) <= WHOLE_PROBE_IMAGES):
        yield "probe", _probe(scorer, settings)
    elif settings.probe:
        tqdm.write(f"no asymmetry probe: this model would score every text with {len(dataset.image)} images")
    if settings.coco_captions:
        yield "eccv", _eccv(scored, dataset, Path(settings.coco_captions))


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
    write_result(folder, split, result)
    named = evaluation.PROTOCOLS[settings.protocol]
    run = evaluation.make_run(scored.i2t, scored.t2i, truth_of(dataset), _names(dataset), result["protocol"], named)
    write_atomically(folder / f"{split}{SUFFIX}", encode(run))
    with tqdm(desc=f"Evaluating {split}", leave=False, unit=" sections") as bar:
        for name, content in sections(scorer, scored, ranked, settings):
            result[name] = content
            write_result(folder, split, result)  # whatever happens in the next one
            bar.set_postfix_str(name)
            bar.update()
    write_report(folder, split, result, _pictures(scorer, scored, settings), lambda n: photo_of(dataset, n))
    return result


def check_settings(settings: Settings, datasets: Mapping[str, Any], tested: str = TESTED) -> None:
    """Before anything is trained or scored: can these splits be evaluated with these settings?

    Args:
        datasets: split -> evaluation set.
        tested: the split that the protocol is for.
    Raises:
        UserError: an image without a caption, that split of another size than the protocol's, a file of choices
            without a photo of any split, or ECCV Caption without its package.
    """
    protocol = evaluation.PROTOCOLS[settings.protocol]
    for split, dataset in datasets.items():
        bare = next((image for image, texts in dataset.img2txt.items() if not texts), None)
        if bare is not None:
            raise UserError(f"{split}: {dataset.image[bare]} has no caption; every image needs one to be evaluated")
        if split == tested and protocol.images not in (None, len(dataset.image)):
            raise UserError(
                f"protocol {protocol.name} is defined on {protocol.images} images, {split} has {len(dataset.image)}; "
                "take custom, or the whole split"
            )
    for path in settings.choices:
        choices = read_choices(path)
        if not any(items_of(choices, dataset.image) for dataset in datasets.values()):
            raise UserError(f"{path}: none of its photos is in {', '.join(datasets)} (it begins with "
                            f"{choices[0].image}); give the file of this data, or leave it out")  # fmt: skip
    if settings.coco_captions and find_spec("eccv_caption") is None:
        raise UserError(f"coco_captions: ECCV Caption and CxC need the package eccv_caption: {EXTRA}")


def write_result(folder: Path, split: str, result: Mapping[str, Any]) -> None:
    """`<split>.json`; a figure that does not exist (NaN) is null."""
    content = json.dumps(_without_nan(result), indent=1, allow_nan=False) + "\n"
    write_atomically(folder / f"{split}.json", content.encode())


def two_stage_line(section: Mapping[str, Any]) -> str:
    """What two stages lose, as a sentence."""
    return (
        f"two stages: the largest difference of a recall is {section['largest']:.2f} points, on a sample of "
        f"{section['images']} images and {section['texts']} texts scored exactly"
    )


def truth_of(dataset: Any) -> Truth:
    """The right pairs of a LAVIS retrieval evaluation set, from its `txt2img` and `img2txt`."""
    return Truth.from_maps(dataset.txt2img, dataset.img2txt)


def _probe(scorer, settings: Settings) -> Dict[str, Any]:
    dataset = scorer.dataset
    is_large = len(dataset.image) > WHOLE_PROBE_IMAGES
    return run_probe(
        scorer.score_all,
        dataset.image,
        [[dataset.text[text] for text in dataset.img2txt[image]] for image in range(len(dataset.image))],
        policy=settings.policy,
        score_own=scorer.score_own if is_large else None,
        choices=[path for path in settings.choices if items_of(read_choices(path), dataset.image)],
        karpathy=settings.karpathy,
        ties=settings.ties,
        resamples=settings.resamples,
        seed=settings.seed,
    )


def _eccv(scored: Scored, dataset: Any, captions: Path) -> Dict[str, Any]:
    owner = [dataset.txt2img[text] for text in range(len(dataset.text))]
    try:
        return evaluation.eccv_metrics(scored.i2t, scored.t2i, *coco_ids(dataset.image, dataset.text, owner, captions))
    except ValueError as error:
        raise UserError(f"coco_captions: {error}") from None


def _names(dataset: Any) -> List[str]:
    """The images' names, each once: another image of the same name gets its number."""
    seen: Dict[str, int] = {}
    for number, name in enumerate(dataset.image):
        seen.setdefault(name, number)
    return [name if seen[name] == number else f"{name}~{number}" for number, name in enumerate(dataset.image)]


def _pictures(scorer, scored: Scored, settings: Settings) -> Pictures:
    dataset = scorer.dataset
    pictures = collect(
        scored.i2t, scored.t2i, truth_of(dataset), dataset.image, dataset.text, ties=settings.ties, floor=scored.floor
    )
    attention: List[Any] = []
    for example in (*pictures.t2i.best, *pictures.t2i.worst):
        if len(attention) == ATTENTION_PICTURES:
            break
        number = example.best_right.number
        photo = photo_of(dataset, number)
        found = None if photo is None else scorer.attend(number, photo, dataset.text[example.query])
        attention += [] if found is None else [found]
    return pictures._replace(attention=tuple(attention))


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

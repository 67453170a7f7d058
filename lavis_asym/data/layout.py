"""Where annotations come from: LAVIS's layouts, and Karpathy's split files. One record type for all.

LAVIS's retrieval layout is `train.json` with a record a caption, `val.json`, `test.json` one an image, `images/`; its
COCO and Flickr30k annotations are the same records under other names.
"""

import json
from collections import Counter
from pathlib import Path
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Sequence, Set, Tuple

from lavis_asym.errors import UserError

SPLITS = ("train", "val", "test")
GIVEN = ("positives", "negatives")
KARPATHY_SPLITS = {"train": "train", "restval": "train", "val": "val", "test": "test"}


class Record(NamedTuple):
    """One image with all its captions."""

    image: str  # relative to the images folder
    captions: Tuple[str, ...]
    image_id: str
    positives: Tuple[Tuple[str, ...], ...] = ()  # of each caption, what people wrote; () where nobody wrote any
    negatives: Tuple[Tuple[str, ...], ...] = ()


Found = Tuple[List[Record], List[str]]  # and what is wrong


class Source(NamedTuple):
    """Checked annotations with the folder and the files that they come from."""

    images: Path
    files: Tuple[Path, ...]
    splits: Dict[str, List[Record]]


def read_layout(root: Path) -> Source:
    """A folder with train.json, val.json or test.json and images/ in it. Raises as `read_annotations`."""
    if not root.is_dir():
        raise UserError(f"{root}: no such folder; expected train.json, val.json or test.json and images/ in it")
    return read_annotations(root, "{}.json", root / "images")


def read_annotations(folder: Path, pattern: str, images: Path) -> Source:
    """The records of each split that has a file.

    Args:
        folder: of the annotations.
        pattern: of their names, `{}` standing for the split, such as `coco_karpathy_{}.json`.
        images: the folder that the records' image paths start from.
    Raises:
        UserError: naming every file, record and key that is not as it should be (see `_records`), a missing folder,
            no split at all, or an image that stands in two splits.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; expected {pattern.format('train')} and the other splits in it")
    files = {split: folder / pattern.format(split) for split in SPLITS}
    present = {split: path for split, path in files.items() if path.is_file()}
    if not present:
        names = " and ".join([", ".join(path.name for path in list(files.values())[:2]), files["test"].name])
        raise UserError(f"{folder}: expected at least one of {names}, found none")
    found = {split: _read(path, images) for split, path in present.items()}
    return _checked(found, Source(images, tuple(present.values()), {}), folder)


def read_records(path: Path) -> List[Record]:
    """The records of one file alone; whether its images exist is not asked.

    Raises:
        UserError: no such file, or what `read_annotations` finds wrong with its records.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file; expected records in LAVIS's layout, such as train.json")
    records, problems = _read(path, None)
    _raise(path, problems)
    return records


def read_karpathy(path: Path, images: Path) -> Source:
    """Karpathy's `dataset_coco.json`, `dataset_flickr30k.json`, ...; its restval images go to train.

    Raises:
        UserError: no such file, none of Karpathy's, or what `read_annotations` finds wrong with its records.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file; expected Karpathy's dataset_coco.json or one like it")
    content, problems = _load(path, dict)
    items = content.get("images")
    if not problems and (not isinstance(items, list) or not items):
        problems.append(f"{path}: expected Karpathy's format, an object with a non-empty list 'images'")
    annotations: Dict[str, List[Any]] = {}
    for number, item in enumerate(items if isinstance(items, list) else ()):
        try:
            split = KARPATHY_SPLITS[item["split"]]
            image = "/".join(filter(None, (item.get("filepath"), item["filename"])))
            image_id = item.get("cocoid", item.get("imgid", image))
            captions = [sentence["raw"] for sentence in item["sentences"]]
        except (KeyError, TypeError, AttributeError) as error:
            problems.append(
                f"{path}, image {number}: {type(error).__name__} {error}; expected 'filename', 'sentences' with 'raw' "
                f"texts, and a 'split' among {', '.join(KARPATHY_SPLITS)}"
            )
            continue
        annotations.setdefault(split, []).append({"image": image, "image_id": image_id, "caption": captions})
    found = {
        split: _records(f"{path.name}, split {split}", annotations[split], images)
        for split in SPLITS
        if split in annotations
    }
    return _checked(found, Source(images, (path,), {}), path, problems)


def _checked(found: Dict[str, Found], source: Source, place: Path, problems: Sequence[str] = ()) -> Source:
    if not source.images.is_dir():
        raise UserError(f"{source.images}: no such folder; expected the images that the annotations name in it")
    records = {split: own for split, (own, _) in found.items()}
    _raise(place, [*problems, *(problem for _, own in found.values() for problem in own), *_overlaps(records)])
    return source._replace(splits=records)


def _raise(place: Path, problems: List[str]) -> None:
    if problems:
        raise UserError.from_problems(f"{place}: {len(problems)} problem(s); mend these and start again:", problems)


def _read(path: Path, images: Optional[Path]) -> Found:
    """The records of a file, and what is wrong with it."""
    annotations, faults = _load(path, list)
    records, problems = _records(path.name, annotations, images)
    return records, faults + problems


def _load(path: Path, expected: type) -> Tuple[Any, List[str]]:
    """The content of a file, empty where it is not what is expected, and what is wrong with it."""
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        lines = "; expected one list, [{...}, {...}], not JSON lines" if "Extra data" in str(error) else ""
        return expected(), [f"{path}: not valid JSON ({error}){lines}"]
    if not isinstance(content, expected) or not content:
        what = "list of records" if expected is list else "object"
        return expected(), [f"{path}: expected a non-empty {what}, got {type(content).__name__}"]
    return content, []


def _records(name: str, annotations: List[Any], images: Optional[Path]) -> Found:
    """Records of one image are joined; a record is `{"image", "caption": str or list of str, "image_id"}`.

    It may carry `positives` and `negatives`: lists of texts that people wrote for its caption (for each, of a list).
    Where no record of an image has an `image_id` (as in LAVIS's COCO val and test files) its file name stands for it.
    """
    problems: List[str] = []
    captions: Dict[str, List[str]] = {}
    image_of: Dict[str, str] = {}
    first_of: Dict[str, Tuple[int, Any]] = {}  # number and image_id of an image's first record
    prefixed: Counter = Counter()
    given: Dict[str, Dict[str, List[Tuple[str, ...]]]] = {side: {} for side in GIVEN}
    there: Set[str] = set()
    for number, annotation in enumerate(annotations):
        fault = _fault(annotation, images, there)
        if fault:
            prefix = _prefix(annotation, images)
            if prefix:
                prefixed[prefix] += 1
            else:
                problems.append(f"{name}, record {number}: {fault}")
            continue
        image, own_id = annotation["image"], annotation.get("image_id")
        first, first_id = first_of.setdefault(image, (number, own_id))
        if str(own_id) != str(first_id):
            ids = ["no image_id" if given is None else f"image_id {str(given)!r}" for given in (own_id, first_id)]
            problems.append(
                f"{name}, record {number}: {image!r} has {ids[0]}, and {ids[1]} in record {first}; "
                "give all records of an image the same, or none"
            )
            continue
        image_id = image if own_id is None else str(own_id)
        if image_of.setdefault(image_id, image) != image:
            problems.append(
                f"{name}, record {number}: image_id {image_id!r} stands for {image_of[image_id]!r} and {image!r}; "
                "give each image an id of its own"
            )
            continue
        texts = annotation["caption"]
        folded = [" ".join(text.split()) for text in ([texts] if isinstance(texts, str) else texts)]
        captions.setdefault(image_id, []).extend(folded)
        for side in GIVEN:
            own = tuple(" ".join(text.split()) for text in annotation.get(side, ()))
            given[side].setdefault(image_id, []).extend([own] * len(folded))
    problems.extend(
        f"{name}: {count} record(s) have an image name that begins with {prefix!r}; image names are relative to "
        f"{images}: remove the prefix"
        for prefix, count in prefixed.items()
    )
    written = {side: {key: tuple(own) if any(own) else () for key, own in given[side].items()} for side in GIVEN}
    records = [
        Record(image_of[key], tuple(texts), key, *(written[side][key] for side in GIVEN))
        for key, texts in captions.items()
    ]
    return records, problems


def _prefix(annotation: Any, images: Optional[Path]) -> str:
    """What stands before the path inside `images` in a record's image name, as in `images/a.jpg`, or ''."""
    image = annotation.get("image") if isinstance(annotation, dict) else None
    if not images or not isinstance(image, str) or ".." in Path(image).parts:
        return ""
    if not Path(image).is_absolute() and (images / image).is_file():
        return ""
    rests = ("/".join(Path(image).parts[k:]) for k in range(1, len(Path(image).parts)))
    rest = next((rest for rest in rests if image.endswith(rest) and (images / rest).is_file()), "")
    return image[: len(image) - len(rest)] if rest else ""


def _fault(annotation: Any, images: Optional[Path], there: Set[str]) -> str:
    """What is wrong with a record, or ''; `there` remembers which images were found in their folder, if it is given."""
    if not isinstance(annotation, dict):
        return f"expected an object with 'image' and 'caption', got {type(annotation).__name__}"
    for key in ("image", "caption"):
        if key not in annotation:
            return f"no {key!r}; expected the keys 'image', 'caption' and 'image_id', got {sorted(annotation)}"
    image, caption = annotation["image"], annotation["caption"]
    if not isinstance(image, str) or not image or Path(image).is_absolute() or ".." in Path(image).parts:
        return f"'image' must be a path inside {images.name if images else 'images'}/, got {image!r}"
    if images and image not in there and not (images / image).is_file():
        return f"'image' names {image!r}, but there is no {images / image}; put it there or remove the record"
    there.add(image)
    texts = [caption] if isinstance(caption, str) else caption
    if not isinstance(texts, list) or not texts:
        return f"'caption' must be a text or a non-empty list of texts, got {caption!r}"
    if not all(isinstance(text, str) and text.strip() for text in texts):
        return f"'caption' of {image!r} is empty or no text: {caption!r}; write one or remove it"
    for side in GIVEN:
        written = annotation.get(side, [])
        if not isinstance(written, list) or not all(isinstance(text, str) and text.strip() for text in written):
            return f"{side!r} of {image!r} must be a list of texts, got {written!r}"
    return ""


def _overlaps(records: Dict[str, List[Record]]) -> Iterator[str]:
    for field in ("image_id", "image"):
        seen: Dict[str, str] = {}
        for split, split_records in records.items():
            for record in split_records:
                other = seen.setdefault(getattr(record, field), split)
                if other != split:
                    yield (
                        f"{field} {getattr(record, field)!r} stands in {other} and in {split}; "
                        "keep it in one of them, or the figures are of images seen in training"
                    )

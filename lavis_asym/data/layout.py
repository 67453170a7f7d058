"""LAVIS's retrieval layout: `train.json` with a record a caption, `val.json`, `test.json` one an image, `images/`."""

import json
from pathlib import Path
from typing import Dict, List, NamedTuple, Tuple

from lavis_asym.errors import UserError

SPLITS = ("train", "val", "test")
GIVEN = ("positives", "negatives")


class Record(NamedTuple):
    """One image with all its captions."""

    image: str  # relative to the images folder
    captions: Tuple[str, ...]
    image_id: str
    positives: Tuple[Tuple[str, ...], ...] = ()  # of each caption, what people wrote; () where nobody wrote any
    negatives: Tuple[Tuple[str, ...], ...] = ()


def read_layout(root: Path, images: str = "images") -> Dict[str, List[Record]]:
    """The records of each split that has a file.

    Raises:
        UserError: naming every file, record and key that is not as it should be (see `_read_split`), a missing images
            folder, no split at all, or an image that stands in two splits.
    """
    if not root.is_dir():
        raise UserError(f"{root}: no such folder; expected train.json, val.json or test.json and {images}/ in it")
    if not (root / images).is_dir():
        raise UserError(f"{root / images}: no such folder; expected the images that the json files name in it")
    present = [split for split in SPLITS if (root / f"{split}.json").is_file()]
    if not present:
        raise UserError(f"{root}: expected at least one of train.json, val.json and test.json, found none")
    problems: List[str] = []
    records = {split: _read_split(root / f"{split}.json", root / images, problems) for split in present}
    _check_overlap(records, problems)
    if problems:
        raise UserError.from_problems(f"{root}: {len(problems)} problem(s); mend these and start again:", problems)
    return records


def _read_split(path: Path, images: Path, problems: List[str]) -> List[Record]:
    """Records of one image are joined; a record is `{"image", "caption": str or list of str, "image_id"}`.

    It may carry `positives` and `negatives`: lists of texts that people wrote for its caption (for each, of a list).
    Without an `image_id` (as in LAVIS's COCO val and test files) the image's file name stands for it.
    """
    try:
        annotations = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, UnicodeDecodeError) as error:
        problems.append(f"{path}: not valid JSON ({error})")
        return []
    if not isinstance(annotations, list) or not annotations:
        problems.append(f"{path}: expected a non-empty list of records, got {type(annotations).__name__}")
        return []
    captions: Dict[str, List[str]] = {}
    image_of: Dict[str, str] = {}
    given: Dict[str, Dict[str, List[Tuple[str, ...]]]] = {side: {} for side in GIVEN}
    for number, annotation in enumerate(annotations):
        fault = _fault(annotation, images)
        if fault:
            problems.append(f"{path}, record {number}: {fault}")
            continue
        image = annotation["image"]
        image_id = str(annotation.get("image_id", image))
        if image_of.setdefault(image_id, image) != image:
            problems.append(
                f"{path}, record {number}: image_id {image_id!r} stands for {image_of[image_id]!r} and {image!r}; "
                "give each image an id of its own"
            )
            continue
        texts = annotation["caption"]
        folded = [" ".join(text.split()) for text in ([texts] if isinstance(texts, str) else texts)]
        captions.setdefault(image_id, []).extend(folded)
        for side in GIVEN:
            own = tuple(" ".join(text.split()) for text in annotation.get(side, ()))
            given[side].setdefault(image_id, []).extend([own] * len(folded))
    written = {side: {key: tuple(own) if any(own) else () for key, own in given[side].items()} for side in GIVEN}
    return [
        Record(image_of[key], tuple(texts), key, *(written[side][key] for side in GIVEN))
        for key, texts in captions.items()
    ]


def _fault(annotation, images: Path) -> str:
    """What is wrong with a record, or ''."""
    if not isinstance(annotation, dict):
        return f"expected an object with 'image' and 'caption', got {type(annotation).__name__}"
    for key in ("image", "caption"):
        if key not in annotation:
            return f"no {key!r}; expected the keys 'image', 'caption' and 'image_id', got {sorted(annotation)}"
    image, caption = annotation["image"], annotation["caption"]
    if not isinstance(image, str) or not image or Path(image).is_absolute() or ".." in Path(image).parts:
        return f"'image' must be a path inside {images.name}/, got {image!r}"
    if not (images / image).is_file():
        return f"'image' names {image!r}, but there is no {images / image}; put it there or remove the record"
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


def _check_overlap(records: Dict[str, List[Record]], problems: List[str]) -> None:
    for field in ("image_id", "image"):
        seen: Dict[str, str] = {}
        for split, split_records in records.items():
            for record in split_records:
                other = seen.setdefault(getattr(record, field), split)
                if other != split:
                    problems.append(
                        f"{field} {getattr(record, field)!r} stands in {other}.json and in {split}.json; "
                        "keep it in one of them, or the figures are of images seen in training"
                    )

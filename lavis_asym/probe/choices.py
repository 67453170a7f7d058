"""Type I negatives that people wrote or checked: `*_choices.json` files and SugarCrepe.

`*_choices.json` is a list of `{"image", "question", "answer", "wrong": [str, ...]}`; the text is "question answer".
SugarCrepe (arXiv 2306.14610) has one file a category (`replace_obj.json`, `swap_att.json`, ...), a mapping or list of
`{"filename", "caption", "negative_caption"}` over COCO's val2017, whose photos lie in Karpathy's train and test alike.
"""

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any, FrozenSet, List, NamedTuple, Optional, Sequence, Tuple, Union

from lavis_asym.asymmetry import normalise
from lavis_asym.asymmetry.text import clean
from lavis_asym.data.layout import KARPATHY_SPLITS
from lavis_asym.errors import UserError
from lavis_asym.probe.texts import Item

CHOICES_KEYS = ("image", "question", "answer", "wrong")
SUGARCREPE_KEYS = ("filename", "caption", "negative_caption")
PathLike = Union[str, Path]


class Choice(NamedTuple):
    """A text that is true of an image, and others that people hold to be false."""

    image: str
    true: str
    wrong: Tuple[str, ...]


def read_choices(path: PathLike) -> List[Choice]:
    """A file of either format. Wrong texts that equal the true one, and choices left without any, are passed over.

    Raises:
        UserError: no such file, no JSON, another layout, or a record without one of its keys.
    """
    data = _read(path)
    records = list(data.items()) if isinstance(data, dict) else list(enumerate(data)) if isinstance(data, list) else []
    if not records:
        raise UserError(f"{path}: expected a list or a mapping of records, with the keys {', '.join(CHOICES_KEYS)} "
                        f"(multiple choice) or {', '.join(SUGARCREPE_KEYS)} (SugarCrepe)")  # fmt: skip
    return [choice for key, record in records for choice in _choice(f"{path}: record {key}", record)]


def read_karpathy_train(path: PathLike) -> FrozenSet[str]:
    """Names of the photos that Karpathy's splits train on (train and restval), from his dataset_coco.json.

    Raises:
        UserError: no such file, no JSON, or another layout.
    """
    data = _read(path)
    try:
        return frozenset(
            image["filename"] for image in data["images"] if KARPATHY_SPLITS.get(image["split"]) == "train"
        )
    except (KeyError, TypeError) as error:
        raise UserError(f'{path}: expected Karpathy\'s {{"images": [{{"filename", "split"}}, ...]}}, as in '
                        f"dataset_coco.json; {type(error).__name__}: {error}") from None  # fmt: skip


def photo_key(name: str) -> str:
    """The form in which the names of photos are compared: COCO's number, else the name without its folder.

    "val2014/COCO_val2014_000000085329.jpg" and SugarCrepe's "000000085329.jpg" name the same photo.
    """
    name = name.replace("\\", "/").rpartition("/")[2]
    number = re.fullmatch(r"(?:COCO_\w+_)?(\d{12})\.\w+", name)
    return number.group(1) if number else name


def items_of(choices: Sequence[Choice], images: Sequence[str]) -> List[Item]:
    """The choices whose photo is in the gallery: by its name, else by a key that is one photo's alone."""
    keys = list(map(photo_key, images))
    count = Counter(keys)
    by_key = {key: i for i, key in enumerate(keys) if count[key] == 1}
    by_name = {name: i for i, name in enumerate(images)}
    found = ((by_name.get(choice.image, by_key.get(photo_key(choice.image))), choice) for choice in choices)
    return [Item(image, choice.true, choice.wrong) for image, choice in found if image is not None]


def _choice(where: str, record: Any) -> List[Choice]:
    keys = SUGARCREPE_KEYS if isinstance(record, dict) and "negative_caption" in record else CHOICES_KEYS
    problem = _problem(record, keys)
    if problem:
        raise UserError(f"{where}: {problem}; every record needs {', '.join(keys)}")
    if keys == SUGARCREPE_KEYS:
        image, true, wrong = record["filename"], record["caption"], [record["negative_caption"]]
    else:
        question = record["question"]
        image, true = record["image"], f"{question} {record['answer']}"
        wrong = [f"{question} {answer}" for answer in record["wrong"]]
    false = tuple(clean(text) for text in dict.fromkeys(wrong) if normalise(text) != normalise(true))
    return [Choice(image, clean(true), false)] if false else []


def _problem(record: Any, keys: Sequence[str]) -> Optional[str]:
    if not isinstance(record, dict):
        return f"expected an object, got {type(record).__name__}"
    for key in keys:
        if key not in record:
            return f"no key {key!r}"
        value = record[key]
        if key == "wrong":
            if not isinstance(value, list) or not value or not all(isinstance(text, str) for text in value):
                return f"{key!r} is {value!r}, expected a list of texts"
        elif not isinstance(value, str):
            return f"{key!r} is {value!r}, expected a text"
    return None


def _read(path: PathLike) -> Any:
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (ValueError, OSError) as error:
        raise UserError(f"{path}: cannot be read as JSON ({error})") from None

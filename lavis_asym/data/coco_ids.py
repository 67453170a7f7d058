"""The ids that COCO's own annotations give to images and captions, which its Karpathy splits leave out."""

import json
import re
from pathlib import Path
from typing import Dict, List, Sequence, Tuple

from lavis_asym.asymmetry import normalise
from lavis_asym.errors import UserError


def coco_ids(
    images: Sequence[str], texts: Sequence[str], owner: Sequence[int], annotations: Path
) -> Tuple[List[int], List[int]]:
    """COCO's ids of N images and M texts.

    Args:
        images: file names; the last number in each is its id, as in `val2014/COCO_val2014_000000391895.jpg`.
        texts: captions, matched to those of their image by their words.
        owner: the image of each text.
        annotations: COCO's `captions_val2014.json`.
    Raises:
        UserError: a file that is not COCO's, an image without an id, or a caption that its image does not have.
    """
    try:
        records = json.loads(annotations.read_text(encoding="utf-8"))["annotations"]
        known: Dict[Tuple[int, str], List[int]] = {}
        for record in records:
            known.setdefault((record["image_id"], normalise(record["caption"])), []).append(record["id"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{annotations}: cannot be read as COCO's captions ({type(error).__name__}: {error}); "
                        "expected captions_val2014.json") from None  # fmt: skip
    image_ids = []
    for name in images:
        numbers = re.findall(r"\d+", Path(name).stem)
        if not numbers:
            raise UserError(f"{name}: has no COCO id in its name; leave run.evaluation.coco_captions out")
        image_ids.append(int(numbers[-1]))
    text_ids = []
    for text, image in zip(texts, owner):
        ids = known.get((image_ids[image], normalise(text)))
        if not ids:
            raise UserError(f"{annotations}: has no caption {text!r} of {images[image]}; expected the annotations of "
                            "the images that are evaluated")  # fmt: skip
        text_ids.append(ids.pop(0))
    return image_ids, text_ids

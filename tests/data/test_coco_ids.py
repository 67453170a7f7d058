"""COCO's own ids, found by file names and words."""

import json

import pytest

from lavis_asym.data.coco_ids import coco_ids
from lavis_asym.errors import UserError

IMAGES = ["val2014/COCO_val2014_000000000042.jpg", "000000000007.jpg"]
TEXTS = ["a dog on a sofa", "A Dog, on a sofa!", "two cats"]


@pytest.fixture
def annotations(tmp_path):
    path = tmp_path / "captions_val2014.json"
    records = [(7, 70, "Two cats."), (42, 420, "A dog on a sofa."), (42, 421, "a dog on a sofa"), (9, 90, "a dog")]
    content = {"annotations": [dict(zip(("image_id", "id", "caption"), record)) for record in records]}
    path.write_text(json.dumps(content))
    return path


def test_ids_by_name_and_words_each_caption_once(annotations):
    assert coco_ids(IMAGES, TEXTS, [0, 0, 1], annotations) == ([42, 7], [420, 421, 70])


@pytest.mark.parametrize(
    "images, texts, message",
    [
        (["photo.jpg", IMAGES[1]], TEXTS, "photo.jpg: has no COCO id in its name"),
        (IMAGES, [*TEXTS[:2], "two dogs"], "no caption 'two dogs' of 000000000007.jpg"),
    ],
)
def test_what_is_not_cocos_is_named(annotations, images, texts, message):
    with pytest.raises(UserError, match=message):
        coco_ids(images, texts, [0, 0, 1], annotations)


@pytest.mark.parametrize("content", ["", "[]", '{"annotations": [{"id": 1}]}', None])
def test_a_file_that_is_not_cocos_is_named(tmp_path, content):
    path = tmp_path / "captions_val2014.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(UserError, match="captions_val2014.json: cannot be read"):
        coco_ids(IMAGES, TEXTS, [0, 0, 1], path)

"""Negatives by people: both formats, the names of photos, and errors that say what to mend."""

import json

import pytest

from lavis_asym.errors import UserError
from lavis_asym.probe import read_choices, read_karpathy_train
from lavis_asym.probe.choices import Choice, items_of, photo_key
from lavis_asym.probe.texts import Item

RECORD = {"image": "a.jpg", "question": "Who is there?", "answer": "A man.", "wrong": ["A  dog .", "a man", "No one."]}
CREPE = {"filename": "000000085329.jpg", "caption": "A dog on a bench.", "negative_caption": "A bench on a dog."}


@pytest.fixture
def written(tmp_path):
    def write(content):
        path = tmp_path / "some.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return write


def test_multiple_choice(written):
    (choice,) = read_choices(written([RECORD]))
    assert choice == Choice("a.jpg", "Who is there? A man", ("Who is there? A dog", "Who is there? No one"))


@pytest.mark.parametrize("layout", [{"0": CREPE, "7": CREPE}, [CREPE, CREPE]])
def test_sugarcrepe_as_mapping_and_as_list(written, layout):
    assert read_choices(written(layout)) == [Choice(CREPE["filename"], "A dog on a bench", ("A bench on a dog",))] * 2


def test_a_choice_without_a_false_text_is_passed_over(written):
    assert read_choices(written([{**RECORD, "wrong": ["a man"]}])) == []


@pytest.mark.parametrize(
    "content,said",
    [
        ("{", "cannot be read as JSON"),
        ("3", "expected a list or a mapping of records"),
        ([], "expected a list or a mapping of records"),
        ([RECORD, "x"], "record 1: expected an object, got str"),
        ([{k: v for k, v in RECORD.items() if k != "wrong"}], "record 0: no key 'wrong'; every record needs image"),
        ([{**RECORD, "wrong": []}], "record 0: 'wrong' is []"),
        ([{**RECORD, "answer": 3}], "record 0: 'answer' is 3, expected a text"),
        ({"12": {**CREPE, "filename": None}}, "record 12: 'filename' is None"),
        ({"5": {"negative_caption": "a"}}, "record 5: no key 'filename'; every record needs filename, caption"),
    ],
)
def test_errors_name_file_record_and_key(written, content, said):
    path = written(content)
    with pytest.raises(UserError) as error:
        read_choices(path)
    assert str(path) in str(error.value) and said in str(error.value)


def test_a_missing_file(tmp_path):
    with pytest.raises(UserError, match="nothing.json: no such file"):
        read_choices(tmp_path / "nothing.json")


def test_photos_are_found_by_coco_number_or_by_name():
    assert photo_key("val2014/COCO_val2014_000000085329.jpg") == photo_key("000000085329.jpg") == "000000085329"
    assert photo_key("images/v7w_12.jpg") == "v7w_12.jpg" != photo_key("v7w_13.jpg")
    choices = [Choice("000000085329.jpg", "t", ("w",)), Choice("000000000001.jpg", "t", ("w",))]
    assert items_of(choices, ["x.jpg", "val2014/COCO_val2014_000000085329.jpg"]) == [Item(1, "t", ("w",))]


def test_photos_of_one_name_in_two_folders_are_told_apart():
    gallery = ["cats/001.jpg", "dogs/001.jpg", "002.jpg"]
    names = ("cats/001.jpg", "dogs/001.jpg", "001.jpg", "images/002.jpg", "birds/001.jpg")
    assert [item.image for item in items_of([Choice(name, "t", ("w",)) for name in names], gallery)] == [0, 1, 2]
    bare = items_of([Choice("cats/001.jpg", "t", ("w",)), Choice("001.jpg", "t", ("w",))], ["001.jpg", "dogs/001.jpg"])
    assert [item.image for item in bare] == [0], "either photo may be cats/001.jpg, or neither"


def test_karpathy_train(written):
    splits = ("train", "restval", "val", "test")
    path = written({"images": [{"filename": f"{split}.jpg", "split": split} for split in splits]})
    assert read_karpathy_train(path) == {"train.jpg", "restval.jpg"}
    with pytest.raises(UserError, match="some.json: expected Karpathy's"):
        read_karpathy_train(written([RECORD]))

"""`lavis-asym samples`: what it prints, the page it writes, what it says when something is wrong."""

import json
import re

import pytest
from PIL import Image

from lavis_asym.cli import main

RECORDS = [
    {"image": "1.jpg", "caption": "A red bus & a man .", "image_id": "one", "negatives": ["a red train"]},
    {"image": "1.jpg", "caption": "A bus in a street", "image_id": "one"},
    {"image": "2.jpg", "caption": ["two dogs on a sofa", "animals in a room"]},
]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "train.json").write_text(json.dumps(RECORDS))
    for name in ("1.jpg", "2.jpg"):
        Image.new("RGB", (640, 480), "red").save(tmp_path / name)
    return tmp_path


def test_it_prints_samples_with_their_changes(folder, capsys):
    assert main(["samples", "--ann", str(folder / "train.json"), "-n", "9"]) == 0
    text = capsys.readouterr().out
    assert text.count("caption  ") == 2 and re.search(r"(?m)^negative +I +\w+ .*(\[-.+-\]|\{\+.+\+\})", text)
    assert re.search(r"(?m)^positive +(II|III) ", text) and "its negative" in text and "\033" not in text


def test_seed_and_epoch_draw_again_and_a_type_can_be_switched_off(folder, capsys):
    def printed(*options):
        assert main(["samples", "--ann", str(folder / "train.json"), *options]) == 0
        return capsys.readouterr().out

    assert printed() == printed()
    assert len({printed(), printed("--epoch", "1"), printed("--seed", "1")}) == 3
    assert "negative" not in printed("--policy", "types.I=0")
    assert "replace_" not in printed("--policy", "I.negate=1000000000")


def test_the_page_holds_everything(folder, capsys):
    page = folder / "page.html"
    assert main(["samples", "--ann", str(folder / "train.json"), "--images", str(folder), "--html", str(page)]) == 0
    text = page.read_text()
    assert text.count("data:image/jpeg;base64,") == 2 and "<ins>" in text and "<section>" in text
    assert not re.search(r'(src|href)="(?!data:)', text) and "bus & a" not in text


@pytest.mark.parametrize(
    "options,message",
    [
        (["--ann", "nowhere.json"], "--ann nowhere.json: no such file"),
        (["--ann", "{}/broken.json"], "expected a JSON list of"),
        (["--ann", "{}/other.json"], "expected a JSON list of .*KeyError: 'caption'"),
        (["--ann", "{}/train.json", "--images", "nowhere"], "--images nowhere: no such folder"),
        (["--ann", "{}/train.json", "--policy", "types.I"], "expected KEY=VALUE"),
        (["--ann", "{}/train.json", "--policy", "I.swop=1"], "policy.I.swop: unknown key"),
        (["--ann", "{}/train.json", "--images", "{}", "--html", "{}/no/page.html"], "page.html: cannot be written"),
    ],
)
def test_an_error_says_what_to_mend(folder, options, message, capsys):
    (folder / "broken.json").write_text("[{")
    (folder / "other.json").write_text('[{"image": "1.jpg"}]')
    assert main(["samples", *(option.format(folder) for option in options)]) == 2
    assert re.search(message, capsys.readouterr().err)


def test_help_teaches(capsys):
    with pytest.raises(SystemExit):
        main(["samples", "--help"])
    text = capsys.readouterr().out
    for word in ("examples:", "--policy types.II=0", "[-word-]", "policy.yaml", "text_processor.train.policy"):
        assert word in text

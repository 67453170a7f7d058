"""`lavis-asym samples`: what it prints, the page it writes, what it says when something is wrong."""

import json
import re
import subprocess
import sys

import pytest
from PIL import Image

from lavis_asym.cli import main
from lavis_asym.processors import AsymCaptionProcessor

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


def test_it_shows_what_training_sees(folder, capsys):
    """White space is folded, as it is in shards: the caption is part of what draws its samples."""
    captions = ("a red bus and a man in a street", "two men next to a bus", "a large bus on a wet road")
    records = [{"image": "1.jpg", "image_id": 1, "caption": [text.replace(" ", "  ") for text in captions]}]
    (folder / "spaced.json").write_text(json.dumps(records))
    for epoch in range(3):
        assert main(["samples", "--ann", str(folder / "spaced.json"), "--epoch", str(epoch)]) == 0
        printed = capsys.readouterr().out
        caption = re.search(r"(?m)^caption +(.*)$", printed).group(1)
        rows = AsymCaptionProcessor(samples=True, seed=42)(caption, captions, key="1", epoch=epoch)
        operators = [row.split()[2] for row in printed.splitlines() if row.startswith("negative ")]
        assert operators == rows["negative_operator"].split("\n")
        shown = re.search(r"(?m)^negative +I +\w+ +(.*)$", printed).group(1)
        assert re.sub(r"\[-.*?-\] ?|\{\+|\+\}", "", shown).split() == rows["negative"].split()


def test_the_page_holds_everything(folder, capsys):
    page = folder / "page.html"
    assert main(["samples", "--ann", str(folder / "train.json"), "--images", str(folder), "--html", str(page)]) == 0
    text = page.read_text()
    assert text.count("data:image/jpeg;base64,") == 2 and "<ins>" in text and "<section>" in text
    assert not re.search(r'(src|href)="(?!data:)', text) and "bus & a" not in text


@pytest.mark.parametrize(
    "options,message",
    [
        (["--ann", "nowhere.json"], "nowhere.json: no such file"),
        (["--ann", "{}"], "no such file; expected records"),
        (["--ann", "{}/broken.json"], "broken.json: not valid JSON"),
        (["--ann", "{}/other.json"], r"other.json, record 0: no 'caption'(.|\n)*record 1: 'caption' must be a text"),
        (["--ann", "{}/other.json"], r"record 2: 'negatives' of '1.jpg' must be a list of texts, got None"),
        (["--ann", "{}/train.json", "-n", "-1"], "-n -1: expected at least 1"),
        (["--ann", "{}/train.json", "--images", "nowhere"], "--images nowhere: no such folder"),
        (["--ann", "{}/train.json", "--policy", "types.I"], "expected KEY=VALUE"),
        (["--ann", "{}/train.json", "--policy", "I.swop=1"], "policy.I.swop: unknown key"),
        (["--ann", "{}/train.json", "--policy", "types=3"], "policy.types: expected a mapping"),
        (
            ["--ann", "{}/train.json", "--policy", "types=3", "--policy", "types.II=0"],
            "types was given a value already, 3",
        ),
        (["--ann", "{}/train.json", "--policy", "types=["], r"'types=\[': '\[' is no value in YAML"),
        (["--ann", "{}/train.json", "--images", "{}", "--html", "{}/no/page.html"], "page.html: cannot be written"),
    ],
)
def test_an_error_says_what_to_mend(folder, options, message, capsys):
    (folder / "broken.json").write_text("[{")
    records = [
        {"image": "1.jpg"},
        {"image": "1.jpg", "caption": 3},
        {"image": "1.jpg", "caption": "x", "negatives": None},
    ]
    (folder / "other.json").write_text(json.dumps(records))
    assert main(["samples", *(option.format(folder) for option in options)]) == 2
    assert re.search(message, capsys.readouterr().err)


def test_help_teaches(capsys):
    with pytest.raises(SystemExit):
        main(["samples", "--help"])
    text = capsys.readouterr().out
    for word in ("examples:", "--policy types.II=0", "[-word-]", "policy.yaml", "text_processor.train.policy"):
        assert word in text


def test_a_reader_that_closes_its_pipe_is_no_error(folder):
    command = f"{sys.executable} -m lavis_asym.cli samples --ann train.json | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], cwd=folder, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("141\n", "")

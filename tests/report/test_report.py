"""The report: its figures are the result's, its page is whole by itself, and what is missing is left out."""

import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from lavis_asym.evaluation.truth import Truth
from lavis_asym.report import Attention, collect, write_report, write_scalars
from lavis_asym.report.scalars import figures

METRICS = {"txt_r1": 48.61, "txt_r5": 70.0, "txt_r10": 80.0, "txt_r_mean": 66.2, "img_r1": 5.72, "img_r5": 20.0,
           "img_r10": 30.0, "img_r_mean": 18.57, "r_mean": 42.4, "rsum": 254.33, "txt_medr": 2.0, "img_medr": 21.0,
           "txt_meanr": 7.25, "img_meanr": 43.5, "agg_metrics": 254.33}  # fmt: skip
PROTOCOL = {"name": "custom", "data": "asym_custom", "split": "val", "images": 4, "captions": 8,
            "distinct_captions": 8, "ties": "against", "k_test": 0, "precision": "float32", "weights": "0123456789ab",
            "seed": 42, "commit": None, "selection": "rsum of val", "epoch": "best"}  # fmt: skip
RECALLS = {"img_r1": 5.0, "img_r5": 25.0, "img_r10": 45.0}
CHOICE = {"items": 6, "chance": 50.0, "accuracy": 70.21, "text_only": 55.55, "other_photos": None}
SECTIONS = {
    "intervals": {name: [value - 1.5, value + 1.5] for name, value in METRICS.items()},
    "duplicates": {"near": {"rule": "equal words", "texts": 17, "groups": 5, "metrics": {**METRICS, "img_r1": 9.87}}},
    "graded": {
        "rouge_l": {"txt_ndcg25": 0.6124, "txt_ndcg25_interval": None, "img_ndcg25": 0.081},
        "cider": {"txt_ndcg25": None},
    },
    "by_length": [
        {"words": "1-5", "queries": 123, "img_r1": 1.5, "img_r5": 12.25, "img_r10": 33.0},
        {"words": "6+", "queries": 7, "img_r1": 100.0, "img_r5": 100.0, "img_r10": 100.0},
    ],
    "probe": {
        "seed": 3,
        "captions": 8,
        "captions_in_all": 9,
        "recall": {
            "cut": {
                "type": "II",
                "queries": 8,
                "captions": RECALLS,
                "texts": {**RECALLS, "img_r1": 61.24},
                "ambiguous": 8,
            }
        },
        "operators": {"replace_noun": {"trained": False, **CHOICE}},
        "operators_mean": {"held_out": {"operators": 1, "accuracy": 70.21, "text_only": None, "other_photos": None}},
        "people": {
            "swap|1.json": {"not_in_gallery": 0, **CHOICE},
            "seen.json": {"not_in_gallery": 1, "karpathy_train": CHOICE},
        },
    },
    "geometry": {"alignment": 0.831, "uniformity_image": -2.104},
    "unheard_of": {"deep": {"deeper": {"figure": 3}}},
}
TEXTS = [f"text {k} <script>alert('&')</script> | \"quoted\"" for k in range(8)]
IMAGES = [f"<{k}>.jpg" for k in range(4)]


@pytest.fixture
def pictures():
    scores = np.random.default_rng(0).normal(size=(4, 8)).astype(np.float32)
    truth = Truth.from_maps([0, 0, 1, 1, 2, 2, 3, 3], [[0, 1], [2, 3], [4, 5], [6, 7]])
    grid = np.random.default_rng(1).dirichlet(np.ones(49), size=2).reshape(2, 7, 7)
    attention = (Attention(2, TEXTS[4], ("<b>", "bus"), grid),)
    return collect(scores, scores.T, truth, IMAGES, TEXTS)._replace(attention=attention)


class Balanced(HTMLParser):
    """Every tag is closed in its turn, no id stands twice, and every reference stays inside the page."""

    VOID = {"meta", "img", "br"}

    def __init__(self, content):
        super().__init__()
        self.open, self.tags, self.ids, self.references = [], [], set(), set()
        self.feed(content)
        self.close()
        assert not self.open and all(r.startswith("data:") or r[1:] in self.ids for r in self.references)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        if tag not in self.VOID:
            self.open.append(tag)
        self._attributes(attributes)

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)
        self._attributes(attributes)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def _attributes(self, attributes):
        for name, value in attributes:
            if name == "id":
                assert value not in self.ids
                self.ids.add(value)
            if name in ("src", "href", "xlink:href", "srcset", "data", "action"):
                self.references.add(value)


def photo(number):
    return Image.new("RGB", (640, 320 + number), "red")


def written(folder, *arguments):
    return [path.read_text(encoding="utf-8") for path in write_report(folder, "val", *arguments)]


def test_the_page_is_whole_by_itself(tmp_path, pictures):
    _, content = written(tmp_path, {**METRICS, "protocol": PROTOCOL, **SECTIONS}, pictures, photo)
    page = Balanced(content)
    assert "script" not in page.tags and "&lt;script&gt;" in content
    assert not re.search(r"https?://|url\(|@import", content) and "nan" not in content
    shown = [len(d.worst + d.best) for d in (pictures.i2t, pictures.t2i)]
    assert page.tags.count("img") == shown[0] + 4 * shown[1] and min(shown) > 4
    assert content.count('class="ring"') == 3 and "61.2" in content  # two rows and the legend
    assert page.tags.count("use") == 1 and content.count("x even") == 2


def test_without_photos_sections_or_pictures_the_page_does_without(tmp_path, pictures):
    for arguments in ((METRICS,), ({}, pictures), ({**METRICS, "protocol": PROTOCOL}, pictures, lambda number: None)):
        text, content = written(tmp_path, *arguments)
        page = Balanced(content)
        assert "img" not in page.tags and "Where words look" not in content and "## " not in text
        assert ("<polyline" in content) == (len(arguments) > 1)


def test_markdown_has_the_figures_of_the_result(tmp_path):
    text, _ = written(tmp_path, {**METRICS, "protocol": PROTOCOL, **SECTIONS})
    lines = text.splitlines()
    assert all(str(PROTOCOL[name]) in lines[0] for name in ("name", "split", "images", "captions", "weights", "seed"))
    assert lines[2] == "|  | R@1 | R@5 | R@10 | mean | MedR | MeanR |"
    assert lines[4].startswith("| image to text | 48.6 [47.1, 50.1] | 70.0 [68.5, 71.5] |")
    assert lines[5].startswith("| text to image | 5.7 [4.2, 7.2] | 20.0 ")
    assert "mean recall 42.4 [40.9, 43.9], rSum 254.3 [252.8, 255.8]" in lines
    for row in (
        "near: equal words",
        "| near | 17 | 5 | 48.6 | 70.0 | 80.0 | 9.9 | 20.0 | 30.0 | 42.4 | 254.3 |",
        "| rouge l | 0.612 | 0.081 |",
        "| cider |  |  |",
        "NDCG from 0 to 1, higher is better; chance is its value where all scores are equal. Equal scores share "
        "the mean of their places, whatever the ties of the recalls. In brackets: 95% intervals, of 10 images or more.",
        "Alignment from 0 to 4, lower is better: matching pairs lie nearer. Uniformity from -8 to 0, lower is better: "
        "images, or texts, are more evenly spread.",
        "| 1-5 | 123 | 1.5 | 12.2 | 33.0 |",
        "| replace_noun | held out | 6 | 70.2 | 55.5 | - | 50.0 |",
        r"| swap\|1.json | 6 | 70.2 | 55.5 | - | 50.0 |",
        "| 0.831 | -2.104 |",
        "| deeper | 3 |",
    ):
        assert row in lines
    for table in re.findall(r"(?m)(?:^\|.*\n)+", text):
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1


def test_every_figure_has_a_name():
    found = figures({**METRICS, "protocol": PROTOCOL, **SECTIONS})
    assert {name: found[name] for name in METRICS} == METRICS
    assert found["by_length/1-5/img_r5"] == 12.25 and found["duplicates/near/metrics/img_r1"] == 9.87
    assert found["unheard_of/deep/deeper/figure"] == 3.0 and not any("protocol" in name for name in found)


def test_without_tensorboard_no_scalars_are_written(tmp_path, monkeypatch):
    monkeypatch.setattr("lavis_asym.report.scalars.find_spec", lambda name: None)
    write_scalars(tmp_path, "val", METRICS, 0)
    assert not list(tmp_path.iterdir())


def test_scalars_are_read_back(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for epoch, value in ((0, 10.0), (1, 12.5)):
        write_scalars(tmp_path, "val", {**METRICS, "txt_r1": value}, epoch)
    events = EventAccumulator(str(tmp_path)).Reload()
    assert [(event.step, event.value) for event in events.Scalars("val/txt_r1")] == [(0, 10.0), (1, 12.5)]
    assert len(events.Tags()["scalars"]) == len(METRICS)

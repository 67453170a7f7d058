"""The probe as a whole, with models whose figures can be worked out by hand."""

import json
import subprocess
import sys

import numpy as np
import pytest

from lavis_asym.asymmetry.text import words
from lavis_asym.errors import UserError
from lavis_asym.probe import probe_tables, run_probe
from lavis_asym.probe.operators import OWN
from lavis_asym.probe.scoring import Scorer

IMAGES = ["1.jpg", "2.jpg", "3.jpg"]
CAPTIONS = [
    ["A small red plane to the left of a large truck", "a plane and two buses at the airport"],
    ["A man with a hat in a kitchen", "two plates on a wooden table"],
    ["A woman on a beach and a dog with a ball", "the dog is in the water"],
]
SAID = [{word for caption in own for word in words(caption)} for own in CAPTIONS]


def overlap(texts):
    """Share of a text's words that the image's captions say: 3 x M."""
    return np.array([[len(said & set(words(t))) / len(set(words(t))) for t in texts] for said in SAID])


def constant(texts):
    return np.zeros((len(IMAGES), len(texts)))


def not_a_number(texts):
    return np.full((len(IMAGES), len(texts)), np.nan)


@pytest.fixture
def choices(tmp_path):
    """Image 1: one right by overlap; image 2: a tie, wrong; image 3: one right, one wrong; image 9: not there."""
    records = [
        ("1.jpg", "what", "a red plane", ["a red boat", "a blue plane"]),
        ("2.jpg", "a man", "in a hat", ["in a kitchen"]),
        ("3.jpg", "a dog", "with a ball", ["with a cat"]),
        ("3.jpg", "a dog", "outdoors", ["in the water"]),
        ("9.jpg", "a dog", "with a ball", ["with a cat"]),
    ]
    path = tmp_path / "my_choices.json"
    path.write_text(json.dumps([dict(zip(("image", "question", "answer", "wrong"), record)) for record in records]))
    return path


def test_an_oracle_and_choices_counted_by_hand(choices):
    probe = run_probe(overlap, IMAGES, CAPTIONS, policy={}, choices=[choices])
    people = probe["people"]["my_choices.json"]
    assert (people["items"], people["not_in_gallery"], people["accuracy"]) == (4, 1, 50.0)
    assert people["chance"] == pytest.approx(100 * (1 / 3 + 3 / 2) / 4)
    assert probe["captions"] == probe["captions_in_all"] == 6
    for row in probe["recall"].values():
        assert row["captions"]["img_r1"] == row["texts"]["img_r5"] == 100
    for name in ("replace_object", "replace_colour", "add_object", "lead_with_object"):
        assert probe["operators"][name]["accuracy"] == 100  # they bring in a word that no caption says
    assert probe["operators"]["shuffle_words"]["accuracy"] == 0  # a tie
    assert json.loads(json.dumps(probe)) == probe


def test_files_of_one_name_in_two_folders_are_both_read(choices, tmp_path):
    other = tmp_path / "other" / choices.name
    other.parent.mkdir()
    other.write_text(json.dumps(json.loads(choices.read_text())[:1]))
    people = run_probe(overlap, IMAGES, CAPTIONS, choices=[choices, other])["people"]
    assert {name: row["items"] for name, row in people.items()} == {str(choices): 4, str(other): 1}


@pytest.mark.parametrize("blind", [constant, not_a_number])
def test_a_model_that_sees_nothing_gets_nothing(blind, choices):
    probe = run_probe(blind, IMAGES, CAPTIONS, choices=[choices])
    assert all(row["accuracy"] == row["other_photos"] == 0 for row in probe["operators"].values())
    assert probe["people"]["my_choices.json"]["accuracy"] == 0
    assert all(row["texts"]["img_r1"] == row["captions"]["img_r1"] == 0 for row in probe["recall"].values())


def test_recalls_take_ties_as_they_are_asked_to():
    probe = run_probe(constant, IMAGES, CAPTIONS, ties="expected")
    for row in probe["recall"].values():
        assert row["texts"]["img_r1"] == pytest.approx(100 / 3) and row["texts"]["img_r5"] == 100
        assert row["captions"]["img_r1"] == pytest.approx(100 / 3)


def test_trained_is_what_the_policy_draws_and_the_last_resort():
    def trained(policy):
        operators = run_probe(overlap, IMAGES, CAPTIONS, policy=policy)["operators"]
        return {name for name, row in operators.items() if row["trained"]}, set(operators)

    own, every = trained({"I": {"replace_object": 0, "negate": 0}})
    assert own == every - set(OWN) - {"replace_object"} and "negate" in own
    assert trained(None)[0] == trained({"types": {"I": 0}})[0] == set()


def test_means_are_over_the_items():
    probe = run_probe(overlap, IMAGES, CAPTIONS, policy={})
    assert set(probe["operators_mean"]) == {"trained", "held_out", "own"}
    rows = [row for row in probe["operators"].values() if row["trained"]]
    hits = sum(row["accuracy"] * row["items"] for row in rows)
    mean = probe["operators_mean"]["trained"]
    assert mean["accuracy"] == pytest.approx(hits / sum(row["items"] for row in rows))
    assert mean["operators"] == len(rows) and probe["operators_mean"]["own"] == probe["operators_mean"]["held_out"]


def test_own_scores_alone_give_the_same_accuracies_and_each_text_is_asked_for_once(choices):
    asked = []

    def recording(texts):
        asked.extend(texts)
        return overlap(texts)

    def own(texts):
        assert [len(set(some)) for some in texts] == list(map(len, texts))
        return [overlap(some)[i] if some else np.empty(0) for i, some in enumerate(texts)]

    full = run_probe(recording, IMAGES, CAPTIONS, choices=[choices])
    assert max(map(asked.count, asked)) <= 2  # once for type I, once for the recalls
    alone = run_probe(overlap, IMAGES, CAPTIONS, choices=[choices], score_own=own)
    for name, row in full["operators"].items():
        assert alone["operators"][name] == {**row, "other_photos": None}
    assert alone["recall"] == full["recall"]


def test_the_seed_settles_everything():
    one, again, other = (run_probe(overlap, IMAGES, CAPTIONS, limit=4, seed=seed) for seed in (1, 1, 2))
    assert one == again != other and one["captions"] == 4


def test_photos_of_karpathys_train_are_counted_apart(tmp_path):
    crepe, karpathy = tmp_path / "swap_obj.json", tmp_path / "dataset_coco.json"
    names = [f"00000000000{i}.jpg" for i in (1, 2, 3)]
    truth = [("a red plane", "a red boat"), ("a hat", "a cap"), ("a cat", "a dog")]
    records = {str(i): dict(filename=name, caption=true, negative_caption=false)
               for i, (name, (true, false)) in enumerate(zip(names, truth))}  # fmt: skip
    crepe.write_text(json.dumps(records))
    splits = zip(names, ("restval", "test", "val"))
    karpathy.write_text(json.dumps({"images": [dict(filename=f"COCO_val2014_{n}", split=s) for n, s in splits]}))
    probe = run_probe(overlap, names, [[], [], []], choices=[crepe], karpathy=karpathy)
    row = probe["people"]["swap_obj.json"]
    assert (row["items"], row["accuracy"]) == (2, 50.0)
    assert (row["karpathy_train"]["items"], row["karpathy_train"]["accuracy"]) == (1, 100.0)
    assert probe["recall"] == probe["operators"] == {}
    *_, people = probe_tables(probe)
    assert [row[0] for row in people.rows] == ["swap_obj.json", "swap_obj.json, photos of Karpathy's train"]
    assert people.rows[1][1:3] == ("1", "100.0"), "one item has no interval"


def test_what_cannot_be_probed_is_said(choices):
    with pytest.raises(UserError, match="my_choices.json: none of its photos is in the gallery"):
        run_probe(overlap, ["7.jpg"], [["a dog"]], choices=[choices])
    with pytest.raises(ValueError, match="3 images but captions of 1"):
        run_probe(overlap, IMAGES, CAPTIONS[:1])
    with pytest.raises(ValueError, match="score_all: expected 3 images x"):
        run_probe(lambda texts: overlap(texts).T, IMAGES, CAPTIONS)
    with pytest.raises(ValueError, match="score_own: expected 3 arrays"):
        run_probe(overlap, IMAGES, CAPTIONS, score_own=lambda texts: [np.zeros(1)] * 3)


def test_ranks_against_a_slow_count():
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 4, (6, 9)).astype(float)
    scores[rng.random(scores.shape) < 0.2] = np.nan
    texts = [f"text {i}" for i in range(9)]
    pairs = [(int(rng.integers(6)), text) for text in texts] + [(0, texts[0]), (5, texts[0])]
    ranks = Scorer(6, lambda asked: scores[:, [texts.index(t) for t in asked]]).ranks(pairs)
    for image, text in pairs:
        column = scores[:, texts.index(text)]
        ahead = tied = 0
        for other in set(range(6)) - {image}:
            ahead += np.isnan(column[image]) or np.isnan(column[other]) or column[other] > column[image]
            tied += column[other] == column[image]
        assert ranks[image, text] == (ahead, tied)


def test_the_tables_have_a_row_for_each_family_operator_and_file(choices):
    probe = run_probe(overlap, IMAGES, CAPTIONS, policy={}, choices=[choices])
    found = list(probe_tables(probe))
    names = [[row[0] for row in table.rows] for table in found]
    assert names[0] == list(probe["recall"]) and names[2] == ["my_choices.json"]
    assert set(names[1]) >= set(probe["operators"])
    assert all(len(row) == len(table.header) for table in found for row in table.rows)


def test_it_needs_neither_torch_nor_lavis():
    code = "import sys, lavis_asym.probe; assert not {'torch', 'lavis', 'transformers'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)

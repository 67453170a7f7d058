"""The caption processor: fields that collate, samples that do not depend on workers, LAVIS's stock data sets."""

import logging
from itertools import islice

import pytest
import torch
from torch.utils.data import DataLoader, Dataset
from torch.utils.data.dataloader import default_collate

from lavis_asym.data.stream import TrainStream
from lavis_asym.errors import UserError
from lavis_asym.joined import GROUP_SEPARATOR, SEPARATOR
from lavis_asym.processors import AsymCaptionProcessor

CAPTIONS = ("A red bus in a street .", "two men next to a bus", "It is a London street .")
PASSES = 2


def images(pixels):
    return torch.zeros(1)


def test_evaluation_cleans_only():
    assert AsymCaptionProcessor()("A  red bus . ") == "A red bus"


def test_a_caption_carries_its_samples():
    fields = AsymCaptionProcessor(samples=True)(CAPTIONS[0], siblings=CAPTIONS, key="k", epoch=0)
    assert set(fields) == {
        "caption", "siblings", "negative", "negative_operator", "positive", "sources", "positive_negative",
        "positive_negative_operator",
    }  # fmt: skip
    assert fields["caption"] == "A red bus in a street"
    assert fields["siblings"].split(SEPARATOR) == [text.rstrip(" .") for text in CAPTIONS]


def test_several_samples_travel_as_one_string():
    policy = {"count": {"positives": 2, "negatives": 3}, "types": {"II": 0}}
    fields = AsymCaptionProcessor(samples=True, policy=policy)(CAPTIONS[0], siblings=CAPTIONS, key="k", epoch=0)
    assert len(fields["negative"].split(SEPARATOR)) == len(fields["negative_operator"].split(SEPARATOR)) == 3
    positives, sources = fields["positive"].split(SEPARATOR), fields["sources"].split(GROUP_SEPARATOR)
    assert len(positives) == len(sources) == len(fields["positive_negative"].split(SEPARATOR)) == 2
    for positive, own in zip(positives, sources):
        assert all(source.lower() in positive.lower() for source in own.split(SEPARATOR))
    assert set(default_collate([fields, fields])) == set(fields)


def test_what_people_wrote_comes_first_and_is_known_to_be_true():
    process = AsymCaptionProcessor(samples=True)
    fields = process(CAPTIONS[0], siblings=CAPTIONS, key="k", epoch=0, positives=["A bus."], negatives=["A red train."])
    assert fields["positive"] == fields["sources"] == "A bus" and fields["negative"] == "A red train"
    assert "A bus" in fields["siblings"].split(SEPARATOR)


@pytest.mark.parametrize("types,missing", [({"I": 0}, "negative"), ({"II": 0, "III": 0}, "positive")])
def test_what_is_switched_off_is_left_out(types, missing):
    fields = AsymCaptionProcessor(samples=True, policy={"types": types})(CAPTIONS[0], siblings=CAPTIONS, epoch=0)
    assert missing not in fields and "positive_negative" not in fields and "caption" in fields


def test_a_wrong_policy_is_named_with_its_key():
    with pytest.raises(UserError, match="policy.I.swap: unknown key"):
        AsymCaptionProcessor(samples=True, policy={"I": {"swap": 1}})


def test_a_data_set_without_siblings_is_told_once(caplog):
    caplog.set_level(logging.INFO)
    process = AsymCaptionProcessor(samples=True)
    fields = [process(caption) for caption in CAPTIONS * 3]
    assert [record.message for record in caplog.records].count(
        "asym_caption: this data set gives one caption at a time, so no type III samples are drawn"
    ) == 1
    assert all(own["sources"] == own["caption"] for own in fields)


class StockDataSet(Dataset):
    """What LAVIS's retrieval data sets do with a text processor."""

    def __init__(self, text_processor):
        self.text_processor = text_processor

    def __len__(self):
        return len(CAPTIONS)

    def __getitem__(self, index):
        return {"text_input": self.text_processor(CAPTIONS[index]), "image_id": index}


@pytest.mark.parametrize("workers", [0, 2])
def test_lavis_own_collate_takes_it(workers):
    loader = DataLoader(StockDataSet(AsymCaptionProcessor(samples=True)), batch_size=3, num_workers=workers)
    (batch,) = loader
    assert batch["text_input"]["caption"] == ["A red bus in a street", "two men next to a bus", "It is a London street"]
    assert all(len(texts) == 3 for texts in batch["text_input"].values())


def drawn(folder, workers):
    """Everything that PASSES passes over the shards give, by image and pass; the order depends on the workers."""
    stream = TrainStream(folder, "train", images, AsymCaptionProcessor(samples=True), seed=5)
    loader = DataLoader(stream, batch_size=None, num_workers=workers)
    seen, count = {}, stream.n_images * PASSES
    for item in islice(loader, count * 2):  # workers may run ahead of each other
        number = sum(key[0] == item["image_id"] for key in seen)
        seen[item["image_id"], number] = item["text_input"]
    return {key: texts for key, texts in seen.items() if key[1] < PASSES}


def test_samples_do_not_depend_on_the_workers(image_shards):
    alone = drawn(image_shards, 0)
    assert len(alone) == 24 * PASSES and len({fields["negative"] for fields in alone.values()}) > 24
    for workers in (1, 2, 4):
        assert drawn(image_shards, workers) == alone

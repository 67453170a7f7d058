"""What the stream does with samples that cannot be used, with commands as shards, and with too many workers."""

import json
import logging
import shutil
from itertools import islice

import pytest
import torch
from test_damage import Shards
from torch.utils.data import DataLoader

from lavis_asym.data.check import check_folder
from lavis_asym.data.shards import INDEX, read_index, write_index
from lavis_asym.data.stream import TrainStream
from lavis_asym.errors import UserError


def stream(folder, **options):
    return TrainStream(folder, "train", lambda image: torch.zeros(1), lambda caption, **_: caption, seed=0, **options)


@pytest.fixture
def damaged(image_shards, tmp_path):
    """Shards with one image that cannot be decoded, packed as if it could."""
    folder = tmp_path / "shards"
    shutil.copytree(image_shards, folder)
    Shards(folder).field("jpg", b"no image")
    return folder


@pytest.mark.parametrize("workers", [0, 2])
def test_a_failing_sample_stops_training_with_its_key_and_one_message(damaged, workers):
    with pytest.raises(UserError) as error:
        list(islice(DataLoader(stream(damaged), batch_size=4, num_workers=workers), 12))
    assert str(error.value).startswith(f"{damaged}/train-00001.tar, key 000000007: cannot be decoded")
    assert "--fix OUT packs the others" in str(error.value) and "Traceback" not in str(error.value)


def test_below_the_threshold_it_is_left_out_and_reported(damaged, caplog):
    with caplog.at_level(logging.WARNING):
        samples = list(islice(stream(damaged, max_failures=0.1), 23 * 3))
    assert sorted(s["image_id"] for s in samples) == sorted(3 * [k for k in range(24) if k != 7])
    reports = [record.message for record in caplog.records if "key 000000007" in record.message]
    assert len(reports) == 3 and "3 of " in reports[-1]


def test_a_sample_carries_its_siblings_and_its_key(image_shards):
    sample = next(iter(stream(image_shards)))
    siblings = sample["siblings"].split("\n")
    assert len(siblings) == 5 and sample["text_input"] in siblings and sample["key"].startswith("train-")


@pytest.mark.parametrize("workers", [0, 2, 3])
@pytest.mark.parametrize("skipped", [1, 4, 17])
def test_a_stream_that_skips_gives_what_comes_next(image_shards, workers, skipped):
    """24 images in batches of 5: a pass ends within a batch, and each worker's at another."""

    def batches(batches, count):
        data = stream(image_shards)
        data.skip(batches, 5)
        loader = DataLoader(data, batch_size=5, num_workers=workers)
        return [list(zip(batch["key"], batch["text_input"])) for batch in islice(loader, count)]

    assert batches(skipped, 8) == batches(0, skipped + 8)[skipped:]


def test_more_readers_than_shards_are_refused_with_numbers(image_shards):
    with pytest.raises(UserError, match="4 train shards for 1 workers x 5 processes"):
        list(islice(stream(image_shards, rank=4, world_size=5), 30))


@pytest.fixture
def piped(image_shards, tmp_path):
    """A folder whose first train shard is the output of a command."""
    folder = tmp_path / "piped"
    shutil.copytree(image_shards, folder)
    index = json.loads((folder / INDEX).read_text())
    index["splits"]["train"][0]["name"] = f"pipe:cat {image_shards}/train-00000.tar"
    (folder / "train-00000.tar").unlink()
    write_index(folder, {key: value for key, value in index.items() if key != "sha256"})
    return folder


def test_a_command_runs_only_where_it_is_allowed(piped, image_shards):
    for use in (stream, check_folder, read_index):
        with pytest.raises(UserError, match="is a command that would run on this machine"):
            use(piped)
    same = [
        [s["image_id"] for s in islice(stream(folder, allow_pipe=allowed), 24)]
        for folder, allowed in ((piped, True), (image_shards, False))
    ]
    assert sorted(same[0]) == sorted(same[1])
    assert not check_folder(piped, allow_pipe=True).errors


def test_a_command_that_fails_or_gives_other_bytes_is_an_error(piped):
    for command, message in (("false", "returned non-zero exit status 1"), ("echo", "not the shard that was packed")):
        index = json.loads((piped / INDEX).read_text())
        index["splits"]["train"][0]["name"] = f"pipe:{command}"
        write_index(piped, {key: value for key, value in index.items() if key != "sha256"})
        with pytest.raises(UserError, match=message):
            list(islice(stream(piped, allow_pipe=True), 24))

"""Two gloo processes with unequal batches train as one process with the joined batch does."""

import os
import zlib

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch.nn.parallel import DistributedDataParallel

from lavis_asym.encoders import TextEncoder, TextFeatures, VisionEncoder, VisionFeatures

WIDTH = 16
CAPTIONS = (  # of each process: a list an image; the processes share captions
    (
        ["A red bus stops at a small station", "two people wait for the bus"],
        ["a dog"],
        ["a brown dog runs on the beach", "a dog"],
    ),
    (
        ["two people wait for the bus", "a red bus stops at a small station", "A man holds an umbrella"],
        ["a dog", "a small white cat sleeps on a big green sofa near the window of a room"],
    ),
)
POLICIES = {
    "text": {"count": {"positives": 2, "negatives": 2}},
    "captions alone": {"types": {"I": 0, "II": 0, "III": 0}},
}


class Pixels(VisionEncoder):
    width = WIDTH

    def forward(self, pixels):
        return VisionFeatures(pixels.mean(1), pixels)


class Words(TextEncoder):
    """Each word is a fixed random vector."""

    width = WIDTH

    def forward(self, texts):
        rows = [[torch.randn(WIDTH, generator=seeded(zlib.crc32(w.encode()))) for w in t.split()] for t in texts]
        tokens = torch.nn.utils.rnn.pad_sequence([torch.stack(row) for row in rows], batch_first=True)
        lengths = torch.tensor([len(row) for row in rows])
        return TextFeatures(tokens, torch.arange(tokens.shape[1])[None] < lengths[:, None])


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def build():
    from lavis_asym.models.asym_retrieval import AsymRetrieval

    torch.manual_seed(0)
    fusion = {"heads": 2, "local_weight": 0.6, "learn_local_weight": True}
    return AsymRetrieval(
        Pixels(), Words(), WIDTH, fusion, dropout=0.0, temperature=0.1, learn_temperature=True, outranking="drop"
    )


def batch(ranks, policy):
    """The joined batch of some processes."""
    from lavis_asym.processors import AsymCaptionProcessor

    process = AsymCaptionProcessor(samples=True, policy=policy)
    images = [(rank, place, own) for rank in ranks for place, own in enumerate(CAPTIONS[rank])]
    texts = [process(own[0], siblings=own, key=f"{rank}/{place}", epoch=0) for rank, place, own in images]
    return {
        "image": torch.stack([torch.randn(4, WIDTH, generator=seeded(10 * rank + place)) for rank, place, _ in images]),
        "image_id": torch.tensor([10 * rank + place for rank, place, _ in images]),
        "text_input": {name: [text[name] for text in texts] for name in texts[0]},
    }


def step(model, samples, autocast=False):
    """Losses and gradients of one step."""
    model.zero_grad()
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        losses = model(samples)
    losses["loss"].backward()
    gradients = {name.replace("module.", ""): p.grad.clone() for name, p in model.named_parameters()}
    return {name: loss.detach() for name, loss in losses.items()}, gradients


def process(rank, folder):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    model = DistributedDataParallel(build())
    found = {name: step(model, batch([rank], policy)) for name, policy in POLICIES.items()}
    found["autocast"] = step(model, batch([rank], POLICIES["text"]), autocast=True)
    if rank == 0:  # alone, as LAVIS evaluates in the main process
        with torch.no_grad():
            found["evaluated"] = model.module.eval()(batch([rank], POLICIES["text"]))["loss"]
    torch.save(found, os.path.join(folder, f"{rank}.pt"))
    dist.barrier()
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def found(tmp_path_factory, registered):
    if not dist.is_available() or not dist.is_gloo_available():
        pytest.skip("needs gloo")
    folder = tmp_path_factory.mktemp("processes")
    mp.spawn(process, (str(folder),), nprocs=2)
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


@pytest.mark.parametrize("policy", POLICIES)
def test_losses_and_gradients_are_those_of_the_joined_batch(found, policy):
    losses, gradients = step(build(), batch([0, 1], POLICIES[policy]))
    assert ("loss_positive" in losses) == (policy == "text")
    for own_losses, own_gradients in (own[policy] for own in found):
        torch.testing.assert_close(own_losses, losses, atol=1e-6, rtol=1e-5)
        torch.testing.assert_close(own_gradients, gradients, atol=1e-6, rtol=1e-4)


def test_the_joined_batch_is_not_the_mean_of_its_parts():
    """What the others say of an image, and what is known to be true of it across processes, counts."""
    from lavis_asym.models.batch import known_pairs, read_captions, read_texts

    joined = batch([0, 1], POLICIES["text"])
    parts = [step(build(), batch([rank], POLICIES["text"]))[0]["loss"] for rank in range(2)]
    assert (step(build(), joined)[0]["loss"] - torch.stack(parts).mean()).abs() > 0.1
    ids = [0, 1, 2, 10, 11]
    known = known_pairs(read_captions(joined["text_input"]), ids, read_texts(joined["text_input"], ids))
    assert known[:3, 3:5].any() and known[3:, :3].any()


def test_autocast_stays_close(found):
    losses, gradients = step(build(), batch([0, 1], POLICIES["text"]), autocast=True)
    for own_losses, own_gradients in (own["autocast"] for own in found):
        torch.testing.assert_close(own_losses, losses, atol=0, rtol=1e-2)
        for name, gradient in gradients.items():
            assert (own_gradients[name] - gradient).norm() <= 0.03 * gradient.norm() + 1e-6, name


def test_evaluation_waits_for_no_other_process(found):
    with torch.no_grad():
        alone = build().eval()(batch([0], POLICIES["text"]))["loss"]
    torch.testing.assert_close(found[0]["evaluated"], alone)

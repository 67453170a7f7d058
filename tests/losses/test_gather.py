"""Two gloo processes with unequal shares against one process with the joined batch."""

import os

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch.nn.parallel import DistributedDataParallel

from lavis_asym.fusion import HierarchicalFusion
from lavis_asym.losses import contrastive_loss, gather, gather_objects, gather_texts

SHARES = (3, 2)
LENGTHS = ([2, 5, 1], [3, 4])


class Model(torch.nn.Module):
    """Projections before the head, and the loss of the joined batch behind it."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.image, self.text = torch.nn.Linear(8, 8), torch.nn.Linear(8, 8)
        self.fusion = HierarchicalFusion(8, heads=2)

    def forward(self, vectors, regions, tokens, mask, image_ids):
        tokens, mask = gather_texts(self.text(tokens), mask)
        scores = gather(self.fusion((self.image(vectors), self.image(regions)), (tokens, mask)))
        ids = gather(image_ids)
        assert scores.shape == (len(ids), len(mask))
        return contrastive_loss(scores, ids, ids)


def share(rank):
    """The share of one process, with its own padding."""
    generator = torch.Generator().manual_seed(rank)
    count, lengths = SHARES[rank], torch.tensor(LENGTHS[rank])
    mask = torch.arange(int(lengths.max()))[None] < lengths[:, None]
    shapes = ((count, 8), (count, 4, 8), (*mask.shape, 8))
    vectors, regions, tokens = (torch.randn(shape, generator=generator) for shape in shapes)
    return vectors, regions, tokens, mask, torch.arange(count) + 10 * rank


def joined():
    parts = [share(rank) for rank in range(2)]
    longest = max(part[3].shape[1] for part in parts)
    pad = torch.nn.functional.pad
    parts = [
        (v, r, pad(t, (0, 0, 0, longest - t.shape[1])), pad(m, (0, longest - m.shape[1])), i) for v, r, t, m, i in parts
    ]
    return [torch.cat(tensors) for tensors in zip(*parts)]


def process(rank, folder):
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    model = DistributedDataParallel(Model())
    loss = model(*share(rank))
    loss.backward()
    gradients = {name: parameter.grad for name, parameter in model.module.named_parameters()}
    torch.save((loss.detach(), gradients), os.path.join(folder, f"{rank}.pt"))
    dist.barrier()
    dist.destroy_process_group()


@pytest.mark.skipif(not dist.is_available() or not dist.is_gloo_available(), reason="needs gloo")
def test_two_processes_equal_one_with_the_joined_batch(tmp_path):
    mp.spawn(process, (str(tmp_path),), nprocs=2)
    model = Model()
    expected = model(*joined())
    expected.backward()
    for rank in range(2):
        loss, gradients = torch.load(tmp_path / f"{rank}.pt")
        torch.testing.assert_close(loss, expected.detach())
        for name, parameter in model.named_parameters():
            torch.testing.assert_close(gradients[name], parameter.grad, atol=1e-6, rtol=1e-4, msg=name)


def test_without_processes_nothing_changes():
    rows, mask = torch.rand(2, 3, 4), torch.ones(2, 3, dtype=torch.bool)
    assert gather(rows) is rows
    tokens, own = gather_texts(rows, mask)
    assert tokens is rows and own is mask
    items = ["a dog"]
    assert gather_objects(items) is items

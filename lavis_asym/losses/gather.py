"""A batch spread over processes, joined with its gradient.

Every process calls these with its own share, computes the loss of the joined batch and calls backward. A gradient that
comes back is summed over the processes and each keeps its own rows; DistributedDataParallel, which averages over the
W equal losses, then gives the gradient of one process on the joined batch. To spread the work, score the own images
against the gathered texts and gather the scores:
    scores = gather(fusion(image, gather_texts(tokens, mask)));  loss(scores, gather(image_ids), gather(text_ids))
"""

from typing import Any, List, Tuple

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor


def gather(rows: Tensor) -> Tensor:
    """The rows of all processes, in the order of their ranks.

    Args:
        rows: B x ..., B free to differ between processes, all else equal; any dtype. Features, ids, scores.
    Returns:
        (sum of B) x ...; `rows` itself outside a process group.
    """
    if not _distributed():
        return rows
    return _Gather.apply(rows)


def gather_texts(tokens: Tensor, mask: Tensor) -> Tuple[Tensor, Tensor]:
    """The texts of all processes, padded to the longest of them.

    Args:
        tokens: B x L x D, B and L free to differ between processes.
        mask: B x L bool, True on real tokens.
    """
    if not _distributed():
        return tokens, mask
    missing = max(_sizes(tokens, dim=1)) - tokens.shape[1]
    return gather(F.pad(tokens, (0, 0, 0, missing))), gather(F.pad(mask, (0, missing)))


def gather_objects(items: List[Any]) -> List[Any]:
    """The items of all processes, in the order of their ranks; `items` itself outside a process group.

    Args:
        items: what can be pickled; as many as each process has.
    """
    if not _distributed():
        return items
    shares: List[List[Any]] = [[]] * dist.get_world_size()
    dist.all_gather_object(shares, items)
    return [item for share in shares for item in share]


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx, rows: Tensor) -> Tensor:
        shares = _all_gather(rows)
        ctx.sizes = [len(share) for share in shares]
        return torch.cat(shares)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        gradient = gradient.contiguous().clone()
        dist.all_reduce(gradient)
        return gradient.split(ctx.sizes)[dist.get_rank()]


def _all_gather(rows: Tensor) -> List[Tensor]:
    """The shares of all processes; padded on the way, since collectives want equal sizes."""
    sizes = _sizes(rows, dim=0)
    boolean = rows.dtype == torch.bool
    sent = rows.to(torch.uint8) if boolean else rows.detach()
    padded = sent.new_zeros(max(sizes), *sent.shape[1:])
    padded[: len(sent)] = sent
    shares = [torch.empty_like(padded) for _ in sizes]
    dist.all_gather(shares, padded)
    shares = [share[:size] for share, size in zip(shares, sizes)]
    return [share.bool() for share in shares] if boolean else shares


def _sizes(rows: Tensor, dim: int) -> List[int]:
    own = torch.tensor([rows.shape[dim]], device=rows.device)
    sizes = [torch.empty_like(own) for _ in range(dist.get_world_size())]
    dist.all_gather(sizes, own)
    return torch.cat(sizes).tolist()


def _distributed() -> bool:
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1

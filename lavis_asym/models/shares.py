"""Rows dealt out to the processes of a group, and put together again; without a group, all are the one process's."""

import torch
from lavis.common.dist_utils import get_rank, get_world_size
from torch import Tensor

from lavis_asym.losses import gather


def share(count: int) -> Tensor:
    """The numbers of this process's rows among 0 ... count - 1, int64.

    Every process has equally many, one behind the other; where that does not come out even, the last go on at 0.
    """
    size = -(-count // get_world_size())
    return torch.arange(size * get_rank(), size * (get_rank() + 1)) % count


def join(rows: Tensor, count: int, device: torch.device) -> Tensor:
    """All `count` rows, in order, on the CPU of every process. Every process of the group must call it.

    Args:
        rows: those of this process's `share(count)`, on the CPU.
        device: where the group exchanges tensors.
    """
    return rows if get_world_size() == 1 else gather(rows.to(device))[:count].cpu()

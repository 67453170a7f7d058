"""The temperature of a contrastive loss, fixed or learned."""

import math

import torch
from torch import Tensor, nn


class Temperature(nn.Module):
    """tau = floor + exp(p): a learned temperature stays above its floor, and has a gradient near it too.

    Args:
        initial: tau at the start, > floor.
        learned: False keeps it.
        floor: below all tau, >= 0.
    Raises:
        ValueError: an initial temperature that is not above the floor.
    """

    def __init__(self, initial: float = 0.05, learned: bool = False, floor: float = 0.01):
        super().__init__()
        if not 0 <= floor < initial:
            raise ValueError(f"expected 0 <= floor < initial temperature, got floor {floor} and initial {initial}")
        self.floor = floor
        log = torch.tensor(math.log(initial - floor))
        if learned:
            self.log = nn.Parameter(log)
        else:
            self.register_buffer("log", log, persistent=False)

    def forward(self) -> Tensor:
        """tau, a scalar."""
        return self.floor + self.log.exp()

"""Random draws that stop at the first success."""

import random
from typing import Callable, Iterator, Mapping, Optional, Sequence, TypeVar

T = TypeVar("T")
GUESSES = 6


def pick(options: Sequence[T], rng: random.Random, valid: Callable[[T], bool]) -> Optional[T]:
    """One of the valid options, all equally likely; None where there is none. Fast where most are valid."""
    for _ in range(GUESSES if options else 0):
        option = options[int(rng.random() * len(options))]
        if valid(option):
            return option
    left = [option for option in options if valid(option)]
    return rng.choice(left) if left else None


def by_weight(weights: Mapping[str, float], rng: random.Random) -> Iterator[str]:
    """Names in a random order, the heavier the earlier: weighted draws without replacement."""
    left = dict(weights)
    while left:
        name = rng.choices(list(left), list(left.values()))[0]
        del left[name]
        yield name


def shuffled(items: Sequence[T], rng: random.Random) -> Sequence[T]:
    """The items in a random order."""
    return rng.sample(items, len(items)) if len(items) > 1 else items

"""What the fusion benchmarks share: inputs, the published loop, timing and the report.

The loop is written from the published equations in the order in which SCAN (ECCV 2018) and the AsCL authors' code work:
one caption at a time, repeated for all images, heads as a fourth dimension, attended vectors built.
"""

import argparse
import json
import time
from typing import Callable, NamedTuple, Optional, Sequence, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

SCALE_T2I, SCALE_I2T = 9.0, 4.0


class Inputs(NamedTuple):
    vectors: Tensor  # N x D
    regions: Tensor  # N x R x D
    tokens: Tensor  # M x L x D
    mask: Tensor  # M x L bool


def random_inputs(images: int, texts: int, regions: int, lengths: Tuple[int, int], width: int, seed: int = 0) -> Inputs:
    """Unit vectors; text lengths uniform between the two given ones."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return F.normalize(torch.randn(*shape, generator=generator), dim=-1)

    length = torch.randint(lengths[0], lengths[1] + 1, (texts,), generator=generator)
    mask = torch.arange(lengths[1])[None] < length[:, None]
    return Inputs(draw(images, width), draw(images, regions, width), draw(texts, lengths[1], width), mask)


def attended(queries: Tensor, context: Tensor, heads: int, scale: float) -> Tensor:
    """What each query sees of its context: N x Q x D and N x C x D -> N x Q x D, attention per head, then joined."""
    query, key = (x.unflatten(2, (heads, -1)).transpose(1, 2) for x in (queries, context))  # N x H x . x d
    weights = torch.softmax(query @ key.transpose(2, 3) * scale, dim=-1)
    return (weights @ key).transpose(1, 2).reshape(queries.shape)


def cosine(left: Tensor, right: Tensor) -> Tensor:
    return (left * right).sum(2) / (left.norm(dim=2) * right.norm(dim=2)).clamp(min=1e-8)


def published_loop(
    regions: Tensor, tokens: Tensor, mask: Tensor, heads: int, joint: Optional[Callable[..., Tensor]] = None
) -> Tensor:
    """N x M similarities, caption by caption, each repeated for every image, both attended vectors built.

    Args:
        joint: makes a caption's scores of its N local similarities, mean attended regions and mean attended words.
    """
    columns = []
    for own, valid in zip(tokens, mask):
        words = own[valid].unsqueeze(0).repeat(len(regions), 1, 1)  # N x L x D
        seen = attended(words, regions, heads, SCALE_T2I)
        read = attended(regions, words, heads, SCALE_I2T)
        local = (cosine(words, seen).mean(1) + cosine(regions, read).mean(1)) / 2
        columns.append(local if joint is None else joint(local, seen.mean(1), read.mean(1)))
    return torch.stack(columns, 1)


def bare_product(regions: Tensor, tokens: Tensor, mask: Tensor) -> Tensor:
    """S of the real tokens alone: one matrix product of all regions with all tokens."""
    return regions.flatten(0, 1) @ tokens[mask].T


def products_alone(function: Callable[[], object], repeats: int, size: int = 2048) -> float:
    """Seconds that a function's matrix products alone would take at the rate of one large product, size x size."""
    with FlopCounterMode(display=False) as counter:
        function()
    left, right, out = (torch.randn(size, size) for _ in range(3))
    rate = 2 * size**3 / best_time(lambda: torch.mm(left, right, out=out), repeats)
    return counter.get_total_flops() / rate


def best_time(function: Callable[[], object], repeats: int, warm_up: bool = True) -> float:
    """The shortest of some runs, in seconds."""
    if warm_up:
        function()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


class Row(NamedTuple):
    """One comparison. `ratio` says how many times faster than a loop, or how many times dearer than a product."""

    name: str
    baseline: str
    ratio: float
    seconds: float
    baseline_seconds: float
    bar: str
    note: str = ""


def report(rows: Sequence[Row], main: int = 0, **extra) -> None:
    """Print a table, and as the last line the main row as one JSON object with all rows in it."""
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}")
    header = ("what", "against", "ratio", "seconds", "baseline s", "bar", "")
    cells = [header] + [
        (row.name, row.baseline, f"{row.ratio:.2f}", f"{row.seconds:.4g}", f"{row.baseline_seconds:.4g}", *row[5:])
        for row in rows
    ]
    widths = [max(len(line[column]) for line in cells) for column in range(len(header))]
    for line in cells:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip())
    print(json.dumps({**rows[main]._asdict(), **extra, "rows": [row._asdict() for row in rows]}))


def arguments(description: str, more: Optional[Callable[[argparse.ArgumentParser], None]] = None) -> argparse.Namespace:
    """The command line; `more` may add options."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see that it runs; the ratios mean nothing")
    parser.add_argument("--threads", type=int, default=2, help="threads that torch may use (default: 2)")
    if more:
        more(parser)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    return args

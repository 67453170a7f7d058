"""The local part, forward: all pairs of 128 images and 256 texts (R = 36, 8 to 20 tokens, D = 1024), 8 heads and 1.

Against the published loop over captions, against the bare matrix product S of the real tokens, and against all its
matrix products at this machine's best rate. The peak of resident memory is read in a process of its own that does
nothing but load torch and score.
"""

import json
import resource
import subprocess
import sys
from functools import partial

import torch
from fusion_common import Row, arguments, bare_product, best_time, products_alone, published_loop, random_inputs, report

from lavis_asym.fusion import local_similarity

SIZE = dict(images=128, texts=256, regions=36, lengths=(8, 20), width=1024)
QUICK = dict(images=4, texts=6, regions=5, lengths=(2, 4), width=32)
MEASURE_MEMORY = "--measure-memory"


def measure_memory(size: dict) -> None:
    """Print resident memory in bytes before and at the peak of scoring."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    data = random_inputs(**size)
    local_similarity(*data[1:], heads=8)
    print(json.dumps([before * 1024, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024]))


def main() -> None:
    args = arguments(__doc__)
    size, repeats, loop_repeats = (QUICK, 1, 1) if args.quick else (SIZE, 7, 2)
    # a child starts with its parent's peak, so this comes first
    command = [sys.executable, __file__, MEASURE_MEMORY] + ["--quick"] * args.quick
    before, peak = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    _, regions, tokens, mask = random_inputs(**size)
    rows = []
    with torch.no_grad():
        product = best_time(lambda: bare_product(regions, tokens, mask), repeats)
        for heads, bars in ((8, (">= 20", "<= 4")), (1, (">= 8", "<= 2"))):
            score = partial(local_similarity, regions, tokens, mask, heads=heads)
            seconds = best_time(score, repeats)
            alone = products_alone(score, repeats)
            loop = best_time(partial(published_loop, regions, tokens, mask, heads), loop_repeats)
            name = f"local, {heads} head" + "s" * (heads > 1)
            rows.append(Row(name, "published loop", loop / seconds, seconds, loop, bars[0]))
            rows.append(Row(name, "bare product S", seconds / product, seconds, product, bars[1]))
            rows.append(Row(name, "its products alone", seconds / alone, seconds, alone, ""))
    print(f"peak memory, 8 heads: {peak / 1e9:.3f} GB resident, of which {before / 1e9:.3f} GB before any input; bar 1")
    report(rows, peak_bytes=peak)


if __name__ == "__main__":
    if MEASURE_MEMORY in sys.argv:
        measure_memory(QUICK if "--quick" in sys.argv else SIZE)
    else:
        main()

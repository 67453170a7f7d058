"""A whole test set, 5,000 images x 25,000 texts (R = 49, 8 to 16 tokens, D = 512), local part, 8 heads, exactly.

Against the bare matrix product S of that size, written piece by piece over one buffer. One share of the images is
measured, by default a tenth, and both times are multiplied up; --share says how many such parts make the whole.
"""

import argparse

import torch
import torch.nn.functional as F
from fusion_common import Row, arguments, best_time, random_inputs, report

from lavis_asym.fusion import local_similarity

SIZE = dict(images=5000, texts=25000, regions=49, lengths=(8, 16), width=512)
QUICK = dict(images=40, texts=50, regions=5, lengths=(2, 4), width=32)
TEXTS_AT_ONCE = 500


def share_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--share", type=int, default=10, help="measure one such part of the images (default: 10)")


def main() -> None:
    args = arguments(__doc__, share_option)
    size = QUICK if args.quick else SIZE
    data = random_inputs(**{**size, "images": size["images"] // args.share})
    pieces = [(data.regions, *piece) for piece in zip(data.tokens.split(TEXTS_AT_ONCE), data.mask.split(TEXTS_AT_ONCE))]
    rows = data.regions.flatten(0, 1)
    buffer = torch.zeros(len(rows) * max(int(mask.sum()) for _, _, mask in pieces))

    def products() -> None:
        for _, tokens, mask in pieces:
            real = tokens[mask]
            torch.mm(rows, real.T, out=buffer[: len(rows) * len(real)].view(len(rows), len(real)))

    def similarities() -> None:
        for piece in pieces:
            local_similarity(*piece, heads=8)

    with torch.no_grad():
        warm = F.normalize(torch.randn(8, *data.regions.shape[1:]), dim=-1)
        local_similarity(warm, data.tokens[:64], data.mask[:64], heads=8)
        product = best_time(products, 1, warm_up=False)
        seconds = best_time(similarities, 1, warm_up=False)
    print(f"measured {len(data.regions)} of {size['images']} images, times multiplied by {args.share}")
    seconds, product = seconds * args.share, product * args.share
    name = f"{size['images']} x {size['texts']} pairs, exact, 8 heads (extrapolated)"
    report([Row(name, "bare product S", seconds / product, seconds, product, "<= 4")])


if __name__ == "__main__":
    main()

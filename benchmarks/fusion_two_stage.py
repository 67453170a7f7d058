"""Two stages against exact scores of all pairs: time, and what becomes of the recalls of a trained model.

Time: random features of a COCO test set, 5,000 images x 25,000 texts (R = 49, 8 to 16 tokens, D = 512), local part, 8
heads, k = 256. The first stage is measured whole; candidates and exact scores on one share of the images, times
multiplied up. Random features are the worst case: hardly any pair is a candidate of both its image and its text.
Recalls, with --checkpoint and --root: every image and caption of the folder's splits is one gallery, and k is to its
captions what 256 is to the 25,000 of COCO's test set.

    python benchmarks/fusion_two_stage.py --checkpoint output/custom/RUN/checkpoint_best.pth --root DIR
"""

import argparse
import time
from pathlib import Path

import torch
from fusion_common import Row, arguments, best_time, random_inputs, report

from lavis_asym.fusion import HierarchicalFusion
from lavis_asym.fusion.texts import even_slices
from lavis_asym.fusion.two_stage import candidates, first_scores, image_keys, score_candidates, text_keys

SIZE = dict(images=5000, texts=25_000, regions=49, lengths=(8, 16), width=512)
QUICK = dict(images=40, texts=100, regions=6, lengths=(3, 5), width=32)
K, TEXTS = 256, 25_000
IMAGES_AT_ONCE = 20
RECALLS = ("txt_r1", "txt_r5", "txt_r10", "img_r1", "img_r5", "img_r10")


def trained_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--checkpoint", help="of an asym_retrieval: show its recalls too")
    parser.add_argument("--root", type=Path, help="folder in LAVIS's layout, for the recalls")
    parser.add_argument("--share", type=int, default=50, help="measure one such part of the images (default: 50)")


def recalls(checkpoint: str, root: Path) -> None:
    """Print the recalls of a trained model, exact and in two stages."""
    from torch.utils.data import DataLoader

    from lavis_asym import load_model
    from lavis_asym.data.evaluation_set import FolderSet
    from lavis_asym.data.layout import read_layout
    from lavis_asym.evaluation import retrieval_metrics

    model = load_model(checkpoint=checkpoint)
    source = read_layout(root)
    records = [record for own in source.splits.values() for record in own]
    dataset = FolderSet(records, source.images, model.processors["vis"]["eval"], model.processors["text"]["eval"])
    k = round(len(dataset.text) * K / TEXTS)
    loader = DataLoader(dataset, batch_size=32, collate_fn=dataset.collater)
    images = model.encode_gallery(loader, len(loader))
    found = {}
    for name, best in (("exact", 0), ("two stages", k)):
        scores = model.score_gallery(images, dataset.text, best).matrix
        found[name] = retrieval_metrics(scores, scores.T, dataset.txt2img, dataset.img2txt)
    print(f"{root.name}: {len(dataset)} images x {len(dataset.text)} captions, k={k}")
    for name in RECALLS:
        print(f"  {name}: exact {found['exact'][name]:.2f}, two stages {found['two stages'][name]:.2f}")
    worst = max(abs(found["exact"][name] - found["two stages"][name]) for name in RECALLS)
    print(f"  largest difference: {worst:.2f} points (bar: 0.1)")


def main() -> None:
    args = arguments(__doc__, trained_options)
    if args.checkpoint and args.root:
        recalls(args.checkpoint, args.root)
    size = QUICK if args.quick else SIZE
    k = min(K, size["images"] // 10)
    torch.manual_seed(0)
    data = random_inputs(**size)
    fusion = HierarchicalFusion(size["width"], heads=8, local_weight=1.0)
    count = max(1, size["images"] // args.share)
    factor = size["images"] / count
    with torch.no_grad():
        images = fusion.prepare_images((data.vectors, data.regions))
        texts = fusion.prepare_texts((data.tokens, data.mask))
        texts = texts._replace(order=torch.arange(len(texts.lengths)))
        few = images.select(slice(0, count))

        start = time.perf_counter()
        first = first_scores(image_keys(fusion, images), text_keys(texts))
        exact = candidates(first, k)
        first_seconds = time.perf_counter() - start

        def second_stage():
            score_candidates(fusion, few, texts, exact[:count], first[:count].clone())

        def all_pairs():
            for own in even_slices(count, IMAGES_AT_ONCE):
                fusion.score(few.select(own), texts)

        seconds = first_seconds + factor * best_time(second_stage, 2)
        exact_seconds = factor * best_time(all_pairs, 1)
    print(
        f"measured {count} of {size['images']} images in the second stage and exactly, times multiplied by {factor:g}"
    )
    print(f"first stage {first_seconds:.1f} s; scored exactly then: {exact.float().mean():.1%} of pairs")
    name = f"two stages, {size['images']} x {size['texts']}, k={k} (extrapolated)"
    report([Row(name, "exact scores of all pairs", exact_seconds / seconds, seconds, exact_seconds, ">= 10")])


if __name__ == "__main__":
    main()

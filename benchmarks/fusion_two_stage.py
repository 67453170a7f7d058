"""Two stages against exact scores of all pairs: time, and what becomes of the recalls, on a trained model.

The features are synthetic: an image shows some of a vocabulary of concepts, each in a few noisy regions; its five
captions name some of them among filler words, in another feature space. Two linear projections are trained under the
local similarity (8 heads) with InfoNCE of the exact scores plus InfoNCE of the first scores, on images that the gallery
does not hold. The gallery is 1,000 images x 5,000 texts, a fifth of a COCO test set each way, and so is k: 256 / 5,
about 51, the same share of the gallery as 256 of 5,000.
"""

import time

import torch
import torch.nn.functional as F
from fusion_common import Row, arguments, report

from lavis_asym.evaluation import retrieval_metrics
from lavis_asym.fusion import HierarchicalFusion, two_stage_scores
from lavis_asym.fusion.two_stage import image_keys, text_keys
from lavis_asym.losses import info_nce_loss

SIZE = dict(images=1000, regions=49, lengths=(8, 16), width=512, concepts=400, k=51, steps=150, batch=32)
QUICK = dict(images=12, regions=6, lengths=(3, 5), width=32, concepts=20, k=5, steps=5, batch=6)
CAPTIONS, SHOWN, NAMED, NOISE, FILLERS = 5, 8, 4, 1.0, 50


class Scenes:
    """Draws images and captions of one vocabulary."""

    def __init__(self, size: dict, seed: int):
        self.size, self.generator = size, torch.Generator().manual_seed(seed)
        self.seen = self._unit(size["concepts"], size["width"])
        self.words = self._unit(size["concepts"] + FILLERS, size["width"])

    def draw(self, images: int, captions: int):
        """Image (vectors, regions) and text (tokens, mask); text t belongs to image t // captions."""
        concepts, (shortest, longest) = self.size["concepts"], self.size["lengths"]
        shown = torch.rand(images, concepts, generator=self.generator).topk(SHOWN).indices
        place = torch.randint(SHOWN, (images, self.size["regions"]), generator=self.generator)
        regions = self.seen[shown.gather(1, place)]
        regions = regions + NOISE * self._unit(*regions.shape)
        texts = images * captions
        words = torch.randint(concepts, concepts + FILLERS, (texts, longest), generator=self.generator)
        named = torch.rand(texts, SHOWN, generator=self.generator).topk(NAMED).indices
        named = shown.repeat_interleave(captions, 0).gather(1, named)
        words[:, : min(NAMED, shortest)] = named[:, :shortest]
        tokens = self.words[words]
        tokens = tokens + NOISE / 2 * self._unit(*tokens.shape)
        length = torch.randint(shortest, longest + 1, (texts,), generator=self.generator)
        return (regions.mean(1), regions), (tokens, torch.arange(longest)[None] < length[:, None])

    def _unit(self, *shape: int) -> torch.Tensor:
        return F.normalize(torch.randn(*shape, generator=self.generator), dim=-1)


def train(scenes: Scenes, size: dict):
    """Projections of regions and tokens, and the head they were trained under."""
    torch.manual_seed(0)
    fusion = HierarchicalFusion(size["width"], heads=8, local_weight=1.0)
    project = torch.nn.ModuleList([torch.nn.Linear(size["width"], size["width"]) for _ in range(2)])
    optimizer = torch.optim.Adam(project.parameters(), lr=1e-3)
    ids = torch.arange(size["batch"])
    for _ in range(size["steps"]):
        (vectors, regions), (tokens, mask) = scenes.draw(size["batch"], 1)
        images = fusion.prepare_images((vectors, project[0](regions)))
        texts = fusion.prepare_texts((project[1](tokens), mask))
        first = image_keys(fusion, images) @ text_keys(fusion, texts).T
        loss = info_nce_loss(fusion.score(images, texts), ids, ids) + info_nce_loss(first, ids, ids[texts.order])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    chance = 2 * torch.tensor(float(len(ids))).log()
    print(f"trained {size['steps']} steps, last loss {loss.item():.3f} (chance {chance:.3f})")
    return fusion, project


def recalls(scores: torch.Tensor) -> dict:
    images, texts = scores.shape
    metrics = retrieval_metrics(
        scores.numpy(),
        scores.T.numpy(),
        [t // CAPTIONS for t in range(texts)],
        [list(range(i * CAPTIONS, (i + 1) * CAPTIONS)) for i in range(images)],
    )
    return {name: metrics[name] for name in ("txt_r1", "txt_r5", "txt_r10", "img_r1", "img_r5", "img_r10")}


def main() -> None:
    args = arguments(__doc__)
    size = QUICK if args.quick else SIZE
    scenes = Scenes(size, seed=0)
    fusion, project = train(scenes, size)
    with torch.no_grad():
        (vectors, regions), (tokens, mask) = scenes.draw(size["images"], CAPTIONS)
        images = fusion.prepare_images((vectors, project[0](regions)))
        texts = fusion.prepare_texts((project[1](tokens), mask))
        start = time.perf_counter()
        staged, exact = two_stage_scores(fusion, images, texts, size["k"])
        seconds = time.perf_counter() - start
        start = time.perf_counter()
        full = fusion.score(images, texts)
        exact_seconds = time.perf_counter() - start
    found, expected = recalls(staged), recalls(full)
    for name, value in expected.items():
        print(f"{name}: exact {value:.2f}, two stages {found[name]:.2f}")
    worst = max(abs(found[name] - value) for name, value in expected.items())
    print(f"largest difference of a recall: {worst:.2f} points (bar: 0.1)")
    print(f"scored exactly: {exact.float().mean():.1%} of pairs")
    name = f"two stages, {size['images']} x {len(mask)}, k={size['k']}"
    report([Row(name, "exact scores of all pairs", exact_seconds / seconds, seconds, exact_seconds, ">= 10")])


if __name__ == "__main__":
    main()

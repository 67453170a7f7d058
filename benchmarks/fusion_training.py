"""Forward and backward of the whole head and the loss: 64 images, 64 captions and 64 generated negatives, 8 heads.

R = 36, 8 to 20 tokens, D = 1024. Against the published loop over captions, with the global part for every pair (the
authors' own code computes it for true pairs alone) and autograd. Loss and gradients of both are compared first. The
second row sets it against its own matrix products at this machine's best rate: a ratio of 1 would be the end.
"""

import torch
import torch.nn.functional as F
from fusion_common import Row, arguments, best_time, products_alone, published_loop, random_inputs, report

from lavis_asym.fusion import HierarchicalFusion
from lavis_asym.losses import contrastive_loss

SIZE = dict(images=64, texts=128, regions=36, lengths=(8, 20), width=1024)
QUICK = dict(images=4, texts=8, regions=5, lengths=(2, 4), width=32)
HEADS = 8


def loop_scores(fusion: HierarchicalFusion, vectors, regions, tokens, mask) -> torch.Tensor:
    """The head's scores, caption by caption."""
    vectors, regions, tokens = (F.normalize(x, dim=-1) for x in (vectors, regions, tokens))

    def joint(local, seen, read):
        context = fusion.image_context(seen)
        gate = torch.sigmoid(fusion.gate_global(vectors) + fusion.gate_context(context))
        fused = gate * vectors + (1 - gate) * context
        similarity = F.cosine_similarity(fused, fusion.text_context(read), dim=1)
        return fusion.local_weight * local + (1 - fusion.local_weight) * similarity

    return published_loop(regions, tokens, mask, fusion.heads, joint)


def main() -> None:
    args = arguments(__doc__)
    size, repeats = (QUICK, 1) if args.quick else (SIZE, 4)
    torch.manual_seed(0)
    vectors, regions, tokens, mask = random_inputs(**size)
    features = [x.requires_grad_() for x in (vectors, regions, tokens)]
    fusion = HierarchicalFusion(size["width"], heads=HEADS)
    image_ids = torch.arange(size["images"])
    text_ids = torch.cat([image_ids, torch.full((size["texts"] - size["images"],), -1)])

    def step(score):
        leaves = [*features, *fusion.parameters()]
        for leaf in leaves:
            leaf.grad = None
        loss = contrastive_loss(score(), image_ids, text_ids)
        loss.backward()
        return loss.detach(), [leaf.grad for leaf in leaves]

    def fast():
        return step(lambda: fusion((vectors, regions), (tokens, mask)))

    def loop():
        return step(lambda: loop_scores(fusion, vectors, regions, tokens, mask))

    (loss, gradients), (loop_loss, loop_gradients) = fast(), loop()
    torch.testing.assert_close(loss, loop_loss)
    worst = max(((a - b).norm() / b.norm()).item() for a, b in zip(gradients, loop_gradients))
    print(f"loss {loss.item():.6f} and {loop_loss.item():.6f}; gradients differ by at most {worst:.1e} of their norm")
    seconds, loop_seconds = best_time(fast, repeats), best_time(loop, 1 if args.quick else 2, warm_up=False)
    with torch.no_grad():
        forward = best_time(lambda: fusion((vectors, regions), (tokens, mask)), repeats)
    print(f"forward alone: {forward:.3f} s")
    name = "whole head and loss, forward and backward"
    alone = products_alone(fast, repeats)
    at_most = f"at 1.00 it would be {loop_seconds / alone:.1f} times as fast as the loop"
    report(
        [
            Row(name, "published loop with autograd", loop_seconds / seconds, seconds, loop_seconds, ">= 12"),
            Row(name, "its products alone", seconds / alone, seconds, alone, "", at_most),
        ]
    )


if __name__ == "__main__":
    main()

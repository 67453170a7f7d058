"""The head against the published loop, word by word and region by region, and its invariances."""

import pytest
import torch
import torch.nn.functional as F

from lavis_asym.fusion import HierarchicalFusion, local_similarity, head


def published_local(regions, tokens, scale_t2i, scale_i2t, heads):
    """One pair; both attended vectors are built. regions R x D, tokens L x D (no padding)."""
    regions, tokens = F.normalize(regions, dim=-1), F.normalize(tokens, dim=-1)
    size = regions.shape[1] // heads
    slices = [slice(h * size, (h + 1) * size) for h in range(heads)]
    attended_regions = []
    for token in tokens:
        parts = [torch.softmax(scale_t2i * regions[:, s] @ token[s], 0) @ regions[:, s] for s in slices]
        attended_regions.append(torch.cat(parts))
    attended_tokens = []
    for region in regions:
        parts = [torch.softmax(scale_i2t * tokens[:, s] @ region[s], 0) @ tokens[:, s] for s in slices]
        attended_tokens.append(torch.cat(parts))
    a, b = torch.stack(attended_regions), torch.stack(attended_tokens)
    t2i = F.cosine_similarity(tokens, a, dim=-1).mean()
    i2t = F.cosine_similarity(regions, b, dim=-1).mean()
    return (t2i + i2t) / 2, a.mean(0), b.mean(0)


def published_score(fusion, vector, regions, tokens):
    local, region_context, token_context = published_local(
        regions, tokens, fusion.scale_t2i, fusion.scale_i2t, fusion.heads
    )
    vector = F.normalize(vector, dim=-1)
    context = fusion.image_context(region_context)
    if fusion.gate_global is None:
        fused = (vector + context) / 2
    else:
        gate = torch.sigmoid(fusion.gate_global(vector) + fusion.gate_context(context))
        fused = gate * vector + (1 - gate) * context
    similarity = F.cosine_similarity(fused, fusion.text_context(token_context), dim=-1)
    return fusion.local_weight * local + (1 - fusion.local_weight) * similarity


def features(images=3, texts=5, regions=7, lengths=(1, 4, 6, 2, 6), width=16, seed=0):
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(*shape, generator=generator)

    mask = torch.arange(max(lengths))[None] < torch.tensor(lengths[:texts])[:, None]
    return (draw(images, width), draw(images, regions, width)), (draw(texts, max(lengths), width), mask)


@pytest.mark.parametrize("heads", [1, 4])
@pytest.mark.parametrize("images,texts,regions", [(3, 5, 7), (1, 1, 1), (2, 1, 7), (4, 3, 1)])
def test_local_similarity_equals_the_published_loop(heads, images, texts, regions):
    (_, v), (t, mask) = features(images, texts, regions)
    scores = local_similarity(v, t, mask, heads=heads, scale_t2i=9.0, scale_i2t=4.0)
    expected = [[published_local(v[i], t[j][mask[j]], 9.0, 4.0, heads)[0] for j in range(texts)] for i in range(images)]
    assert scores.shape == (images, texts) and scores.dtype == torch.float32
    torch.testing.assert_close(scores, torch.tensor(expected), atol=1e-5, rtol=0)


@pytest.mark.parametrize("settings", [{}, {"heads": 4}, {"gate": False}, {"local_weight": 0.0}, {"local_weight": 1.0}])
def test_head_equals_the_published_loop(settings):
    torch.manual_seed(1)
    fusion = HierarchicalFusion(16, **settings)
    (vectors, regions), (tokens, mask) = features()
    with torch.no_grad():
        scores = fusion((vectors, regions), (tokens, mask))
        expected = [[published_score(fusion, v, r, t[m]) for t, m in zip(tokens, mask)] for v, r in zip(vectors, regions)]
    torch.testing.assert_close(scores, torch.tensor(expected), atol=1e-5, rtol=0)


def test_permuting_images_texts_regions_permutes_scores_alone():
    torch.manual_seed(1)
    fusion = HierarchicalFusion(16, heads=2)
    (vectors, regions), (tokens, mask) = features()
    i, j, r = torch.tensor([2, 0, 1]), torch.tensor([4, 2, 0, 1, 3]), torch.randperm(7)
    scores = fusion((vectors, regions), (tokens, mask))
    permuted = fusion((vectors[i], regions[i][:, r]), (tokens[j], mask[j]))
    torch.testing.assert_close(permuted, scores[i][:, j], atol=1e-6, rtol=0)


def test_padding_never_changes_a_score():
    fusion = HierarchicalFusion(16)
    image, (tokens, mask) = features()
    garbage = torch.where(mask[..., None], tokens, torch.tensor(1e4))
    wide = F.pad(garbage, (0, 0, 0, 3), value=7.0)
    expected = fusion(image, (tokens, mask))
    torch.testing.assert_close(fusion(image, (wide, F.pad(mask, (0, 3)))), expected, atol=1e-6, rtol=0)


def test_blocks_and_recomputation_change_neither_scores_nor_gradients(monkeypatch):
    torch.manual_seed(1)
    image, text = features(images=5)

    def run(block_bytes, memory_bytes):
        monkeypatch.setattr(head, "BLOCK_BYTES", block_bytes)
        fusion = HierarchicalFusion(16, heads=2, memory_bytes=memory_bytes)
        fusion.load_state_dict(state)
        regions = image[1].clone().requires_grad_()
        scores = fusion((image[0], regions), text)
        (scores**2).sum().backward()
        return [scores.detach(), regions.grad, *(p.grad for p in fusion.parameters())]

    state = HierarchicalFusion(16, heads=2).state_dict()
    whole = run(2**30, 2**30)
    for block_bytes, memory_bytes in ((1, 2**30), (1, 0), (10_000, 0)):
        for a, b in zip(whole, run(block_bytes, memory_bytes)):
            torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)


def test_gradients_in_double_precision():
    (_, regions), (tokens, mask) = features(images=2, texts=2, regions=3, lengths=(1, 3), width=4)
    unit = [F.normalize(x.double(), dim=-1)[None].requires_grad_() for x in (regions, tokens)]
    from lavis_asym.fusion.local import attend

    assert torch.autograd.gradcheck(lambda v, t: attend(v, t, mask, 9.0, 4.0).similarity, unit)


def test_a_text_without_tokens_scores_finite():
    (vectors, regions), (tokens, mask) = features()
    mask[0] = False
    assert HierarchicalFusion(16)((vectors, regions), (tokens, mask)).isfinite().all()


@pytest.mark.parametrize(
    "change,message",
    [
        (lambda v, t, m: (v[:, :, :8], t, m, 1), "N x R x D"),
        (lambda v, t, m: (v, t, m.float(), 1), "bool mask"),
        (lambda v, t, m: (v, t, m[:, :2], 1), "bool mask"),
        (lambda v, t, m: (v, t, m, 3), "does not divide"),
    ],
)
def test_shapes_that_do_not_fit_are_named(change, message):
    (_, v), (t, mask) = features()
    v, t, mask, heads = change(v, t, mask)
    with pytest.raises(ValueError, match=message):
        local_similarity(v, t, mask, heads=heads)

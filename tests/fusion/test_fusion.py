"""The head against the published loop, word by word and region by region, and its invariances."""

import weakref

import pytest
import torch
import torch.nn.functional as F

from lavis_asym.fusion import HierarchicalFusion, blocks, local_similarity
from lavis_asym.fusion.attention import MAX_SCALE
from lavis_asym.fusion.tiles import Settings, tiles
from lavis_asym.fusion.tiles import blocks as blocks_of


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
    if fusion.image_context is None:
        return local
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


SETTINGS = [
    {},
    {"heads": 4},
    {"heads": 2, "gate": False},
    {"local_weight": 0.0},
    {"local_weight": 1.0},
    {"heads": 2, "local_weight": 0.6, "learn_local_weight": True},
]


@pytest.mark.parametrize("heads", [1, 4])
@pytest.mark.parametrize("images,texts,regions", [(3, 5, 7), (1, 1, 1), (2, 1, 7), (4, 3, 1), (9, 5, 7)])
def test_local_similarity_equals_the_published_loop(heads, images, texts, regions):
    (_, v), (t, mask) = features(images, texts, regions)
    scores = local_similarity(v, t, mask, heads=heads, scale_t2i=9.0, scale_i2t=4.0)
    expected = [[published_local(v[i], t[j][mask[j]], 9.0, 4.0, heads)[0] for j in range(texts)] for i in range(images)]
    assert scores.shape == (images, texts) and scores.dtype == torch.float32
    torch.testing.assert_close(scores, torch.tensor(expected), atol=1e-5, rtol=0)


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("images,texts,regions", [(3, 5, 7), (1, 1, 1), (2, 1, 7), (4, 3, 1)])
def test_head_equals_the_published_loop(settings, images, texts, regions):
    torch.manual_seed(1)
    fusion = HierarchicalFusion(16, **settings)
    (vectors, regions), (tokens, mask) = features(images, texts, regions)
    with torch.no_grad():
        scores = fusion((vectors, regions), (tokens, mask))
        expected = [
            [published_score(fusion, v, r, t[m]) for t, m in zip(tokens, mask)] for v, r in zip(vectors, regions)
        ]
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
    expected = fusion(image, (tokens, mask))
    for value in (1e4, torch.nan, torch.inf):
        garbage = torch.where(mask[..., None], tokens, torch.tensor(value))
        wide = F.pad(garbage, (0, 0, 0, 3), value=7.0)
        torch.testing.assert_close(fusion(image, (wide, F.pad(mask, (0, 3)))), expected, atol=1e-6, rtol=0)


def test_the_size_of_blocks_changes_neither_scores_nor_gradients():
    torch.manual_seed(1)
    image, text = features(images=5)
    state = HierarchicalFusion(16, heads=2).state_dict()

    def run(memory_bytes):
        fusion = HierarchicalFusion(16, heads=2, memory_bytes=memory_bytes)
        fusion.load_state_dict(state)
        inputs = [x.clone().requires_grad_() for x in (*image, text[0])]
        scores = fusion(inputs[:2], (inputs[2], text[1]))
        (scores**2).sum().backward()
        return [scores.detach(), *(x.grad for x in [*inputs, *fusion.parameters()])]

    whole = run(2**30)
    for memory_bytes in (1, 5_000, 20_000, 50_000):
        for a, b in zip(whole, run(memory_bytes)):
            torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("settings", SETTINGS)
def test_gradients_equal_those_of_the_published_loop(settings):
    torch.manual_seed(1)
    fusion = HierarchicalFusion(16, **settings).double()
    (vectors, regions), (tokens, mask) = features()
    inputs = [x.double().requires_grad_() for x in (vectors, regions, tokens)]
    weights = torch.randn(3, 5, dtype=torch.double)

    def gradients(scores):
        return torch.autograd.grad((weights * scores).sum(), [*inputs, *fusion.parameters()], allow_unused=True)

    vectors, regions, tokens = inputs
    loop = [[published_score(fusion, v, r, t[m]) for t, m in zip(tokens, mask)] for v, r in zip(vectors, regions)]
    expected = gradients(torch.stack([torch.stack(row) for row in loop]))
    found = gradients(fusion((vectors, regions), (tokens, mask)))
    for a, b in zip(found, expected):
        assert (a is None) == (b is None)
        if a is not None:
            torch.testing.assert_close(a, b, atol=1e-9, rtol=1e-7)


@pytest.mark.parametrize("settings", [{}, {"heads": 2}, {"heads": 2, "gate": False}, {"local_weight": 1.0}])
def test_gradcheck(settings):
    torch.manual_seed(1)
    fusion = HierarchicalFusion(4, **settings).double()
    (vectors, regions), (tokens, mask) = features(images=2, texts=3, regions=3, lengths=(1, 3, 2), width=4)
    inputs = [x.double().requires_grad_() for x in (vectors, regions, tokens)]
    assert torch.autograd.gradcheck(lambda v, r, t: fusion((v, r), (t, mask)), inputs)


def test_gradients_of_tied_and_of_zero_features_are_finite():
    regions, tokens = torch.ones(2, 3, 8), torch.ones(2, 4, 8)
    regions[0] = 0
    regions[1, 1] = -1  # cancels its neighbour
    regions.requires_grad_()
    scores = local_similarity(regions, tokens, torch.ones(2, 4, dtype=torch.bool), heads=2)
    scores.sum().backward()
    assert scores.isfinite().all() and scores.abs().max() <= 1 + 1e-5 and regions.grad.isfinite().all()


@pytest.mark.parametrize("regions,length", [(79, 3), (1024, 2), (2, 200)])
def test_scores_at_the_highest_scales_do_not_overflow(regions, length):
    generator = torch.Generator().manual_seed(0)
    base = torch.randn(16, generator=generator)
    v, t = (base + 0.02 * torch.randn(1, n, 16, generator=generator) for n in (regions, length))
    v[:, regions // 2 :] = torch.randn(1, regions - regions // 2, 16, generator=generator)
    mask = torch.ones(1, length, dtype=torch.bool)
    highest = {"scale_t2i": MAX_SCALE, "scale_i2t": MAX_SCALE}
    expected = published_local(v[0].double(), t[0].double(), MAX_SCALE, MAX_SCALE, 1)[0]
    assert local_similarity(v, t, mask, **highest).item() == pytest.approx(expected.item(), abs=1e-5)
    ones = local_similarity(torch.ones_like(v), torch.ones_like(t), mask, **highest)
    assert ones.item() == pytest.approx(1, abs=1e-5)


def test_a_second_pass_through_a_retained_graph_is_the_first_again():
    (_, v), (t, mask) = features()
    v.requires_grad_()
    fusion = HierarchicalFusion(16, heads=2)
    total = fusion((v[:, 0], v), (t, mask)).square().sum()
    first, second = (torch.autograd.grad(total, v, retain_graph=True)[0] for _ in range(2))
    torch.testing.assert_close(second, first, atol=1e-6, rtol=1e-5)


def test_what_the_forward_pass_kept_goes_with_the_backward_pass(monkeypatch):
    kept, forward = [], blocks._forward

    def watch(*args):
        scores = forward(*args)
        kept.extend(weakref.ref(attention.region_mix) for attention in args[3])
        return scores

    monkeypatch.setattr(blocks, "_forward", watch)
    (vectors, v), text = features()
    total = HierarchicalFusion(16)((vectors, v.requires_grad_()), text).sum()
    assert kept and all(own() is not None for own in kept)
    total.backward()
    assert all(own() is None for own in kept)


def test_a_gradient_of_the_gradient_is_refused():
    (_, v), (t, mask) = features()
    v.requires_grad_()
    with pytest.raises(RuntimeError, match="differentiated once"):
        torch.autograd.grad(local_similarity(v, t, mask).sum(), v, create_graph=True)


@pytest.mark.parametrize("heads,images,regions,lengths", [(1, 40, 9, [3] * 50), (4, 7, 36, [1, 5, 5, 5, 20, 20])])
@pytest.mark.parametrize("width", [None, 64])
def test_blocks_stay_within_the_budget(heads, images, regions, lengths, width):
    """A block holds `values` values for each of S in a sixteenth of the budget; a smaller budget makes more of them."""
    features = torch.empty(heads, images, regions, 2)
    counts = []
    for memory_bytes in (2**24, 2**21, 2**18):
        settings = Settings(9.0, 4.0, memory_bytes, joint_width=width)
        pairs = 0
        for tile in tiles(features, lengths, settings):
            for _, run, own in blocks_of(features, tile, settings, 4):
                for part in own:
                    size = (part.stop - part.start) * (run.texts.stop - run.texts.start)
                    pairs += size
                    assert size == 1 or 4 * 4 * size * heads * regions * run.length <= memory_bytes / 16
        assert pairs == images * len(lengths)
        counts.append(sum(len(own) for tile in tiles(features, lengths, settings)
                          for _, _, own in blocks_of(features, tile, settings, 4)))  # fmt: skip
    assert counts[0] < counts[1] < counts[2]


def test_real_tokens_may_stand_anywhere():
    (_, v), (t, mask) = features()
    shifted, holes = F.pad(t, (0, 0, 2, 0)), F.pad(mask, (2, 0))
    torch.testing.assert_close(local_similarity(v, shifted, holes), local_similarity(v, t, mask), atol=1e-6, rtol=0)
    spread = torch.zeros(5, 12, 16)
    spread[:, ::2] = t
    spread_mask = torch.zeros(5, 12, dtype=torch.bool)
    spread_mask[:, ::2] = mask
    torch.testing.assert_close(
        local_similarity(v, spread, spread_mask), local_similarity(v, t, mask), atol=1e-6, rtol=0
    )


def test_prepared_features_score_as_given_ones():
    torch.manual_seed(1)
    fusion = HierarchicalFusion(16, heads=2)
    image, text = features()
    images, texts = fusion.prepare_images(image), fusion.prepare_texts(text)
    scores = fusion(image, text)
    assert torch.equal(fusion.score(images, texts), scores)
    i, places = torch.tensor([2, 0]), torch.tensor([1, 2, 4])
    some = fusion.score(images.select(i), texts.select(places))
    torch.testing.assert_close(some, scores[i][:, texts.order[places]], atol=1e-6, rtol=0)


def test_a_learned_local_weight_starts_where_it_is_told_and_moves():
    torch.manual_seed(1)
    fusion, fixed = (
        HierarchicalFusion(16, local_weight=0.7, learn_local_weight=True),
        HierarchicalFusion(16, local_weight=0.7),
    )
    fixed.load_state_dict({k: v for k, v in fusion.state_dict().items() if k != "weight_logit"})
    scores = fusion(*features())
    torch.testing.assert_close(scores, fixed(*features()), atol=1e-6, rtol=0)
    scores.sum().backward()
    assert fusion.local_weight.item() == pytest.approx(0.7) and fusion.weight_logit.grad.abs() > 0


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_runs_products_in_half_precision_and_scores_in_float32(dtype):
    torch.manual_seed(1)
    fusion = HierarchicalFusion(16, heads=2)
    (vectors, regions), text = features()
    regions.requires_grad_()
    full = fusion((vectors, regions), text)
    with torch.autocast("cpu", dtype):
        half = fusion((vectors, regions), text)
    assert half.dtype == torch.float32 and not torch.equal(half, full)
    torch.testing.assert_close(half, full, atol=1e-2, rtol=0)
    (expected,), (found,) = (torch.autograd.grad(x.sum(), regions) for x in (full, half))
    assert F.cosine_similarity(expected.flatten(), found.flatten(), dim=0) > 0.999


def test_an_explanation_is_the_same_under_autocast():
    fusion = HierarchicalFusion(16, heads=2)
    (vectors, regions), (tokens, mask) = features()
    image, text = (vectors[:1], regions[:1]), (tokens[1:2], mask[1:2])
    expected = fusion.explain(image, text)
    with torch.autocast("cpu", torch.bfloat16):
        found = fusion.explain(image, text)
    assert all(torch.equal(a, b) for a, b in zip(found, expected))
    with pytest.raises(ValueError, match=r"regions N x R x 8, .*16"):
        HierarchicalFusion(8).explain(image, text)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_head_in_half_precision_scores_in_float32(dtype):
    torch.manual_seed(1)
    fusion = HierarchicalFusion(16, heads=2)
    expected = fusion(*features())
    found = fusion.to(dtype)(*features())
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, atol=1e-2, rtol=0)


def test_half_features_are_scored_in_float32():
    (_, v), (t, mask) = features()
    scores = local_similarity(v.bfloat16(), t.bfloat16(), mask)
    torch.testing.assert_close(scores, local_similarity(v.bfloat16().float(), t.bfloat16().float(), mask))


def in_two_steps(fusion, image, text):
    return fusion.score(fusion.prepare_images(image), fusion.prepare_texts(text))


def local_alone(fusion, image, text):
    return local_similarity(image[1], *text, heads=2)


@pytest.mark.parametrize("score", [HierarchicalFusion.forward, in_two_steps, local_alone])
def test_compilation_changes_nothing_and_new_lengths_need_none(score):
    class Projected(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.project, self.fusion = torch.nn.Linear(16, 16), HierarchicalFusion(16, heads=2)

        def forward(self, vectors, regions, tokens, mask):
            return score(self.fusion, (vectors, self.project(regions)), (tokens, mask)) * 2

    graphs = []

    def count_graphs(graph, inputs):
        graphs.append(graph)
        return graph

    torch.manual_seed(1)
    model = Projected()
    compiled = torch.compile(model, backend=count_graphs, dynamic=True)
    counts = []
    for longest in (6, 5, 4, 3, 2):
        (vectors, regions), (tokens, mask) = features()
        regions.requires_grad_()
        given = (vectors, regions, *(x[:, :longest].contiguous() for x in (tokens, mask)))
        expected, found = model(*given), compiled(*given)
        torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)
        torch.testing.assert_close(*(torch.autograd.grad(x.sum(), regions)[0] for x in (found, expected)))
        counts.append(len(graphs))
    assert 0 < counts[2] == counts[-1]


def test_an_explanation_adds_up_to_the_local_similarity():
    fusion = HierarchicalFusion(16, heads=2, local_weight=1.0)
    (vectors, regions), (tokens, mask) = features()
    image, text = (vectors[:1], regions[:1]), (tokens[1:2], mask[1:2])
    found = fusion.explain(image, text)
    assert found.token_attention.shape == (4, 7) and found.region_attention.shape == (7, 4)
    for attention in (found.token_attention, found.region_attention):
        torch.testing.assert_close(attention.sum(1), torch.ones(len(attention)))
    local = (found.token_similarity.mean() + found.region_similarity.mean()) / 2
    torch.testing.assert_close(local, fusion(image, text)[0, 0], atol=1e-6, rtol=0)
    with pytest.raises(ValueError, match="one image and one text"):
        fusion.explain((vectors, regions), text)


def test_an_explanation_looks_where_the_word_is_shown():
    regions = torch.eye(6)[None]
    tokens = torch.eye(6)[None, [4, 1]]
    found = HierarchicalFusion(6).explain((regions[:, 0], regions), (tokens, torch.ones(1, 2, dtype=torch.bool)))
    assert found.token_attention.argmax(1).tolist() == [4, 1]
    assert found.region_attention[[4, 1]].argmax(1).tolist() == [0, 1]


def test_a_text_without_tokens_scores_zero():
    (vectors, regions), (tokens, mask) = features()
    expected = HierarchicalFusion(16, local_weight=1.0)((vectors, regions), (tokens, mask))
    mask[2] = False
    scores = HierarchicalFusion(16, local_weight=1.0)((vectors, regions), (tokens, mask))
    assert (scores[:, 2] == 0).all()
    torch.testing.assert_close(scores[:, [0, 1, 3, 4]], expected[:, [0, 1, 3, 4]], atol=1e-6, rtol=0)
    mask[:] = False
    assert (HierarchicalFusion(16)((vectors, regions), (tokens, mask)) == 0).all()


@pytest.mark.parametrize(
    "settings,message",
    [
        ({"heads": 3}, "heads=3 does not divide"),
        ({"heads": 0}, "heads=0 does not divide"),
        ({"local_weight": 1.5}, r"local_weight must lie in \[0, 1\], got 1.5"),
        ({"local_weight": 1.0, "learn_local_weight": True}, "start between 0 and 1"),
        ({"scale_t2i": 99.0}, "scale_t2i must lie in"),
        ({"scale_i2t": -1.0}, "scale_i2t must lie in"),
    ],
)
def test_settings_out_of_range_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        HierarchicalFusion(16, **settings)


@pytest.mark.parametrize(
    "change,message",
    [
        (lambda v, t, m: (v[:, :, :8], t, m, 1), "M x L x 8"),
        (lambda v, t, m: (v[:, :0], t, m, 1), "R > 0"),
        (lambda v, t, m: (v[0], t, m, 1), "N x R x D"),
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


def test_a_head_names_features_that_do_not_fit():
    fusion = HierarchicalFusion(16)
    (vectors, regions), (tokens, mask) = features()
    for other in (vectors[:1], vectors[:2], vectors[:, :8]):
        with pytest.raises(ValueError, match="global vectors 3 x 16"):
            fusion((other, regions), (tokens, mask))
    with pytest.raises(ValueError, match="regions N x R x 16"):
        fusion((vectors, regions[..., :8]), (tokens, mask))
    with pytest.raises(ValueError, match="M x L x 16"):
        fusion((vectors, regions), (tokens[..., :8], mask))
    with pytest.raises(ValueError, match="bool mask"):
        fusion((vectors, regions), (tokens, mask.float()))


def test_no_images_or_no_texts_give_an_empty_matrix():
    regions, tokens, mask = torch.randn(2, 3, 4), torch.randn(5, 6, 4), torch.ones(5, 6, dtype=torch.bool)
    assert local_similarity(regions[:0], tokens, mask).shape == (0, 5)
    assert local_similarity(regions, tokens[:0], mask[:0]).shape == (2, 0)
    head = HierarchicalFusion(4)
    assert head((torch.randn(0, 4), regions[:0]), (tokens, mask)).shape == (0, 5)
    assert head((torch.randn(2, 4), regions), (tokens[:0], mask[:0])).shape == (2, 0)

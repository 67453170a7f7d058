"""Two stages: exact where it claims to be, the first score the head's own without attention."""

import pytest
import torch

from lavis_asym.fusion import HierarchicalFusion, two_stage_scores
from lavis_asym.fusion.two_stage import image_keys, text_keys

SETTINGS = [{}, {"heads": 4}, {"gate": False}, {"local_weight": 1.0}, {"learn_local_weight": True}]


def prepared(images=9, texts=14, **settings):
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    fusion = HierarchicalFusion(16, **settings)
    lengths = torch.randint(1, 7, (texts,), generator=generator)
    mask = torch.arange(6)[None] < lengths[:, None]
    vectors, regions, tokens = (
        torch.randn(shape, generator=generator) for shape in ((images, 16), (images, 5, 16), (texts, 6, 16))
    )
    image, text = (vectors, regions), (tokens, mask)
    with torch.no_grad():
        return fusion, image, text, fusion.prepare_images(image), fusion.prepare_texts(text)


@pytest.mark.parametrize("settings", SETTINGS)
def test_the_first_score_is_the_heads_own_with_scales_at_zero(settings):
    fusion, image, text, images, texts = prepared(**settings)
    fusion.scale_t2i = fusion.scale_i2t = 0.0
    first = (image_keys(fusion, images) @ text_keys(texts).T)[:, texts.order.argsort()]
    torch.testing.assert_close(first, fusion(image, text), atol=1e-5, rtol=0)


@pytest.mark.parametrize("settings", SETTINGS)
def test_candidates_are_scored_exactly_and_rank_above_the_rest(settings):
    fusion, image, text, images, texts = prepared(**settings)
    scores, exact = two_stage_scores(fusion, images, texts, k=3)
    full = fusion(image, text).detach()
    torch.testing.assert_close(scores[exact], full[exact], atol=1e-5, rtol=0)
    assert (exact.sum(1) >= 3).all() and (exact.sum(0) >= 3).all() and not exact.all()
    assert scores[exact].min() > scores[~exact].max()
    first = (image_keys(fusion, images) @ text_keys(texts).T)[:, texts.order.argsort()]
    for row, best in zip(exact, first.topk(3, dim=1).indices):
        assert row[best].all()
    for column, best in zip(exact.T, first.T.topk(3, dim=1).indices):
        assert column[best].all()


@pytest.mark.parametrize("k", [0, 9, 14, 1000])
def test_enough_candidates_mean_exact_scores(k):
    fusion, image, text, images, texts = prepared()
    scores, exact = two_stage_scores(fusion, images, texts, k)
    assert exact.all()
    torch.testing.assert_close(scores, fusion(image, text).detach(), atol=1e-6, rtol=0)


def test_whose_caption_it_is_does_not_enter_a_score():
    fusion, image, (tokens, mask), images, _ = prepared()
    order = torch.randperm(len(tokens), generator=torch.Generator().manual_seed(1))
    scores, _ = two_stage_scores(fusion, images, fusion.prepare_texts((tokens, mask)), k=3)
    permuted, _ = two_stage_scores(fusion, images, fusion.prepare_texts((tokens[order], mask[order])), k=3)
    torch.testing.assert_close(permuted, scores[:, order], atol=1e-5, rtol=0)


def test_a_negative_k_is_refused():
    fusion, _, _, images, texts = prepared()
    with pytest.raises(ValueError, match="got -1"):
        two_stage_scores(fusion, images, texts, k=-1)


def test_autocast_leaves_two_stages_their_first_scores():
    fusion, image, text, images, texts = prepared()
    expected, exact = two_stage_scores(fusion, images, texts, k=3)
    with torch.autocast("cpu", torch.bfloat16):
        found, exact_too = two_stage_scores(fusion, images, texts, k=3)
    assert torch.equal(exact, exact_too) and torch.equal(found[~exact], expected[~exact])
    torch.testing.assert_close(found, expected, atol=1e-2, rtol=0)

"""Galleries: in blocks as at once, in two stages as the fusion has them, and on after a stop."""

import numpy as np
import pytest
import torch

from lavis_asym.encoders import TextFeatures, VisionFeatures
from lavis_asym.errors import UserError
from lavis_asym.fusion import HierarchicalFusion, two_stage_scores
from lavis_asym.models import gallery

WORDS = 40
TEXTS = [" ".join(str(w) for w in np.random.default_rng(k).integers(WORDS, size=1 + k % 5)) for k in range(60)]
TEXTS += TEXTS[:7]  # said of several images


class Model:
    """As a gallery sees `AsymRetrieval`: word vectors for an encoder."""

    device = torch.device("cpu")

    def __init__(self):
        torch.manual_seed(0)
        self.fusion, self.words = HierarchicalFusion(16, heads=2), torch.randn(WORDS, 16)

    def encode_texts(self, texts):
        length = torch.tensor([len(text.split()) for text in texts])
        tokens = torch.zeros(len(texts), int(length.max()), 16)
        for row, text in enumerate(texts):
            tokens[row, : length[row]] = self.words[list(map(int, text.split()))]
        return TextFeatures(tokens, torch.arange(tokens.shape[1]) < length[:, None])


@pytest.fixture(scope="module")
def model():
    with torch.no_grad():
        yield Model()


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(gallery, "TEXTS_AT_ONCE", 9)
    monkeypatch.setattr(gallery, "IMAGES_AT_ONCE", 8)
    monkeypatch.setattr(gallery, "SAMPLED", 10)


@pytest.fixture(scope="module")
def images():
    generator = torch.Generator().manual_seed(1)
    return VisionFeatures(torch.randn(30, 16, generator=generator), torch.randn(30, 5, 16, generator=generator))


@pytest.fixture(scope="module")
def exact(model, images):
    return model.fusion(images, model.encode_texts(TEXTS)).numpy()


def test_blocks_score_as_all_at_once(model, images, exact):
    scored = gallery.score_gallery(model, images, TEXTS)
    np.testing.assert_allclose(scored.matrix, exact, atol=1e-6)
    assert scored.k == 0 and scored.sample is None
    assert (scored.matrix[:, 60:] == scored.matrix[:, :7]).all()


@pytest.mark.parametrize("k", [30, 61, 10**6])
def test_k_is_clipped_to_the_gallery(model, images, exact, k):
    scored = gallery.score_gallery(model, images, TEXTS, k)
    assert scored.k == 0
    np.testing.assert_allclose(scored.matrix, exact, atol=1e-6)


def test_two_stages_are_those_of_the_fusion(model, images, exact):
    distinct = sorted(set(TEXTS))
    images_and_texts = model.fusion.prepare_images(images), model.fusion.prepare_texts(model.encode_texts(distinct))
    staged = two_stage_scores(model.fusion, *images_and_texts, k=4)[0]
    scored = gallery.score_gallery(model, images, TEXTS, k=4)
    expected = staged[:, [distinct.index(text) for text in TEXTS]].numpy()
    np.testing.assert_allclose(scored.matrix, expected, atol=1e-5)
    assert scored.k == 4 and (scored.matrix < -2).any()
    sample = scored.sample
    assert len(sample.images) == len(sample.texts) == 10
    np.testing.assert_allclose(sample.rows, exact[sample.images], atol=1e-6)
    np.testing.assert_allclose(sample.columns, exact[:, sample.texts], atol=1e-6)


@pytest.mark.parametrize("k", [0, 4])
def test_a_stopped_evaluation_goes_on(model, images, tmp_path, monkeypatch, k):
    path = tmp_path / "new" / "scores.f32"
    whole = gallery.score_gallery(model, images, TEXTS, k)
    append, written = gallery.Rows.append, []

    def stopping(self, rows):
        if len(written) == 2:
            raise KeyboardInterrupt
        counting(self, rows)

    def counting(self, rows):
        written.append(len(rows))
        append(self, rows)

    monkeypatch.setattr(gallery.Rows, "append", stopping)
    with pytest.raises(KeyboardInterrupt):
        gallery.score_gallery(model, images, TEXTS, k, path)
    with open(path, "ab") as stream:
        stream.write(b"half a row")
    monkeypatch.setattr(gallery.Rows, "append", counting)
    assert (gallery.score_gallery(model, images, TEXTS, k, path).matrix == whole.matrix).all()
    assert written == [8, 8, 8, 6]
    assert path.stat().st_size == 30 * len(set(TEXTS)) * 4


def test_a_file_that_cannot_be_written_is_named(model, images, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="file/scores.f32: cannot be written"):
        gallery.score_gallery(model, images, TEXTS, 0, tmp_path / "file" / "scores.f32")


def test_each_image_with_its_own_texts(model, images, exact):
    texts = [TEXTS[k : k + k % 4] + TEXTS[k : k + k % 4][:1] for k in range(30)]
    for image, (own, scores) in enumerate(zip(texts, gallery.score_own(model, images, texts))):
        expected = [exact[image, TEXTS.index(text)] for text in own]
        np.testing.assert_allclose(scores, expected, atol=1e-6)

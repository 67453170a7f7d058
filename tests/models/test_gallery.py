"""Galleries: in blocks as at once, in two stages as the fusion has them, and on after a stop."""

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch.utils.data import DataLoader, Dataset

from lavis_asym.encoders import TextFeatures, VisionFeatures
from lavis_asym.errors import UserError
from lavis_asym.fusion import HierarchicalFusion, two_stage_scores
from lavis_asym.models import gallery
from lavis_asym.models.shares import share
from lavis_asym.scorers import AsymScorer

WORDS = 40
TEXTS = [" ".join(str(w) for w in np.random.default_rng(k).integers(WORDS, size=1 + k % 5)) for k in range(60)]
TEXTS += TEXTS[:7]  # said of several images


class Model:
    """As a gallery sees `AsymRetrieval`: word vectors for an encoder."""

    device = torch.device("cpu")

    def __init__(self):
        torch.manual_seed(0)
        self.fusion, self.words = HierarchicalFusion(16, heads=2), torch.randn(WORDS, 16)
        self.encoded = []  # images in each call

    def encode_texts(self, texts):
        length = torch.tensor([len(text.split()) for text in texts])
        tokens = torch.zeros(len(texts), int(length.max()), 16)
        for row, text in enumerate(texts):
            tokens[row, : length[row]] = self.words[list(map(int, text.split()))]
        return TextFeatures(tokens, torch.arange(tokens.shape[1]) < length[:, None])

    def encode_images(self, batch):
        self.encoded.append(len(batch["image"]))
        return VisionFeatures(batch["image"][:, 0], batch["image"][:, 1:])

    def encode_gallery(self, *given):
        with torch.no_grad():
            return gallery.encode_gallery(self, *given)

    def score_gallery(self, *given, **more):
        with torch.no_grad():
            return gallery.score_gallery(self, *given, **more)


class Photos(Dataset):
    """Of which some processes get one more than others."""

    def __init__(self):
        self.text, self.pixels = TEXTS, torch.randn(31, 6, 16, generator=torch.Generator().manual_seed(2))

    def __len__(self):
        return len(self.pixels)

    def __getitem__(self, number):
        return {"image": self.pixels[number], "index": number}


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


def test_a_stopped_encoding_goes_on(tmp_path):
    class Stopping(Model):
        def encode_images(self, batch):
            if len(self.encoded) == 3:
                raise KeyboardInterrupt
            return super().encode_images(batch)

    dataset, folder = Photos(), tmp_path / "new"
    model, loader = Model(), DataLoader(dataset, batch_size=4)
    whole = model.encode_gallery(loader, 8)
    with pytest.raises(KeyboardInterrupt):
        Stopping().encode_gallery(loader, 8, folder)
    next(folder.iterdir()).write_bytes(b"not whole")
    again = Model()
    found = again.encode_gallery(loader, 8, folder)
    assert again.encoded == [4] * 5 + [3], "two of the three batches that were done are found again"
    assert all(map(torch.equal, found, whole))

    dataset.pixels = dataset.pixels + (torch.arange(31) == 5)[:, None, None]  # another photo of the same name
    third = Model()
    assert torch.equal(third.encode_gallery(loader, 8, folder).vectors[5], dataset.pixels[5, 0])
    assert third.encoded == [4], "its batch alone is encoded again"


def test_features_that_cannot_be_written_are_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="file/.*safetensors: cannot be written"):
        Model().encode_gallery(DataLoader(Photos(), batch_size=4), 8, tmp_path / "file")


def test_each_image_with_its_own_texts(model, images, exact):
    texts = [TEXTS[k : k + k % 4] + TEXTS[k : k + k % 4][:1] for k in range(30)]
    for image, (own, scores) in enumerate(zip(texts, gallery.score_own(model, images, texts))):
        expected = [exact[image, TEXTS.index(text)] for text in own]
        np.testing.assert_allclose(scores, expected, atol=1e-6)


def scores_of(model, k):
    scored = AsymScorer(model, DataLoader(Photos(), batch_size=4)).scores(k)
    return torch.from_numpy(scored.i2t), scored.sample


def process(rank, folder):
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    model = Model()
    scored = {k: scores_of(model, k) for k in (0, 4)}
    found = {k: scores for k, (scores, _) in scored.items()}
    torch.save((found, [scored[k][1] is not None for k in (0, 4)], sum(model.encoded)), f"{folder}/{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()


@pytest.mark.skipif(not dist.is_available() or not dist.is_gloo_available(), reason="needs gloo")
def test_two_processes_share_the_work_and_find_the_scores_of_one(tmp_path):
    mp.spawn(process, (str(tmp_path),), nprocs=2)
    for rank in range(2):
        found, has_sample, encoded = torch.load(tmp_path / f"{rank}.pt")
        assert encoded == 2 * 16 and has_sample == [False, rank == 0]
        for k, scores in found.items():
            torch.testing.assert_close(scores, scores_of(Model(), k)[0], atol=1e-6, rtol=0)


def test_more_processes_than_images_have_some_twice(monkeypatch):
    shares = []
    for rank in range(4):
        monkeypatch.setattr("lavis_asym.models.shares.get_world_size", lambda: 4)
        monkeypatch.setattr("lavis_asym.models.shares.get_rank", lambda rank=rank: rank)
        shares.append(share(3).tolist() + share(6).tolist())
    assert shares == [[0, 0, 1], [1, 2, 3], [2, 4, 5], [0, 0, 1]]

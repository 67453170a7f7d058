"""Scorers: our model and a small, randomly initialised BLIP of LAVIS before the same gallery."""

import json

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from lavis_asym.data.evaluation_set import EvaluationSet, FolderSet
from lavis_asym.data.layout import Record, read_layout
from lavis_asym.errors import UserError
from lavis_asym.scorers import LavisScorer, photo_of, scorer, weights_fingerprint

WORDS = "a an the red green blue yellow circle square star heart two three above below and on of left right".split()


def loader_of(dataset):
    return DataLoader(dataset, batch_size=4, collate_fn=dataset.collater)


@pytest.fixture(scope="module")
def blip(registered, tmp_path_factory):
    """LAVIS's own BLIP retrieval model, two layers of width 32, images of 32 pixels."""
    from lavis.models.blip_models.blip_retrieval import BlipRetrieval
    from lavis.models.med import XBertEncoder
    from lavis.models.vit import VisionTransformerEncoder
    from transformers import BertConfig, BertTokenizer

    folder = tmp_path_factory.mktemp("bert")
    (folder / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]))

    def init_tokenizer():
        tokenizer = BertTokenizer.from_pretrained(folder)
        tokenizer.add_special_tokens({"bos_token": "[DEC]", "additional_special_tokens": ["[ENC]"]})
        tokenizer.enc_token_id = tokenizer.additional_special_tokens_ids[0]
        return tokenizer

    config = BertConfig(
        vocab_size=len(WORDS) + 10, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64
    )
    config.encoder_width, config.add_cross_attention, config.add_type_embeddings = 32, True, False
    torch.manual_seed(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BlipRetrieval, "init_tokenizer", staticmethod(init_tokenizer))
        vision = VisionTransformerEncoder(img_size=32, patch_size=16, embed_dim=32, depth=2, num_heads=2)
        vision.vision_width = 32
        model = BlipRetrieval(vision, XBertEncoder(config=config, add_pooling_layer=False), queue_size=8, embed_dim=16)
    return model.eval()


@pytest.fixture(scope="module")
def blip_set(scenes_root, registered):
    from lavis.processors import load_processor

    source = read_layout(scenes_root)
    processors = load_processor("blip_image_eval", {"image_size": 32}), load_processor("blip_caption")
    return FolderSet(source.splits["val"], source.images, *processors)


def test_lavis_own_model_is_scored_by_its_own_function(blip, blip_set):
    found = scorer(blip, loader_of(blip_set))
    assert isinstance(found, LavisScorer)
    for k_test in (0, 6, 10**6):
        scored = found.scores(k_test)
        assert scored.k_test == 6 and scored.i2t.shape == (6, 30) and scored.t2i.shape == (30, 6)
        assert (scored.i2t < scored.floor).sum(1).tolist() == [24] * 6 and (scored.t2i > scored.floor).all()
    assert (found.scores(2).t2i > -100).sum(1).tolist() == [2] * 30


def test_a_model_that_scores_every_pair_is_said_to(blip_set):
    class Exact(torch.nn.Module):
        def compute_sim_matrix(self, loader, task_cfg):
            scores = np.arange(180.0).reshape(6, 30)
            return scores, scores.T

    scored = LavisScorer(Exact(), loader_of(blip_set)).scores(4)
    assert scored.k_test == 0 and scored.floor == -np.inf


def test_other_texts_go_through_the_same_function(blip, blip_set):
    found = LavisScorer(blip, loader_of(blip_set))
    whole = found.score_all(blip_set.text)
    np.testing.assert_allclose(whole, found.scores(6).t2i.T, atol=1e-5)
    for some in (slice(7, 15), slice(3, 5)):  # more and fewer texts than images
        np.testing.assert_allclose(found.score_all(blip_set.text[some]), whole[:, some], atol=1e-5)


def test_blip_is_evaluated_from_the_command_line(blip, blip_set, scenes_root, tmp_path, monkeypatch, capsys):
    import lavis.models

    from lavis_asym.cli import main

    processors = {"eval": blip_set.vis_processor}, {"eval": blip_set.text_processor}
    monkeypatch.setattr(lavis.models, "load_model_and_preprocess", lambda *_, **__: (blip, *processors))
    given = ["--root", str(scenes_root), "--model", "blip_retrieval", "--model-type", "coco", "--out", str(tmp_path)]
    assert main(["evaluate", *given, "--resamples", "50", "--trec"]) == 0
    result = json.loads((tmp_path / "val.json").read_text())
    assert result["protocol"]["k_test"] == 6 and result["protocol"]["model"] == "blip_retrieval"
    assert {"intervals", "duplicates", "graded", "by_length", "probe"} <= set(result) and "geometry" not in result
    assert "image to text" in capsys.readouterr().out
    assert all((tmp_path / f"val.{kind}").is_file() for kind in ("md", "html", "run.json.gz", "image_to_text.trec"))
    assert len((tmp_path / "val.text_to_image.qrels").read_text().splitlines()) == 30
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert events.Scalars("val/img_r1")[0].value == pytest.approx(result["img_r1"])
    assert "val/graded/rouge_l/img_ndcg25" in events.Tags()["scalars"], "the sections' figures too"


def test_our_model_scores_a_folder_as_it_scores_its_shards(model, scenes_root, image_shards):
    processors = model.processors["vis"]["eval"], model.processors["text"]["eval"]
    source = read_layout(scenes_root)
    folder = FolderSet(source.splits["val"], source.images, *processors)
    shards = EvaluationSet(image_shards, "val", *processors)
    assert (folder.text, folder.image, folder.txt2img, folder.img2txt, folder.image_ids) == (
        shards.text, shards.image, shards.txt2img, shards.img2txt, shards.image_ids
    )  # fmt: skip
    scored, again = (scorer(model, loader_of(dataset)).scores() for dataset in (folder, shards))
    assert (scored.i2t == again.i2t).all() and (scored.t2i == scored.i2t.T).all() and scored.k_test == 0
    vectors = scored.vectors
    assert [own.shape for own in vectors] == [(6, 256), (30, 256)]
    assert photo_of(folder, 2).tobytes() == photo_of(shards, 2).tobytes()


def test_photos_of_cached_features_come_from_the_folder(feature_shards, scenes_root, model):
    text = model.processors["text"]["eval"]
    assert photo_of(EvaluationSet(feature_shards, "val", None, text), 0) is None
    dataset = EvaluationSet(feature_shards, "val", None, text, image_root=scenes_root / "images")
    assert photo_of(dataset, 0).mode == "RGB"


def test_a_photo_that_is_broken_or_gone_spoils_no_report(feature_shards, model, tmp_path):
    dataset = EvaluationSet(feature_shards, "val", None, model.processors["text"]["eval"], image_root=tmp_path)
    (tmp_path / dataset.image[0]).write_bytes(b"no image")
    folder = FolderSet([Record(name, ("a dog",), name) for name in dataset.image[:2]], tmp_path, None, str)
    for either in (dataset, folder):
        assert photo_of(either, 0) is None and photo_of(either, 1) is None
    with pytest.raises(UserError, match=f"{dataset.image[0]}: "):
        folder[0]


def test_what_an_evaluation_keeps_is_gone_when_it_is_forgotten(model, image_shards, feature_shards, tmp_path):
    processors = model.processors["vis"]["eval"], model.processors["text"]["eval"]
    for shards, batches in ((image_shards, 2), (feature_shards, 0)):  # cached features are not kept once more
        own = scorer(model, loader_of(EvaluationSet(shards, "val", *processors)), tmp_path)
        scored = own.scores(0)
        assert (own.scores(0).i2t == scored.i2t).all()
        own.scores(2)
        (folder,) = tmp_path.iterdir()
        assert len(list(folder.glob("*.safetensors"))) == batches
        assert len(list(folder.glob("*.f32"))) == 2, "another k has rows of its own"
        own.forget(2)
        assert [path.name[:3] for path in folder.iterdir()] == ["k0-"]
        own.forget(0)
        assert not list(tmp_path.iterdir())


def test_rows_of_other_code_are_not_found(model, feature_shards, tmp_path, monkeypatch):
    import lavis_asym.scorers as scorers

    loader = loader_of(EvaluationSet(feature_shards, "val", None, model.processors["text"]["eval"]))
    for source in ("one", "two"):  # neither version nor commit tells them apart in a wheel or a tree with changes
        monkeypatch.setattr(scorers, "SOURCE", source)
        scorer(model, loader, tmp_path).scores(0)
    assert len(list(tmp_path.iterdir())) == 2
    package = tmp_path / "package"
    (package / "fusion").mkdir(parents=True)
    fingerprints = set()
    for content in ("a = 1", "a = 2"):
        (package / "fusion" / "head.py").write_text(content)
        fingerprints.add(scorers.source_fingerprint(package))
    assert len(fingerprints) == 2


def test_where_nothing_can_be_kept_it_is_said_and_all_is_scored(model, feature_shards, tmp_path, caplog):
    (tmp_path / "file").write_text("")
    loader = loader_of(EvaluationSet(feature_shards, "val", None, model.processors["text"]["eval"]))
    assert scorer(model, loader, tmp_path / "file" / "scores").scores(0).i2t.shape == (6, 30)
    assert "cannot be written, so an evaluation that is stopped begins anew" in caplog.text


def test_the_fingerprint_is_of_weights_and_names():
    torch.manual_seed(0)
    one, two = torch.nn.Linear(3, 2), torch.nn.Linear(3, 2)
    assert weights_fingerprint(one) != weights_fingerprint(two)
    two.load_state_dict(one.state_dict())
    assert weights_fingerprint(one) == weights_fingerprint(two)
    assert weights_fingerprint(torch.nn.Sequential(one)) != weights_fingerprint(one)


@pytest.mark.parametrize(
    "more, message",
    [
        (["--batch-size", "0"], "--batch-size: expected at least 1, got 0"),
        (["--k-test", "-1"], "--k-test: expected at least 0, got -1"),
        (["--protocol", "coco_5k"], "coco_5k is defined on 5000 images, val has 6"),
        (["--protocol", "coco5k"], "did you mean 'coco_5k'"),
        (["--split", "dev"], "'dev' is none of train, val, test"),
        (["--checkpoint", "none.pth"], "none.pth: no such file"),
        (["--choices", "none.json"], "none.json: no such file"),
        (["--choices", "other.json"], "other.json: none of its photos is in val"),
        (["--device", "gpu"], "--device: "),
        (["--model", "blip_retreival"], "did you mean 'blip_retrieval'"),
        (["--model", "blip_retrieval"], "known: coco, flickr"),
        (["--model", "blip_caption", "--model-type", "base_coco"], "has no compute_sim_matrix"),
    ],
)
def test_a_fault_stops_before_anything_is_scored(
    registered, model, scenes_root, tmp_path, monkeypatch, capsys, more, message
):
    from lavis_asym.cli import main

    monkeypatch.chdir(tmp_path)
    torch.save({"model": model.state_dict()}, "weights.pth")
    record = {"image": "x.jpg", "question": "who?", "answer": "a man", "wrong": ["a dog"]}
    (tmp_path / "other.json").write_text(json.dumps([record]))
    monkeypatch.setattr("lavis_asym.scorers.scorer", lambda *_: pytest.fail("scored"))
    given = ["--root", str(scenes_root), "--out", "out", "--checkpoint", "weights.pth"]
    assert main(["evaluate", *given, *more]) == 2
    assert message in capsys.readouterr().err

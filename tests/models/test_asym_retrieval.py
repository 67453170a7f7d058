"""The model: known to LAVIS, scoring every pair alike, learning nothing from noise."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from lavis_asym.encoders import TextEncoder, TextFeatures, VisionEncoder, VisionFeatures
from lavis_asym.errors import UserError
from lavis_asym.evaluation import retrieval_metrics

TEXTS = ["a red circle", "two green stars above a heart", "a red circle", "star", "a blue square on the left"]


@pytest.fixture(scope="module")
def pictures(scenes_root):
    return sorted((scenes_root / "images").iterdir())[:4]


def test_lavis_knows_the_model(registered):
    from lavis.models import load_model, load_model_and_preprocess, model_zoo

    import lavis_asym

    lavis_asym.register()
    assert dict(model_zoo)["asym_retrieval"] == ["tiny"] and "asym_retrieval" in str(model_zoo)
    for model in (load_model("asym_retrieval"), load_model("asym_retrieval", "tiny", is_eval=True)):
        assert type(model).__name__ == "AsymRetrieval"
    model, vis, text = load_model_and_preprocess("asym_retrieval", "tiny", is_eval=True)
    picture = Image.new("RGB", (40, 30), "red")
    features = model.extract_features({"image": vis["eval"](picture)[None], "text_input": [text["eval"]("A star .")]})
    assert features.image_vectors.shape == (1, 256) and features.image_regions.shape == (1, 49, 256)
    assert features.text_tokens.shape == (1, 2, 256) and features.text_mask.tolist() == [[True, True]]


def test_an_unknown_name_or_type_gets_near_matches(registered):
    import lavis_asym

    with pytest.raises(UserError, match="did you mean 'asym_retrieval'"):
        lavis_asym.load_model("asym_retreival")
    with pytest.raises(ValueError, match="tiny"):
        lavis_asym.load_model(model_type="tinny")


def test_similarity_takes_paths_and_pictures(model, pictures):
    scores = model.similarity(pictures, TEXTS)
    assert scores.shape == (4, 5) and scores.dtype == torch.float32 and scores.abs().max() <= 1
    opened = model.similarity([Image.open(path) for path in pictures], TEXTS)
    torch.testing.assert_close(opened, scores, atol=0, rtol=0)
    assert not model.training


def test_similarity_of_nothing_is_empty(model, pictures):
    assert model.similarity([], TEXTS).shape == (0, 5) and model.similarity(pictures, []).shape == (4, 0)


def test_one_image_or_text_alone_is_a_list_of_it(model, pictures):
    expected = model.similarity(pictures[:1], TEXTS[:1])
    assert torch.equal(model.similarity(pictures[0], TEXTS[0]), expected)
    assert torch.equal(model.similarity(Image.open(pictures[0]), TEXTS[0]), expected)
    assert model.extract_features({"text_input": "two stars"}).text_tokens.shape == (1, 2, 256)
    with pytest.raises(TypeError, match="expected str or Path or Image, got ndarray"):
        model.similarity([np.zeros((4, 4, 3))], TEXTS)
    with pytest.raises(TypeError, match="expected str, got NoneType"):
        model.similarity(pictures, [None])


def test_features_of_one_side_alone(model):
    samples = {"image": torch.rand(2, 3, 224, 224), "text_input": ["a star"]}
    image, text = (model.extract_features(samples, mode=mode) for mode in ("image", "text"))
    assert image.text_tokens is None and text.image_vectors is None
    both = model.extract_features(samples)
    assert torch.equal(both.image_regions, image.image_regions) and torch.equal(both.text_tokens, text.text_tokens)
    for wrong, mode in (({"text_inputs": ["a star"]}, "multimodal"), (samples, "both"), ({}, "text")):
        with pytest.raises(ValueError, match="expected image, or|mode must be one of"):
            model.extract_features(wrong, mode=mode)


def test_a_failed_evaluation_leaves_the_mode_alone(registered, tmp_path):
    import lavis_asym

    model = lavis_asym.load_model().train()
    with pytest.raises(FileNotFoundError):
        model.similarity([tmp_path / "none.jpg"], TEXTS)
    assert model.training


def test_every_pair_is_scored_alike(model, pictures):
    scores = model.similarity(pictures, TEXTS)
    alone = torch.cat([torch.cat([model.similarity([p], [t]) for t in TEXTS], 1) for p in pictures])
    torch.testing.assert_close(alone, scores, atol=1e-5, rtol=0)


def test_equal_texts_tie_exactly(model, pictures):
    scores = model.similarity(pictures, TEXTS)
    assert torch.equal(scores[:, 0], scores[:, 2])


def test_whose_caption_it_is_does_not_enter_a_score(model, feature_shards):
    """Permuting which caption belongs to which image permutes the score matrix and changes nothing else."""
    from lavis_asym.data.evaluation_set import EvaluationSet

    dataset = EvaluationSet(feature_shards, "val", None, model.processors["text"]["eval"])
    loader = DataLoader(dataset, batch_size=4, collate_fn=dataset.collater)
    i2t, t2i = model.compute_sim_matrix(loader, task_cfg={})
    order = torch.randperm(len(dataset.text), generator=torch.Generator().manual_seed(0)).tolist()
    dataset.text = [dataset.text[k] for k in order]
    permuted, permuted_t2i = model.compute_sim_matrix(loader, task_cfg={})
    assert (permuted == i2t[:, order]).all() and (permuted_t2i == t2i[order]).all()


def batch(samples, policy=None):
    from lavis_asym.processors import AsymCaptionProcessor

    captions = [["A red circle", "two stars ."], ["a blue heart", "one heart"], ["two stars", "a green square"]]
    process = AsymCaptionProcessor(samples=samples, policy=policy)
    texts = [process(own[0], siblings=own, key=str(k), epoch=0) for k, own in enumerate(captions)]
    if samples:
        texts = {key: [text[key] for text in texts] for key in texts[0]}
    pixels = torch.rand(3, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    return {"image": pixels, "image_id": torch.tensor([0, 1, 2]), "text_input": texts}


@pytest.mark.parametrize("samples", [True, False])
def test_training_moves_the_head_alone(registered, samples):
    import lavis_asym

    model = lavis_asym.load_model().train()
    assert not model.vision_encoder.training and not model.text_encoder.network.training and model.fusion.training
    losses = model(batch(samples))
    assert set(losses) == {"loss", "loss_caption"} | ({"loss_positive"} if samples else set())
    losses["loss"].backward()
    for name, parameter in model.named_parameters():
        frozen = name.startswith(("vision_encoder", "text_encoder"))
        assert (parameter.grad is None) == frozen == (not parameter.requires_grad), name
        assert frozen or parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize(
    "policy",
    [
        {"count": {"positives": 2, "negatives": 3}},
        {"types": {"I": 0}},
        {"types": {"II": 0, "III": 0}},
        {"I": {"gaussian_noise": 1e9, "zero_token": 1e9}},
    ],
)
def test_whatever_the_policy_draws_trains(registered, policy):
    import lavis_asym

    losses = lavis_asym.load_model().train()(batch(True, policy))
    assert losses["loss"].isfinite() and losses["loss"] > 0
    assert ("loss_positive" in losses) == ("types" not in policy or "I" in policy["types"])


def built(**options):
    from lavis_asym.encoders import build_text_encoder, build_vision_encoder
    from lavis_asym.models.asym_retrieval import AsymRetrieval

    torch.manual_seed(0)
    encoders = build_vision_encoder("efficientnet_lite0"), build_text_encoder("minilm")
    return AsymRetrieval(*encoders, dropout=0, learn_temperature=True, **options).train()


def test_baselines_train_on_captions_alone(registered):
    """As VSE++ and CLIP define them, on the scores of the captions; the hinge starts from the mean of all negatives."""
    data = batch(True, {"count": {"positives": 2, "negatives": 3}})
    model = built(objective="info_nce")
    captions = data["text_input"]["caption"]
    scores = model.fusion(model.encode_images(data), model.encode_texts(captions)).detach()
    negative = ~torch.eye(3, dtype=torch.bool)
    negative[0, 2] = False  # image 0 has the third caption too
    sides = [(scores, negative), (scores.T, negative.T)]
    logits = [(side / 0.05).masked_fill(~others & ~torch.eye(3, dtype=torch.bool), -1e9) for side, others in sides]
    expected = torch.stack([F.cross_entropy(side, torch.arange(3)) for side in logits]).mean()
    losses = model(data)
    torch.testing.assert_close(losses["loss"], expected)
    assert set(losses) == {"loss"} and model.temperature.log.requires_grad
    plain = {**batch(samples=False), "siblings": data["text_input"]["siblings"]}
    torch.testing.assert_close(model(plain)["loss"], expected)

    model = built(objective="triplet", margin=0.3, margin_warmup_epochs=2)
    assert not model.temperature.log.requires_grad, "it has no gradient, which DistributedDataParallel would wait for"
    rows = [(0.3 - side[row, row] + side[row, others[row]]).clamp_min(0) for side, others in sides for row in range(3)]
    mean, hardest = (torch.stack([pick(row) for row in rows]).mean() for pick in (torch.mean, torch.max))
    assert hardest > mean
    for epoch, step, hardness in ((0, 0, 0), (1, 0, 0.5), (1, 5, 0.75), (2, 0, 1), (7, 3, 1)):
        losses = model({**data, "epoch": epoch, "iters": step, "num_iters_per_epoch": 10})
        torch.testing.assert_close(losses["loss"], (1 - hardness) * mean + hardness * hardest)
    torch.testing.assert_close(model(data)["loss"], hardest)
    with pytest.raises(ValueError, match="info_nce"):
        built(objective="infonce")


def saved(model, path, change):
    state = {k: v.clone() for k, v in model.state_dict().items() if not k.startswith(("vision_enc", "text_enc"))}
    change(state)
    torch.save({"model": state}, path)
    return str(path)


def test_a_checkpoint_without_the_frozen_encoders_loads(model, tmp_path):
    import lavis_asym

    path = saved(model, tmp_path / "head.pth", lambda state: None)
    loaded = lavis_asym.load_model(checkpoint=path)
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), loaded.state_dict().values()))


@pytest.mark.parametrize(
    "change,message",
    [
        (lambda s: s.pop("fusion.image_context.weight"), "fusion.image_context.weight: missing"),
        (lambda s: s.update(extra=torch.zeros(1)), "extra: unexpected"),
        (lambda s: s.update({"token_projection.bias": torch.zeros(7)}), r"shape \(7,\), expected \(256,\)"),
    ],
)
def test_a_checkpoint_of_another_architecture_is_refused(model, tmp_path, change, message):
    path = saved(model, tmp_path / "other.pth", change)
    with pytest.raises(UserError, match="of another architecture") as error:
        model.load_checkpoint(path)
    assert error.match(message) and error.match("other.pth")


def test_what_is_no_checkpoint_is_named(model, tmp_path):
    with pytest.raises(UserError, match="nowhere.pth: no such file"):
        model.load_checkpoint(str(tmp_path / "nowhere.pth"))
    (tmp_path / "text.pth").write_text("hello")
    with pytest.raises(UserError, match="text.pth: no checkpoint"):
        model.load_checkpoint(str(tmp_path / "text.pth"))


class NoiseVision(VisionEncoder):
    width = 16

    def forward(self, pixels):
        return VisionFeatures(pixels, pixels[:, None])


class NoiseText(TextEncoder):
    """Each word of a text is a number that seeds its vector."""

    width = 16

    def forward(self, texts):
        rows = [[torch.randn(16, generator=torch.Generator().manual_seed(int(w))) for w in t.split()] for t in texts]
        tokens = torch.stack([torch.stack(row) for row in rows])
        return TextFeatures(tokens, torch.ones(tokens.shape[:2], dtype=torch.bool))


@pytest.mark.parametrize("setting", [{"siblings": "sofft"}, {"outranking": "zer"}, {"caption_weight": 7}])
def test_a_model_of_wrong_settings_is_never_built(setting, registered):
    from omegaconf import OmegaConf

    from lavis_asym.models.asym_retrieval import AsymRetrieval

    section = OmegaConf.load(AsymRetrieval.default_config_path("tiny")).model
    with pytest.raises(UserError, match=f"model.{next(iter(setting))}: "):
        AsymRetrieval.from_config(OmegaConf.merge(section, setting))


class NoiseSet(Dataset):
    """Images and captions that have nothing to do with each other."""

    def __init__(self, images, seed):
        draw = torch.Generator().manual_seed(seed)
        self.vectors, self.regions = torch.randn(images, 16, generator=draw), torch.randn(images, 4, 16, generator=draw)
        self.text = [" ".join(map(str, torch.randint(10**6, (3,), generator=draw).tolist())) for _ in range(images)]
        self.image = list(range(images))

    def __len__(self):
        return len(self.image)

    def __getitem__(self, k):
        return {"vector": self.vectors[k], "regions": self.regions[k], "image_id": k, "text_input": self.text[k]}


@pytest.mark.parametrize("local_weight", [0, 0.8, 1])
def test_whatever_is_trained_gets_a_gradient(registered, local_weight):
    """Else DistributedDataParallel waits for it in vain."""
    from lavis_asym.models.asym_retrieval import AsymRetrieval

    model = AsymRetrieval(NoiseVision(), NoiseText(), width=16, fusion={"local_weight": local_weight})
    model.train()(next(iter(DataLoader(NoiseSet(4, seed=0), batch_size=4))))["loss"].backward()
    without = {name for name, parameter in model.named_parameters() if parameter.grad is None}
    assert without == {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    assert len(without) == (2 if local_weight == 1 else 0)


def test_trained_on_independent_random_features_it_scores_at_chance(registered):
    """300 steps on noise; held-out noise is ranked at chance, so nothing of a true pair enters its score."""
    from lavis_asym.models.asym_retrieval import AsymRetrieval

    torch.manual_seed(0)
    model = AsymRetrieval(NoiseVision(), NoiseText(), width=16, dropout=0.0)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    loader, losses = DataLoader(NoiseSet(64, seed=0), batch_size=32, shuffle=True), []
    while len(losses) < 300:
        for samples in loader:
            loss = model(samples)["loss"]
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0], "it learnt the noise it was shown by heart"
    i2t, t2i = model.compute_sim_matrix(DataLoader(NoiseSet(200, seed=1), batch_size=64), task_cfg={})
    metrics = retrieval_metrics(i2t, t2i, range(200), [[k] for k in range(200)])
    for name in ("txt_r10", "img_r10"):
        assert metrics[name] < 11.2, "chance is 5%; four standard deviations of 200 queries are 6.2%"

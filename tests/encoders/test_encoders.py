"""The packaged encoders: shapes, masks, frozen, and their weights checked."""

import pytest
import torch
from PIL import Image

from lavis_asym.encoders import base, build_text_encoder, build_vision_encoder
from lavis_asym.errors import UserError

pytest.importorskip("efficientnet_lite_pytorch", reason="needs the extra 'embedded'")


def test_lite0_gives_a_grid_and_its_mean():
    encoder = build_vision_encoder("efficientnet_lite0")
    image = Image.effect_noise((300, 200), 80).convert("RGB")
    pixels = torch.stack([encoder.transform()(image), encoder.transform()(image.rotate(90))])
    features = encoder(pixels)
    assert features.regions.shape == (2, encoder.n_regions, encoder.width)
    torch.testing.assert_close(features.vectors, features.regions.mean(1))
    grid = encoder.network.extract_features(pixels)
    torch.testing.assert_close(features.regions[1, 3 * 7 + 5], grid[1, :, 3, 5], atol=1e-4, rtol=1e-4)
    assert not any(parameter.requires_grad for parameter in encoder.parameters())


def test_minilm_gives_word_pieces_without_special_tokens_in_any_batch():
    encoder = build_text_encoder("minilm")
    texts = ["a red circle", "two unbelievably small stars above a heart", "", "!"]
    features = encoder(texts)
    pieces = [len(encoder.tokenizer.tokenize(text)) for text in texts]
    assert features.mask.sum(1).tolist() == [max(1, count) for count in pieces]
    assert features.mask.shape[1] == max(pieces)
    for row, text in enumerate(texts):
        alone = encoder([text])
        torch.testing.assert_close(features.tokens[row][features.mask[row]], alone.tokens[0], atol=1e-4, rtol=1e-3)


def test_minilm_equals_the_published_forward_pass():
    encoder = build_text_encoder("minilm")
    batch = encoder.tokenizer("a red circle", return_tensors="pt")
    with torch.no_grad():
        hidden = encoder.network(**batch).last_hidden_state[0, 1:-1]
    torch.testing.assert_close(encoder(["a red circle"]).tokens[0], hidden, atol=1e-5, rtol=1e-4)


def test_long_texts_are_cut(caplog):
    encoder = build_text_encoder("minilm")
    encoder(["star " * encoder.max_tokens])
    assert not caplog.messages
    assert encoder(["star " * 500]).mask.sum() == encoder.max_tokens
    encoder(["moon " * 500])
    assert len(caplog.messages) == 1 and "64 word pieces" in caplog.text and "star star" in caplog.text


def test_other_weights_than_the_published_are_refused(monkeypatch, tmp_path):
    package = tmp_path / "weights_package"
    package.mkdir()
    (package / "__init__.py").write_text("raise SystemExit('a weights package is never run')")
    (package / "weights.pth").write_bytes(b"tampered")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError, match="weights.pth: sha256 is .* expected 00ff; reinstall"):
        base.packaged_file("weights_package", "weights.pth", "00ff")
    with pytest.raises(UserError, match=r"lavis-asym\[embedded\]"):
        base.packaged_file("no_such_package", "weights.pth", "00ff")

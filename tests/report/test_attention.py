"""Where words look: from the model's attention to the pictures."""

import re

import numpy as np
from PIL import Image

import lavis_asym
from lavis_asym.report.attention import Attention, attend, attention_pictures, words_of


def test_words_are_joined_from_their_pieces():
    model = lavis_asym.load_model()
    text = "A zebrafish's snowmobile, parked."
    pieces = model.text_encoder.tokenizer.tokenize(text)
    words, places = words_of(model.text_encoder.tokenizer, text, len(pieces))
    assert words == ["A", "zebrafish", "s", "snowmobile", "parked"]
    assert ["".join(pieces[p] for p in own).replace("##", "") for own in places] == [w.lower() for w in words]


def test_attention_comes_from_the_model():
    model = lavis_asym.load_model()
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 255, (90, 120, 3), dtype=np.uint8))
    found = attend(model, 3, photo, "a red  zebrafish in the water", words=2)
    assert found.image == 3 and len(found.words) == 2 and set(found.words) < {"red", "zebrafish", "water"}
    assert found.weights.shape == (2, 7, 7)
    np.testing.assert_allclose(found.weights.sum((1, 2)), 1, rtol=1e-5)
    assert attend(model, 0, photo, "").weights.shape == (0, 7, 7)


def test_the_highest_weight_is_clear_and_outlined():
    grid = np.full((1, 7, 7), 0.01)
    grid[0, 2, 5] = 0.52
    drawn = attention_pictures(Attention(0, "a bus", ("bus",), grid), Image.new("RGB", (300, 150)), "one")
    opacities = [float(x) for x in re.findall(r'fill-opacity="([\d.]+)"', drawn)]
    assert len(opacities) == 49 and opacities.index(0) == 2 * 7 + 5 and sorted(opacities)[1] == max(opacities)
    x, y = map(float, re.search(r'<rect x="([\d.]+)" y="([\d.]+)" [^>]*class="peak"', drawn).groups())
    assert 5 < x / (150 / 7) < 5.2 and 2 < y / (75 / 7) < 2.2

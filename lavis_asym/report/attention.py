"""Where the words of a text look in its image: from the model, and as pictures."""

import html
from typing import Any, List, NamedTuple, Tuple

import numpy as np
from PIL import Image

from lavis_asym.asymmetry.lexicon import lexicon
from lavis_asym.report.document import photo_uri
from lavis_asym.report.svg import rect

SIDE = 150
DARKEST = 0.75
STYLE = """
.words { display: flex; flex-wrap: wrap; gap: 10px; } .words figure { width: 150px; }
.dark { fill: #000; shape-rendering: crispEdges; }
.peak { fill: none; stroke: #ffd60a; stroke-width: 1.5; }
.words figcaption { color: var(--ink); font-size: 13px; } .words small { color: var(--soft); }
"""


class Attention(NamedTuple):
    """The attention of some words of a text over the cells of an image. Legend: W words, h x w cells."""

    image: int
    text: str
    words: Tuple[str, ...]  # W, in the order of the text
    weights: np.ndarray  # W x h x w float, each word's sum is 1


def attend(model: Any, number: int, photo: Image.Image, text: str, words: int = 6) -> Attention:
    """The content words of a text that look most sharply, by the attention of an `AsymRetrieval`.

    Its regions are a square grid. A word's attention is the mean over its word pieces.

    Args:
        number: of the image.
    """
    import torch

    text = " ".join(text.split())
    with torch.no_grad():
        pixels = model.processors["vis"]["eval"](photo)[None].to(model.device)
        cleaned = model.processors["text"]["eval"](text)
        features = model.extract_features({"image": pixels, "text_input": [cleaned]})
        own = model.fusion.explain(features[:2], features[2:]).token_attention.cpu().numpy()  # L x R
    names, pieces = words_of(model.text_encoder.tokenizer, cleaned, len(own))
    side = round(own.shape[1] ** 0.5)
    means = [own[piece].mean(0).reshape(side, side) for piece in pieces]
    content = [k for k, name in enumerate(names) if name.lower() not in lexicon().function_words]
    sharpest = sorted(sorted(content, key=lambda k: -means[k].max())[:words])
    chosen = [means[k] for k in sharpest]
    return Attention(number, text, tuple(names[k] for k in sharpest), np.array(chosen).reshape(-1, side, side))


def words_of(tokenizer: Any, text: str, length: int) -> Tuple[List[str], List[List[int]]]:
    """The words of a text, without punctuation, and the places of each one's pieces among the first `length` tokens.

    Args:
        tokenizer: a fast tokenizer; its special tokens stand at no place.
    """
    encoded = tokenizer(text, return_offsets_mapping=True, add_special_tokens=False)
    spans: dict = {}
    for place, word in enumerate(encoded.word_ids()[:length]):
        spans.setdefault(word, []).append(place)
    offsets = encoded["offset_mapping"]
    found = [(text[offsets[own[0]][0] : offsets[own[-1]][1]], own) for own in spans.values()]
    found = [(word, own) for word, own in found if any(c.isalnum() for c in word)]
    return [word for word, _ in found], [own for _, own in found]


def attention_pictures(attention: Attention, photo: Image.Image, key: str) -> str:
    """The photo once a word, dark where the word does not look.

    Args:
        key: an id that nothing else on the page has.
    """
    height = round(SIDE * photo.height / photo.width)
    figures = []
    for place, (word, grid) in enumerate(zip(attention.words, attention.weights)):
        if place:
            shown = f'<use href="#{key}"/>'
        else:
            shown = f'<image id="{key}" width="{SIDE}" height="{height}" preserveAspectRatio="none" '
            shown += f'href="{photo_uri(photo, 2 * SIDE)}"/>'
        figures.append(
            f'<figure><svg viewBox="0 0 {SIDE} {height}" role="img" aria-label="where {html.escape(word)} looks">'
            f"{shown}{_shade(grid, height)}</svg><figcaption>{html.escape(word)} "
            f"<small>{grid.max() * grid.size:.1f} x even</small></figcaption></figure>"
        )
    return f'<div class="words">{"".join(figures)}</div>'


def _shade(grid: np.ndarray, height: float) -> str:
    """A dark rectangle over each cell, darkest over the lowest weight, and an outline around the highest."""
    rows, columns = grid.shape
    spread = float(grid.max() - grid.min()) or 1.0
    across, down = SIDE / columns, height / rows
    parts = []
    for (y, x), weight in np.ndenumerate(grid):
        opacity = DARKEST * (float(grid.max()) - float(weight)) / spread
        parts.append(f'<g fill-opacity="{opacity:.2f}">{rect(x * across, y * down, across, down, "dark")}</g>')
    y, x = divmod(int(grid.argmax()), columns)
    return "".join(parts) + rect(x * across + 1, y * down + 1, across - 2, down - 2, "peak")

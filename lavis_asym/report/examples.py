"""The worst and the best queries with what was found for them, as HTML."""

import html
from typing import Callable, Optional

from PIL import Image

from lavis_asym.report.collect import Example, Found, Pictures
from lavis_asym.report.document import photo_uri

THUMBNAIL = 200
STYLE = """
.example { display: flex; gap: 1.1em; padding: .9em 0; border-top: 1px solid var(--line); align-items: flex-start; }
.example { flex-wrap: wrap; }
.example > figure { flex: 0 0 150px; } .example > div { flex: 1 1 240px; }
.photo img { width: 100%; border-radius: 4px; display: block; }
.example ul, .example ol { margin: 0 0 .5em; padding-left: 0; list-style: none; } .example p { margin: 0 0 .4em; }
.example h4 { margin: 0 0 .15em; font-size: 12px; font-weight: 400; color: var(--soft); }
.query { font-weight: 600; } .rank { color: var(--soft); font-size: 13px; white-space: nowrap; }
.photos { display: flex; flex-wrap: wrap; gap: 12px; } .photos figure { width: 150px; }
.sure { font-variant-numeric: tabular-nums; font-size: 13px; white-space: nowrap; }
.right { color: var(--right); } .wrong { color: var(--wrong); } figcaption.own { color: var(--ink); }
"""
Photo = Callable[[int], Optional[Image.Image]]


def image_example(pictures: Pictures, example: Example, photo: Photo) -> str:
    """An image, its texts, and the first texts found for it."""
    own = "".join(f"<li>{html.escape(pictures.texts[t])}</li>" for t in pictures.truth.texts.row(example.query))
    found = "".join(f"<li>{_mark(f)} {html.escape(pictures.texts[f.number])}</li>" for f in example.found)
    return (
        f'<div class="example">{_figure(pictures, example.query, photo)}<div>'
        f"<p>{_rank(example, 'text', len(pictures.texts))}</p>"
        f"<h4>found</h4><ol>{found}</ol></div><div><h4>its texts</h4><ul>{own}</ul></div></div>\n"
    )


def text_example(pictures: Pictures, example: Example, photo: Photo) -> str:
    """A text, its image, and the first images found for it."""
    own = _figure(pictures, example.best_right.number, photo, "its image")
    found = "".join(_figure(pictures, f.number, photo, _mark(f)) for f in example.found)
    return (
        f'<div class="example">{own}<div><p class="query">{html.escape(pictures.texts[example.query])}</p>'
        f"<p>{_rank(example, 'image', len(pictures.images))}</p>"
        f'<h4>found</h4><div class="photos">{found}</div></div></div>\n'
    )


def _rank(example: Example, kind: str, candidates: int) -> str:
    return (
        f'<span class="rank">first right {kind} at rank {example.rank + 1:,} of {candidates:,}, '
        f"score {example.best_right.score:.3f}</span>"
    )


def _mark(found: Found) -> str:
    kind, sign = ("right", "\N{CHECK MARK}") if found.right else ("wrong", "\N{MULTIPLICATION X}")
    return f'<span class="sure {kind}" title="{kind}">{sign} {found.score:.3f}</span>'


def _figure(pictures: Pictures, number: int, photo: Photo, note: str = "") -> str:
    image = photo(number)
    shown = f'<img src="{photo_uri(image, THUMBNAIL)}" alt="">' if image is not None else ""
    name = html.escape(pictures.images[number])
    return f'<figure class="photo">{shown}<figcaption>{note} {name}</figcaption></figure>'

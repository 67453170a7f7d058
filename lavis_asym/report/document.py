"""What our self-contained HTML pages share: head, colours for light and dark, photos inside the page."""

import base64
import html
import io

from PIL import Image

from lavis_asym.images import upright_rgb

STYLE = """
:root { color-scheme: light dark; --paper: #fff; --ink: #1d1d1f; --soft: #66666c; --line: #dcdce0; --tint: #f3f3f5;
  --one: #0072b2; --two: #c84e00; --right: #00704f; --wrong: #b3261e; --new: #fff1a8; }
@media (prefers-color-scheme: dark) { :root { --paper: #17181b; --ink: #e8e8ea; --soft: #a0a0a8; --line: #3a3b41;
  --tint: #222327; --one: #56b4e9; --two: #f0a030; --right: #4cc9a0; --wrong: #ff8a80; --new: #5a4b00; } }
body { font: 15px/1.45 system-ui, sans-serif; max-width: 1000px; margin: 2em auto; padding: 0 1em;
  color: var(--ink); background: var(--paper); }
figure { margin: 0; } figcaption { color: var(--soft); font-size: 12px; overflow-wrap: anywhere; }
table { border-collapse: collapse; }
"""


def head(title: str, style: str) -> str:
    """The page up to its body; what follows may begin at once."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{html.escape(title)}</title>\n<style>{STYLE}{style}</style></head>\n<body>\n"
    )


FOOT = "</body></html>\n"


def photo_uri(image: Image.Image, longest_side: int) -> str:
    """A small JPEG as a data URI; the image is left as it is."""
    small = upright_rgb(image)
    small.thumbnail((longest_side, longest_side))
    content = io.BytesIO()
    small.save(content, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(content.getvalue()).decode()

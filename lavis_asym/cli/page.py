"""One self-contained HTML page of captions, their photos and their samples."""

import base64
import html
import io
from pathlib import Path
from typing import Optional, Sequence

from PIL import Image

from lavis_asym.asymmetry import Sample
from lavis_asym.asymmetry.text import clean, compare
from lavis_asym.errors import UserError

LONGEST_SIDE = 320
HEAD = """<!doctype html>
<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Asymmetry samples</title>
<style>
body { font: 15px/1.45 system-ui, sans-serif; max-width: 1000px; margin: 2em auto; padding: 0 1em; color: #222; }
section { display: flex; gap: 1.2em; padding: 1.2em 0; border-top: 1px solid #ddd; }
figure { margin: 0; flex: 0 0 220px; } figure img { width: 220px; border-radius: 4px; }
figcaption { color: #777; font-size: 12px; overflow-wrap: anywhere; }
table { border-collapse: collapse; } td { padding: .25em .8em .25em 0; vertical-align: top; }
td:nth-child(-n+2) { white-space: nowrap; color: #777; font-size: 13px; }
.caption { font-weight: 600; margin: 0 0 .3em; } details { color: #777; font-size: 13px; margin-bottom: .6em; }
b { display: inline-block; min-width: 2.4em; text-align: center; border-radius: 3px; color: #fff; background: #888; }
.I b { background: #b3261e; } .II b { background: #2f6db5; } .III b { background: #2e7d32; }
del { color: #b3261e; } ins { background: #fff1a8; text-decoration: none; }
</style>
<h1>Asymmetry samples</h1>
<p><span class="I"><b>I</b></span> a detail does not match (negative) &nbsp; <span class="II"><b>II</b></span> says less
(positive) &nbsp; <span class="III"><b>III</b></span> says more (positive) &nbsp; <del>dropped</del> <ins>new</ins></p>
"""


def write_page(path: Path, shown: Sequence, images: Optional[Path]) -> None:
    """Write the page.

    Args:
        shown: items with `image`, `caption`, `siblings` and `rows` of (role, sample).
        images: the folder of the photos; None leaves them out.
    Raises:
        UserError: the page cannot be written, or a photo cannot be read.
    """
    try:
        path.write_text(HEAD + "".join(_section(item, images) for item in shown), encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path}: cannot be written, or a photo cannot be read ({error})") from None


def _section(item, images: Optional[Path]) -> str:
    others = "".join(f"<li>{html.escape(clean(text))}" for text in item.siblings if text != item.caption)
    siblings = f"<details><summary>the image's other captions</summary><ul>{others}</ul></details>" if others else ""
    photo = f'<img src="{_photo(images / item.image)}" alt="">' if images else ""
    rows = "".join(_row(role, sample) for role, sample in item.rows)
    return (
        f"<section><figure>{photo}<figcaption>{html.escape(item.image)}</figcaption></figure><div>"
        f'<p class="caption">{html.escape(clean(item.caption))}</p>{siblings}<table>{rows}</table></div></section>\n'
    )


def _row(role: str, sample: Sample) -> str:
    pieces = []
    for pair in compare(sample.base, sample.text):
        if pair[0] == pair[1]:
            pieces.append(html.escape(pair[0]))
        else:
            marks = zip(("del", "ins"), pair)
            pieces += [f" <{tag}>{html.escape(words.strip())}</{tag}>" for tag, words in marks if words]
    kind = f'<span class="{sample.type}"><b>{sample.type}</b></span>'
    return f"<tr><td>{kind} {role}<td>{html.escape(sample.operator)}<td>{''.join(pieces).strip()}\n"


def _photo(path: Path) -> str:
    """A small JPEG as a data URI."""
    with Image.open(path) as image:
        small = image.convert("RGB")
    small.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
    content = io.BytesIO()
    small.save(content, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(content.getvalue()).decode()

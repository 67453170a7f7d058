"""One self-contained HTML page of captions, their photos and their samples."""

import html
from pathlib import Path
from typing import Optional, Sequence

from PIL import Image

from lavis_asym.asymmetry import Sample
from lavis_asym.asymmetry.text import clean, marked
from lavis_asym.errors import UserError
from lavis_asym.report.document import FOOT, head, photo_uri

LONGEST_SIDE = 320
MARKS = ("<del>{}</del>", "<ins>{}</ins>")
STYLE = """
section { display: flex; gap: 1.2em; padding: 1.2em 0; border-top: 1px solid var(--line); }
figure { flex: 0 0 220px; } figure img { width: 220px; border-radius: 4px; }
td { padding: .25em .8em .25em 0; vertical-align: top; }
td:nth-child(-n+2) { white-space: nowrap; color: var(--soft); font-size: 13px; }
.caption { font-weight: 600; margin: 0 0 .3em; } details { color: var(--soft); font-size: 13px; margin-bottom: .6em; }
b { display: inline-block; min-width: 2.4em; text-align: center; border-radius: 3px; color: #fff; background: #888; }
.I b { background: #b3261e; } .II b { background: #2f6db5; } .III b { background: #2e7d32; }
del { color: var(--wrong); } ins { background: var(--new); text-decoration: none; }
"""
LEGEND = """<h1>Asymmetry samples</h1>
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
        sections = "".join(_section(item, images) for item in shown)
        path.write_text(head("Asymmetry samples", STYLE) + LEGEND + sections + FOOT, encoding="utf-8")
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
    text = marked(sample.base, sample.text, MARKS, html.escape)
    kind = f'<span class="{sample.type}"><b>{sample.type}</b></span>'
    return f"<tr><td>{kind} {role}<td>{html.escape(sample.operator)}<td>{text}\n"


def _photo(path: Path) -> str:
    with Image.open(path) as image:
        return photo_uri(image, LONGEST_SIDE)

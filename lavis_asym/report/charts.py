"""The charts of an evaluation: recall curves, score histograms, bars by caption length, interval bars."""

from typing import Any, List, Mapping, Optional, Sequence, Tuple

import numpy as np

from lavis_asym.report.collect import Histogram
from lavis_asym.report.svg import Scale, area, axes, line, picture, rect, round_steps, text

WIDTH, HEIGHT = 480, 300
LEFT, RIGHT, TOP, BOTTOM = 44, 376, 34, 252
LINE_HEIGHT, NAME = 15, 105  # height of a line of text, width of a name
PITCH = 26  # of rows
STYLE = """
svg { display: block; width: 100%; height: auto; overflow: visible; }
.tick { font-size: 12px; fill: var(--soft); } .name { font-size: 13px; font-weight: 600; }
text.one { fill: var(--one); } text.two { fill: var(--two); } text.value { font-size: 13px; fill: var(--ink); }
.line { fill: none; stroke-width: 2.2; stroke-linejoin: round; } .line.grid { stroke: var(--line); stroke-width: 1; }
.line.one { stroke: var(--one); } .line.two { stroke: var(--two); stroke-dasharray: 7 4; }
.area { fill-opacity: .22; } .area.one { fill: var(--one); } .area.two { fill: var(--two); }
.whole { fill: var(--line); } .range { fill: var(--one); fill-opacity: .45; } .dot { fill: var(--one); }
.ring { fill: var(--paper); stroke: var(--two); stroke-width: 2; } .chance { fill: var(--soft); }
.r1 { fill: var(--one); } .r5 { fill: var(--one); fill-opacity: .55; } .r10 { fill: var(--one); fill-opacity: .28; }
"""


def recall_curves(i2t: np.ndarray, t2i: np.ndarray) -> str:
    """Recall at K = 1, 2, ... over a logarithmic K.

    Args:
        i2t, t2i: recall in percent at K = 1 ... len.
    """
    x = Scale(1, max(len(i2t), len(t2i), 2), LEFT, RIGHT, log=True)
    y = Scale(0, 100, BOTTOM, TOP)
    ends = _apart([y(i2t[-1]) + 4, y(t2i[-1]) + 4])
    parts = [axes(x, y, [k for k in (1, 2, 5, 10, 20, 50, 100) if k <= x.high], range(0, 101, 20), ("K", "R@K, %"))]
    for curve, style, name, end in ((i2t, "one", "image to text", ends[0]), (t2i, "two", "text to image", ends[1])):
        points = [(x(k), y(value)) for k, value in enumerate(curve, 1)]
        parts += [line(points, style), text(points[-1][0] + 7, end, name, style=f"name {style}")]
    return picture(WIDTH, HEIGHT, "".join(parts), "Recall at K, both ways")


def score_histograms(histogram: Histogram) -> str:
    """Scores of matching pairs and of all others, each as a share of its own pairs."""
    edges = histogram.edges
    shares = [100 * counts / max(1, counts.sum()) for counts in (histogram.matching, histogram.other)]
    top = max(float(share.max()) for share in shares) or 1.0
    x, y = Scale(edges[0], edges[-1], LEFT, WIDTH - 8), Scale(0, 1.15 * top, BOTTOM, TOP)
    parts = [
        axes(x, y, round_steps(edges[0], edges[-1]), round_steps(0, y.high, 5), ("score", "share of the pairs, %"))
    ]
    for share, style in zip(shares, ("one", "two")):
        points = [(x(edge), y(value)) for k, value in enumerate(share) for edge in edges[k : k + 2]]
        parts += [area(points, BOTTOM, style), line(points, style)]
    names = ((shares[0], "matching pairs", "name one"), (shares[1], "other pairs", "name two"))
    left, right = sorted(names, key=lambda named: named[0].argmax())
    end = max(x(edges[left[0].argmax() + 1]), LEFT + NAME)
    start = min(max(x(edges[right[0].argmax()]), end + 12), WIDTH - NAME)
    parts.append(text(end, y(left[0].max()) - 8, left[1], "end", left[2]))
    parts.append(text(start, y(right[0].max()) - 8, right[1], "start", right[2]))
    return picture(WIDTH, HEIGHT, "".join(parts), "Scores of matching and of other pairs")


def length_bars(rows: Sequence[Mapping[str, Any]]) -> str:
    """Recall of texts by their number of words: R@1, R@5 and R@10 in one bar, each in the next.

    Args:
        rows: `words`, `queries`, `img_r1`, `img_r5`, `img_r10`.
    """
    x, parts = _percent_rows(len(rows), "text to image, R@1 / R@5 / R@10, %")
    for k, row in enumerate(rows):
        y = TOP + k * PITCH
        parts.append(text(0, y + 13, f"{row['words']} words", style="value"))
        parts.append(text(x.first - 10, y + 13, f"{row['queries']:,} texts", "end"))
        parts += [rect(x.first, y, x(row[f"img_{r}"]) - x.first, 18, r) for r in ("r10", "r5", "r1")]
        values = " / ".join(f"{row[f'img_{r}']:.1f}" for r in ("r1", "r5", "r10"))
        parts.append(text(x(row["img_r10"]) + 8, y + 13, values, style="value"))
    return picture(840, TOP + len(rows) * PITCH + 24, "".join(parts), "Recall by caption length")


def accuracy_dots(rows: Mapping[str, Mapping[str, Any]]) -> str:
    """How often the true text is chosen among false ones, beside what a classifier of words reaches and chance.

    Args:
        rows: by name `accuracy`, `text_only` or None, `chance`; a row without accuracy is left out.
    """
    rows = {name: row for name, row in rows.items() if row.get("accuracy") is not None}
    x, parts = _percent_rows(len(rows), "true text chosen, %")
    for at, mark, name in ((0, "dot", "accuracy"), (110, "ring", "text only"), (210, "chance", "chance")):
        parts += [_mark(x.first + at + 6, TOP - 18, mark), text(x.first + at + 17, TOP - 14, name)]
    for k, (name, row) in enumerate(rows.items()):
        y = TOP + k * PITCH + 9
        parts += [line([(x.first, y), (x.last, y)], "grid"), text(0, y + 4, name, style="value")]
        values = (("chance", row.get("chance")), ("ring", row.get("text_only")), ("dot", row["accuracy"]))
        parts += [_mark(x(value), y, mark) for mark, value in values if value is not None]
        parts.append(text(x.last + 10, y + 4, f"{row['accuracy']:.1f}", style="value"))
    return picture(840, TOP + len(rows) * PITCH + 24, "".join(parts), "Accuracy by kind of negative")


def interval_bar(value: float, interval: Optional[Sequence[float]], whole: float) -> str:
    """A small bar of 0..whole with the interval and a dot at the value."""
    x = Scale(0, whole, 0, 84)
    parts = [rect(0, 4, 84, 2, "whole")]
    if interval is not None:
        parts.append(rect(x(interval[0]), 1.5, x(interval[1]) - x(interval[0]), 7, "range"))
    parts.append(f'<circle cx="{x(value):g}" cy="5" r="3" class="dot"/>')
    return picture(84, 10, "".join(parts))


def _percent_rows(rows: int, title: str) -> Tuple[Scale, List[str]]:
    """The scale and the grid of a chart of rows over 0..100."""
    x, floor = Scale(0, 100, 190, 700), TOP + PITCH * rows
    parts = [line([(x(v), TOP - 6), (x(v), floor)], "grid") for v in range(0, 101, 20)]
    parts += [text(x(v), floor + 16, f"{v}", "middle") for v in range(0, 101, 20)]
    return x, [*parts, text(x.last, TOP - 14, title, "end")]


def _mark(x: float, y: float, style: str) -> str:
    if style == "chance":
        return rect(x - 1.5, y - 7, 3, 14, style)
    return f'<circle cx="{x:g}" cy="{y:g}" r="{4 if style == "dot" else 6}" class="{style}"/>'


def _apart(heights: List[float]) -> List[float]:
    """Two heights pushed apart until a line of text fits between them."""
    first, second = heights
    push = max(0.0, LINE_HEIGHT - abs(first - second)) / 2
    return [first - push, second + push] if first <= second else [first + push, second - push]

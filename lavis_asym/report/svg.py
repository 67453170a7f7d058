"""The few SVG pieces that the charts are made of. Colours are classes, which the page's style fills."""

import html
import math
from typing import NamedTuple, Sequence, Tuple


class Scale(NamedTuple):
    """Values low..high onto pixels first..last, evenly or by logarithm."""

    low: float
    high: float
    first: float
    last: float
    log: bool = False

    def __call__(self, value: float) -> float:
        low, high, value = (math.log(x) if self.log else x for x in (self.low, self.high, value))
        return round(self.first + (value - low) / (high - low) * (self.last - self.first), 2)


Point = Tuple[float, float]


def picture(width: float, height: float, content: str, describes: str = "") -> str:
    """An SVG that shrinks with the page; one that describes nothing is decoration."""
    role = f'role="img" aria-label="{html.escape(describes)}"' if describes else 'aria-hidden="true"'
    return f'<svg viewBox="0 0 {width:g} {height:g}" style="max-width:{width:g}px" {role}>{content}</svg>'


def text(x: float, y: float, content: str, anchor: str = "start", style: str = "tick") -> str:
    return f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}" class="{style}">{html.escape(content)}</text>'


def line(points: Sequence[Point], style: str) -> str:
    return f'<polyline points="{_pairs(points)}" class="line {style}"/>'


def area(points: Sequence[Point], floor: float, style: str) -> str:
    """The surface between the points and a horizontal line."""
    closed = [(points[0][0], floor), *points, (points[-1][0], floor)]
    return f'<polygon points="{_pairs(closed)}" class="area {style}"/>'


def rect(x: float, y: float, width: float, height: float, style: str) -> str:
    return f'<rect x="{x:g}" y="{y:g}" width="{max(width, 0):g}" height="{height:g}" class="{style}"/>'


def axes(x: Scale, y: Scale, x_ticks: Sequence[float], y_ticks: Sequence[float], titles: Tuple[str, str]) -> str:
    """Horizontal grid lines, ticks as `%g`, and the titles of both axes: below, and above the upper left corner."""
    parts = [line([(x.first, y(v)), (x.last, y(v))], "grid") for v in y_ticks]
    parts += [text(x.first - 6, y(v) + 4, f"{v:g}", "end") for v in y_ticks]
    parts += [text(x(v), y.first + 17, f"{v:g}", "middle") for v in x_ticks]
    parts.append(text((x.first + x.last) / 2, y.first + 36, titles[0], "middle"))
    parts.append(text(x.first - 28, y.last - 12, titles[1]))
    return "".join(parts)


def round_steps(low: float, high: float, about: int = 6) -> Sequence[float]:
    """Round numbers from low to high, about so many."""
    step = 10.0 ** math.floor(math.log10((high - low) / about))
    step *= next(m for m in (1, 2, 5, 10) if (high - low) / (m * step) <= about)
    return [round(k * step, 10) for k in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _pairs(points: Sequence[Point]) -> str:
    return " ".join(f"{x:g},{y:g}" for x, y in points)

"""One self-contained HTML page of an evaluation."""

import html
from typing import Any, Iterator, Mapping, Optional

from lavis_asym.evaluation.protocols import protocol_line
from lavis_asym.report import attention, charts, examples
from lavis_asym.report.collect import Pictures
from lavis_asym.report.document import FOOT, head
from lavis_asym.report.tables import COLUMNS, Figure, Table, main_figures, section_tables, total_figures

STYLE = """
h1 { font-size: 26px; margin: 0 0 .2em; } h2 { font-size: 19px; margin: 2em 0 .5em; }
h3 { font-size: 15px; margin: 1.4em 0 .4em; } .note { color: var(--soft); font-size: 13px; }
.protocol { color: var(--soft); margin: 0 0 1.4em; overflow-wrap: anywhere; } .wide { overflow-x: auto; }
th, td { padding: 5px 16px 5px 0; text-align: right; font-variant-numeric: tabular-nums; }
th { font-size: 13px; font-weight: 600; color: var(--soft); vertical-align: bottom; }
th { border-bottom: 1px solid var(--line); }
td { border-bottom: 1px solid var(--line); white-space: nowrap; } th:first-child, td:first-child { text-align: left; }
td small { color: var(--soft); display: block; font-size: 12px; } td svg { width: 84px; margin: 4px 0 2px auto; }
.main td { font-size: 17px; vertical-align: top; } .main td:first-child { font-size: 15px; }
.totals { font-size: 17px; } .totals small { color: var(--soft); }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 400px), 1fr)); gap: 1.5em; }
"""


def page(split: str, result: Mapping[str, Any], pictures: Optional[Pictures], photo: examples.Photo) -> str:
    """The page; what the result or the pictures lack is left out.

    Args:
        split: the title.
        result: the content of `result/<split>.json`.
        photo: number of an image -> the image, or None if it is not at hand.
    """
    styles = STYLE + charts.STYLE + examples.STYLE + attention.STYLE
    protocol = result.get("protocol")
    parts = [head(f"Evaluation on {split}", styles), f"<h1>Evaluation on {html.escape(split)}</h1>\n"]
    if protocol:
        parts.append(f'<p class="protocol">{html.escape(protocol_line(protocol))}</p>\n')
    parts.append(_main_table(result))
    if pictures is not None:
        parts.append(_charts(pictures))
    parts += _sections(result)
    if pictures is not None:
        parts += _examples(pictures, photo)
        parts += _attention(pictures, photo)
    return "".join(parts) + FOOT


def _main_table(result: Mapping[str, Any]) -> str:
    rows = main_figures(result)
    kept = [k for k in range(len(COLUMNS)) if any(row[k] is not None for _, row in rows)]
    header = "".join(f"<th>{COLUMNS[k][0]}</th>" for k in kept)
    body = "".join(f"<tr><td>{title}</td>{''.join(_cell(row[k]) for k in kept)}</tr>\n" for title, row in rows)
    totals = [f"{title} <b>{f.value:.1f}</b> <small>{_interval(f)}</small>" for title, f in total_figures(result)]
    note = "Brackets and bars: 95% intervals. " if result.get("intervals") else ""
    return (
        f'<div class="wide"><table class="main"><tr><th></th>{header}</tr>\n{body}</table></div>\n'
        f'<p class="totals">{" &emsp; ".join(totals)}</p>\n'
        f'<p class="note">{note}Recalls and their mean in percent; MedR and MeanR are ranks, 1 is best.</p>\n'
    )


def _cell(figure: Optional[Figure]) -> str:
    if figure is None:
        return "<td></td>"
    is_rank = figure.name.endswith(("medr", "meanr"))
    bar = "" if is_rank else charts.interval_bar(figure.value, figure.interval, 100)
    return f"<td>{figure.value:.1f}<small>{_interval(figure)}</small>{bar}</td>"


def _interval(figure: Figure) -> str:
    return "" if figure.interval is None else f"[{figure.interval[0]:.1f}, {figure.interval[1]:.1f}]"


def _charts(pictures: Pictures) -> str:
    left_out = pictures.histogram.left_out
    note = f" {left_out:,} pairs without an exact score are left out." if left_out else ""
    return (
        '<div class="charts"><figure><h2>Recall at K</h2>'
        f"{charts.recall_curves(pictures.i2t.curve, pictures.t2i.curve)}"
        "<figcaption>Queries with a right candidate among the first K, in the whole gallery of "
        f"{len(pictures.images):,} images and {len(pictures.texts):,} texts.</figcaption></figure>"
        "<figure><h2>Scores</h2>"
        f"{charts.score_histograms(pictures.histogram)}<figcaption>{int(pictures.histogram.matching.sum()):,} matching "
        f"and {int(pictures.histogram.other.sum()):,} other pairs.{note}</figcaption></figure></div>\n"
    )


def _sections(result: Mapping[str, Any]) -> Iterator[str]:
    for name, title, tables in section_tables(result):
        yield f"<h2>{html.escape(title)}</h2>\n"
        if name == "by_length":
            yield charts.length_bars(result[name]) + "\n"
            continue
        yield from map(_table, tables)
        if name == "probe":
            yield "<h3>Type I by kind of negative</h3>\n"
            yield charts.accuracy_dots({**result[name]["operators"], **result[name]["people"]}) + "\n"


def _table(table: Table) -> str:
    title = f"<h3>{html.escape(table.title)}</h3>\n" if table.title else ""
    title += f'<p class="note">{html.escape(table.note)}</p>\n' if table.note else ""
    header = "".join(f"<th>{html.escape(cell)}</th>" for cell in table.header)
    rows = "".join(f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>\n" for row in table.rows)
    return f'{title}<div class="wide"><table><tr>{header}</tr>\n{rows}</table></div>\n'


def _examples(pictures: Pictures, photo: examples.Photo) -> Iterator[str]:
    best = "the best queries, by their distance to the best wrong candidate"
    for heading, chosen, draw in (
        ("Image to text: the worst queries", pictures.i2t.worst, examples.image_example),
        (f"Image to text: {best}", pictures.i2t.best, examples.image_example),
        ("Text to image: the worst queries", pictures.t2i.worst, examples.text_example),
        (f"Text to image: {best}", pictures.t2i.best, examples.text_example),
    ):
        if chosen:
            yield f"<h2>{heading}</h2>\n"
            yield from (draw(pictures, example, photo) for example in chosen)


def _attention(pictures: Pictures, photo: examples.Photo) -> Iterator[str]:
    shown = [(one, photo(one.image)) for one in pictures.attention]
    shown = [(one, image) for one, image in shown if image is not None]
    if shown:
        yield "<h2>Where words look</h2>\n"
        yield '<p class="note">Attention of a word over the cells of a matching image: clear where it is highest, dark '
        yield "where it is lowest, and outlined at its peak. The number says how many times an even share the highest "
        yield "cell gets; at 1.0 the word looks everywhere alike.</p>\n"
    for place, (one, image) in enumerate(shown):
        yield f'<p class="query">{html.escape(one.text)}</p>\n'
        yield attention.attention_pictures(one, image, f"seen-{place}") + "\n"

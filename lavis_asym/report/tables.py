"""The result of an evaluation as tables of text: the main figures, and whatever sections there are."""

import re
from typing import Any, Dict, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from lavis_asym.evaluation.bootstrap import BRACKETS
from lavis_asym.probe import probe_tables

SIDES = (("image to text", "txt"), ("text to image", "img"))
COLUMNS = (("R@1", "r1"), ("R@5", "r5"), ("R@10", "r10"), ("mean", "r_mean"), ("MedR", "medr"), ("MeanR", "meanr"))
TOTALS = (("mean recall", "r_mean"), ("rSum", "rsum"))
TITLES = {
    "duplicates": "Captions that say the same count as right",
    "graded": "Graded relevance",
    "by_length": "By caption length",
    "probe": "Asymmetry probe",
    "geometry": "Geometry of the embeddings",
    "eccv": "ECCV Caption and CxC",
    "two_stage": "Two stages against exact",
}
NOTES = {
    "graded": "NDCG from 0 to 1, higher is better; chance is its value where all scores are equal. Equal scores share "
    f"the mean of their places, whatever the ties of the recalls. {BRACKETS}",
    "by_length": f"Recalls in percent, higher is better. {BRACKETS}",
    "geometry": "Alignment from 0 to 4, lower is better: matching pairs lie nearer. Uniformity from -8 to 0, lower is "
    "better: images, or texts, are more evenly spread.",
    "eccv": "Equal scores count against the model, whatever the ties of the recalls.",
}
SHORT = {"txt": "i2t", "img": "t2i", "r_mean": "mean recall", "rsum": "rSum", "medr": "MedR", "meanr": "MeanR"}
INTERVAL = "_interval"
IN_PERCENT = re.compile(r"(^|_)(r\d+|r_mean|rsum|medr|meanr|i2t|t2i)$")


class Table(NamedTuple):
    """Cells are plain text; the first of a row names it. The note stands above."""

    title: str
    header: Tuple[str, ...]
    rows: List[Tuple[str, ...]]
    note: str = ""


class Figure(NamedTuple):
    """One figure of the main table. `interval` is [low, high] or None."""

    name: str
    value: float
    interval: Optional[Sequence[float]]

    def text(self) -> str:
        """`48.6 [42.1, 55.0]`."""
        low_high = "" if self.interval is None else f" [{self.interval[0]:.1f}, {self.interval[1]:.1f}]"
        return f"{self.value:.1f}{low_high}"


def main_figures(result: Mapping[str, Any]) -> List[Tuple[str, List[Optional[Figure]]]]:
    """One row a direction, one cell a column of COLUMNS; None for a figure the result lacks."""
    return [(title, [_figure(result, f"{side}_{key}") for _, key in COLUMNS]) for title, side in SIDES]


def total_figures(result: Mapping[str, Any]) -> List[Tuple[str, Figure]]:
    """Mean recall and rSum, with their titles."""
    found = [(title, _figure(result, key)) for title, key in TOTALS]
    return [(title, figure) for title, figure in found if figure is not None]


def section_tables(result: Mapping[str, Any]) -> Iterator[Tuple[str, str, List[Table]]]:
    """Name, title and tables of each section that the result has, known ones first."""
    sections = [name for name, value in result.items() if isinstance(value, (dict, list)) and value]
    known = [name for name in TITLES if name in sections]
    for name in known + [name for name in sections if name not in (*TITLES, "protocol", "intervals")]:
        if name == "duplicates":
            found = [_duplicates(result)]
        elif name == "probe":
            found = [Table("", own.header, own.rows, own.note) for own in probe_tables(result[name])]
        else:
            found = list(tables("", result[name]))
            found[0] = found[0]._replace(note=NOTES.get(name, ""))
        yield name, TITLES.get(name, label(name)), found


def tables(title: str, section: Any) -> Iterator[Table]:
    """Nested dicts and lists of flat dicts as tables: flat dicts side by side are the rows of one."""
    if isinstance(section, list):
        yield _table(title, [("", row) for row in section])
        return
    flat = {key: value for key, value in section.items() if _is_leaf(value)}
    nested = {key: value for key, value in section.items() if not _is_leaf(value)}
    rows = {
        key: value for key, value in nested.items() if isinstance(value, dict) and all(map(_is_leaf, value.values()))
    }
    if flat:
        yield _table(title, [("", flat)])
    if rows:
        yield _table(title, list(rows.items()))
    for key, value in nested.items():
        if key not in rows:
            yield from tables(": ".join(filter(None, (title, label(key)))), value)


def label(key: str) -> str:
    """`txt_r1` -> `i2t R@1`, `img_ndcg25` -> `t2i NDCG@25`, `uniformity_image` -> `uniformity image`."""
    side, _, rest = key.partition("_")
    if side in ("txt", "img") and rest:
        return f"{SHORT[side]} {label(rest)}"
    at = re.fullmatch(r"(r|ndcg|chance)(\d+)", key)
    if at:
        return f"{at[1] if at[1] == 'chance' else at[1].upper()}@{at[2]}"
    return SHORT.get(key, key.replace("_", " "))


def shown(key: str, value: Any) -> str:
    """A figure as text: percent and ranks with one decimal, other fractions with three."""
    if value is None:
        return ""
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(shown(key, item) for item in value) + "]"
    if isinstance(value, float):
        return f"{value:.1f}" if IN_PERCENT.search(key) or abs(value) >= 10 else f"{value:.3f}"
    return str(value)


def _figure(result: Mapping[str, Any], name: str) -> Optional[Figure]:
    value = result.get(name)
    return None if value is None else Figure(name, value, (result.get("intervals") or {}).get(name))


def _is_leaf(value: Any) -> bool:
    """A number, a text, None, or a list of those."""
    return not isinstance(value, dict) and not (isinstance(value, list) and any(isinstance(x, dict) for x in value))


def _table(title: str, rows: List[Tuple[str, Dict[str, Any]]]) -> Table:
    """An interval stands behind its figure."""
    keys = list(dict.fromkeys(key for _, row in rows for key in row))
    keys = [key for key in keys if key.rpartition(INTERVAL)[0] not in keys]
    named = any(name for name, _ in rows)
    cells = [tuple([label(name)] * named + [_cell(key, row) for key in keys]) for name, row in rows]
    return Table(title, tuple([""] * named + [label(key) for key in keys]), cells)


def _cell(key: str, row: Mapping[str, Any]) -> str:
    return " ".join(filter(None, (shown(key, row.get(key)), shown(key, row.get(key + INTERVAL)))))


def _duplicates(result: Mapping[str, Any]) -> Table:
    """The counts and recalls of each rule under the recalls as they are without it; the rules as a note."""
    section = result["duplicates"]
    names = [f"{side}_r{k}" for _, side in SIDES for k in (1, 5, 10)] + ["r_mean", "rsum"]
    rows = [("as annotated", {"texts": None, "groups": None, **{name: result.get(name) for name in names}})]
    for kind, row in section.items():
        figures = {name: row["metrics"].get(name) for name in names}
        rows.append((kind, {"texts": row["texts"], "groups": row["groups"], **figures}))
    return _table("", rows)._replace(note="; ".join(f"{kind}: {row['rule']}" for kind, row in section.items()))

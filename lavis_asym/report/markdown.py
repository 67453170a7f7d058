"""The result of an evaluation as Markdown tables under its protocol line."""

from typing import Any, List, Mapping, Sequence

from lavis_asym.evaluation.protocols import protocol_line
from lavis_asym.report.tables import COLUMNS, main_figures, section_tables, total_figures


def markdown(result: Mapping[str, Any]) -> str:
    """The protocol line, the main table with 95% intervals, then one table a section.

    Args:
        result: the content of `result/<split>.json`; sections may be absent.
    """
    lines = [protocol_line(result["protocol"]), ""] if "protocol" in result else []
    main = main_figures(result)
    kept = [k for k in range(len(COLUMNS)) if any(row[k] is not None for _, row in main)]
    rows = [[title, *("" if row[k] is None else row[k].text() for k in kept)] for title, row in main]
    lines += _table(["", *(COLUMNS[k][0] for k in kept)], rows)
    lines += ["", ", ".join(f"{title} {figure.text()}" for title, figure in total_figures(result))]
    if result.get("intervals"):
        lines += ["", "In brackets: 95% intervals."]
    for _, title, tables in section_tables(result):
        lines += ["", f"## {title}"]
        for table in tables:
            heading = [
                line for part in (f"### {table.title}" * bool(table.title), table.note) if part for line in (part, "")
            ]
            lines += ["", *heading, *_table(table.header, table.rows)]
    return "\n".join(lines) + "\n"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> List[str]:
    cells = [[cell.replace("|", r"\|") for cell in row] for row in (header, *rows)]
    rule = ["---"] + ["---:"] * (len(header) - 1)
    return ["| " + " | ".join(row) + " |" for row in (cells[0], rule, *cells[1:])]

"""The probe's result as Markdown."""

from typing import Any, List, Mapping, Optional

RECALLS = ("img_r1", "img_r5", "img_r10")


def probe_table(probe: Mapping[str, Any]) -> str:
    """The "probe" section of a result, as three Markdown tables.

    Args:
        probe: see `run_probe`.
    """
    return "\n".join([*_recall(probe), *_operators(probe), *_people(probe)]).rstrip() + "\n"


def _recall(probe: Mapping[str, Any]) -> List[str]:
    lines = [
        f"Types II and III: the photo found for a text, of {probe['captions']} captions drawn from "
        f"{probe['captions_in_all']} (seed {probe['seed']}). In each cell the recall of the captions that the texts "
        "were made from, then that of the texts. Clear: without those that may fit another photo too.",
        "",
        "| texts | type | queries | R@1 | R@5 | R@10 | clear | R@1 | R@5 | R@10 |",
        "|---|---|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for family, row in probe["recall"].items():
        clear = row.get("unambiguous", {"queries": 0})
        cells = (family, row["type"], row["queries"], _pairs(row), clear["queries"], _pairs(clear))
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return [*lines, ""]


def _pairs(row: Mapping[str, Any]) -> str:
    if not row["queries"]:
        return " | ".join("-" for _ in RECALLS)
    return " | ".join(f"{row['captions'][name]:.1f} → {row['texts'][name]:.1f}" for name in RECALLS)


def _operators(probe: Mapping[str, Any]) -> List[str]:
    lines = [
        "Type I: how often the true text scores above the false ones, in percent; ties count as wrong. Text only: a "
        "classifier of words that sees no photo; other photos: the model's own mean score of each text elsewhere. Own: "
        "operators that no policy trains on, the same in every run. In brackets: 95% intervals.",
        "",
        "| negatives | training | items | accuracy | text only | other photos | chance |",
        "|---|---|--:|--:|--:|--:|--:|",
    ]
    rows = sorted(probe["operators"].items(), key=lambda item: not item[1]["trained"])
    lines += [_line(name, "trained" if row["trained"] else "held out", row) for name, row in rows]
    for name, row in probe["operators_mean"].items():
        lines.append(_line(f"**{row['operators']} operators**", name.replace("_", " "), row))
    return [*lines, ""]


def _people(probe: Mapping[str, Any]) -> List[str]:
    if not probe["people"]:
        return []
    lines = [
        "Type I, negatives by people.",
        "",
        "| file | items | accuracy | text only | other photos | chance |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    for name, row in probe["people"].items():
        if "accuracy" in row:
            lines.append(_line(name, None, row))
        if "karpathy_train" in row:
            lines.append(_line(f"{name}, photos of Karpathy's train", None, row["karpathy_train"]))
    return lines


def _line(name: str, training: Optional[str], row: Mapping[str, Any]) -> str:
    cells = [name, *([training] if training else []), str(row.get("items", ""))]
    interval = "" if "interval" not in row else " [{:.1f}, {:.1f}]".format(*row["interval"])
    cells += [_number(row.get("accuracy")) + interval]
    cells += [_number(row.get(key)) for key in ("text_only", "other_photos", "chance")]
    return f"| {' | '.join(cells)} |"


def _number(value: Optional[float]) -> str:
    return "-" if value is None else f"{value:.1f}"

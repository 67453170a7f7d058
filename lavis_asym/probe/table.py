"""The probe's result as the rows of three tables."""

from typing import Any, Iterator, List, Mapping, NamedTuple, Optional, Tuple

from lavis_asym.evaluation.bootstrap import BRACKETS

RECALLS = ("img_r1", "img_r5", "img_r10")
CHOSEN = ("items", "accuracy", "text only", "other photos", "chance")


class ProbeTable(NamedTuple):
    """Cells are plain text; the note says what they are."""

    note: str
    header: Tuple[str, ...]
    rows: List[Tuple[str, ...]]


def probe_tables(probe: Mapping[str, Any]) -> Iterator[ProbeTable]:
    """The "probe" section of a result: recalls, type I by operator, and by people's files where there are such.

    Args:
        probe: see `run_probe`.
    """
    yield ProbeTable(
        f"Types II and III: the photo found for a text, of {probe['captions']} captions drawn from "
        f"{probe['captions_in_all']} (seed {probe['seed']}). In each cell the recall of the captions that the texts "
        "were made from, then that of the texts. Clear: without those that may fit another photo too.",
        ("texts", "type", "queries", "R@1", "R@5", "R@10", "clear", "R@1", "R@5", "R@10"),
        [
            (family, row["type"], *_pairs(row), *_pairs(row.get("unambiguous")))
            for family, row in probe["recall"].items()
        ],
    )
    rows = sorted(probe["operators"].items(), key=lambda item: not item[1]["trained"])
    means = probe["operators_mean"].items()
    yield ProbeTable(
        "Type I: how often the true text scores above the false ones, in percent; ties count as wrong. Text only: a "
        "classifier of words that sees no photo; other photos: the model's own mean score of each text elsewhere. Own: "
        "operators that no policy trains on, the same in every run. " + BRACKETS,
        ("negatives", "training", *CHOSEN),
        [(name, "trained" if row["trained"] else "held out", *_chosen(row)) for name, row in rows]
        + [(f"{row['operators']} operators", name.replace("_", " "), *_chosen(row)) for name, row in means],
    )
    if probe["people"]:
        yield ProbeTable("Type I, negatives by people.", ("file", *CHOSEN), list(_people(probe["people"])))


def _pairs(row: Optional[Mapping[str, Any]]) -> Tuple[str, ...]:
    if row is None:
        return ("0", *("-" for _ in RECALLS))
    return (str(row["queries"]), *(f"{row['captions'][name]:.1f} → {row['texts'][name]:.1f}" for name in RECALLS))


def _people(people: Mapping[str, Any]) -> Iterator[Tuple[str, ...]]:
    for name, row in people.items():
        if "accuracy" in row:
            yield name, *_chosen(row)
        if "karpathy_train" in row:
            yield f"{name}, photos of Karpathy's train", *_chosen(row["karpathy_train"])


def _chosen(row: Mapping[str, Any]) -> Tuple[str, ...]:
    interval = " [{:.1f}, {:.1f}]".format(*row["interval"]) if row.get("interval") else ""
    rest = (_number(row.get(key)) for key in ("text_only", "other_photos", "chance"))
    return (str(row.get("items", "")), _number(row.get("accuracy")) + interval, *rest)


def _number(value: Optional[float]) -> str:
    return "-" if value is None else f"{value:.1f}"

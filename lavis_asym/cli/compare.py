"""Compare two runs over the same queries: every figure, its difference, a 95% interval, and whether it is chance.

examples:
  lavis-asym compare output/baseline/2024... output/ascl/2024... --split test
                                        two run folders, or their result folders
  lavis-asym compare a/result/val.run.json.gz b/result/val.run.json.gz --json difference.json
                                        two run files; the table also as JSON
  lavis-asym compare A B --ties expected
                                        ties by their expected value instead of against the model

The difference is B - A; for MedR and MeanR less is better. Both runs are scored again from their run files, no model is
needed. The interval comes from 1,000 bootstrap resamples of the images with all their texts, p from 1,000 random swaps
of the two runs' ranks, image by image. Eleven figures are tested at once, so that one of them falls under 5% by chance
more often than 5% of the time: the last line counts only what Holm's correction leaves. Both say how the queries vary,
not how training with another seed does: for that, train several.
"""

import argparse
import json
from pathlib import Path
from typing import Any, Dict, List, Mapping, Sequence

from lavis_asym.errors import UserError
from lavis_asym.evaluation.bootstrap import RESAMPLES, Difference, compare, holm
from lavis_asym.evaluation.protocols import protocol_line
from lavis_asym.evaluation.ranks import TIES
from lavis_asym.evaluation.run_files import SUFFIX, Run, decode

HELP = "compare two runs over the same queries"
FIGURES = {
    **{f"{side}_r{k}": f"{title} R@{k}" for side, title in (("txt", "i2t"), ("img", "t2i")) for k in (1, 5, 10)},
    "rsum": "rSum",
    "txt_medr": "i2t MedR",
    "img_medr": "t2i MedR",
    "txt_meanr": "i2t MeanR",
    "img_meanr": "t2i MeanR",
}
SAME_GALLERY = ("name", "split", "images", "captions")
SAME_MODEL = ("data", "k_test", "precision", "model", "weights", "epoch", "selection", "seed", "commit")
LEVEL = 0.05


def add_arguments(parser: argparse.ArgumentParser) -> None:
    for name in ("run_a", "run_b"):
        parser.add_argument(name, type=Path, metavar=name.upper(), help=f"run folder, result folder or *{SUFFIX}")
    parser.add_argument("--split", help="which split's run files, where a folder has several")
    parser.add_argument("--ties", choices=TIES, default=TIES[0], help=f"equal scores (default: {TIES[0]} the model)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the table there too")


def run(arguments: argparse.Namespace) -> None:
    """Print the table, and write it where that is asked for."""
    paths = [find_run_file(path, arguments.split) for path in (arguments.run_a, arguments.run_b)]
    runs = [read_run(path) for path in paths]
    refuse_other_queries(*runs)
    rows = compare(*(each.ranked for each in runs), arguments.ties)
    rows = {name: rows[name] for name in FIGURES}
    corrected = holm({name: row.p for name, row in rows.items()})
    shared = {key: runs[0].protocol.get(key) for key in SAME_GALLERY}
    line = protocol_line({**shared, "ties": arguments.ties})
    print(line)
    for letter, path, each in zip("AB", paths, runs):
        said = protocol_line({key: each.protocol.get(key) for key in SAME_MODEL})
        print(f"{letter}: {path}{': ' + said if said else ''}")
    print(f"\n{table(rows)}\n\n{verdict(rows, corrected)}")
    if arguments.json:
        content = {
            "protocol": line,
            "runs": {letter: {"file": str(path), **each.protocol} for letter, path, each in zip("ab", paths, runs)},
            "resamples": RESAMPLES,
            "figures": {name: {**row._asdict(), "p_holm": corrected[name]} for name, row in rows.items()},
        }
        try:
            arguments.json.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        except OSError as error:
            raise UserError(f"--json {arguments.json}: cannot be written ({error})") from None


def find_run_file(path: Path, split: Any = None) -> Path:
    """The run file of a run folder, a result folder, or the file itself. Raises UserError: none, or several."""
    if path.is_file():
        return path
    if not path.is_dir():
        raise UserError(f"{path}: not there; expected a run folder, its result folder, or a file *{SUFFIX}")
    folder = path / "result" if (path / "result").is_dir() else path
    files = {file.name[: -len(SUFFIX)]: file for file in sorted(folder.glob(f"*{SUFFIX}"))}
    wanted = [split] if split else list(files)
    if len(wanted) == 1 and wanted[0] in files:
        return files[wanted[0]]
    there = f"has run files of {', '.join(files)}" if files else f"has no *{SUFFIX}; evaluate the run first"
    raise UserError(f"{folder}: {there}" + (f"; choose one with --split {'|'.join(files)}" if files else ""))


def read_run(path: Path) -> Run:
    """A run file. Raises UserError: it cannot be read, or is none."""
    try:
        return decode(path.read_bytes(), str(path))
    except (OSError, ValueError) as error:
        raise UserError(f"{error}; evaluate the run again, or copy the file anew") from None


def refuse_other_queries(a: Run, b: Run) -> None:
    """Raise UserError with all that differs between the galleries of two runs."""
    problems = [
        f"protocol {key}: {a.protocol.get(key)!r} and {b.protocol.get(key)!r}"
        for key in SAME_GALLERY
        if a.protocol.get(key) != b.protocol.get(key)
    ]
    if a.ranked.fold != b.ranked.fold:
        problems.append(f"images in a fold: {a.ranked.fold} and {b.ranked.fold}")
    for name, ids_a, ids_b in (("images", a.images, b.images), ("texts", a.texts, b.texts)):
        problems += different_ids(name, ids_a, ids_b)
    if not problems and a.ranked.owner.tolist() != b.ranked.owner.tolist():
        problems.append("owner: the texts are not of the same images")
    if problems:
        raise UserError.from_problems("the runs cannot be compared query by query, they differ in:", problems)


def different_ids(name: str, a: Sequence[str], b: Sequence[str]) -> List[str]:
    """What is different between the ids of two runs, one line or none."""
    if a == b:
        return []
    only = [f"only {run} has {sorted(own)[0]!r}" for run, own in (("A", {*a} - {*b}), ("B", {*b} - {*a})) if own]
    return [f"{name}: {len(a)} and {len(b)}, {', '.join(only) or 'in another order'}"]


def table(rows: Mapping[str, Difference]) -> str:
    """One line a figure."""
    lines = [f"{'':<10}{'A':>9}{'B':>9}{'B - A':>9}{'95% interval':>21}{'p':>8}"]
    for name, row in rows.items():
        interval = f"[{row.low:+.2f}, {row.high:+.2f}]"
        lines.append(f"{FIGURES[name]:<10}{row.a:9.2f}{row.b:9.2f}{row.difference:+9.2f}{interval:>21}{row.p:8.3f}")
    return "\n".join(lines)


def verdict(rows: Mapping[str, Difference], corrected: Dict[str, float]) -> str:
    """Which differences are beyond chance, alone and as one of so many."""
    alone = [FIGURES[name] for name, row in rows.items() if row.p <= LEVEL]
    together = [FIGURES[name] for name in rows if corrected[name] <= LEVEL]
    return (
        f"p <= {LEVEL:.0%}, each figure alone: {', '.join(alone) or 'none'}\n"
        f"beyond chance at {LEVEL:.0%} as one of {len(rows)} figures tested (Holm): {', '.join(together) or 'none'}"
    )

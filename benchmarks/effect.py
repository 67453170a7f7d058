"""What each asymmetry type does to a trained model: the same budget with none of them, with each alone, and with all.

    python benchmarks/effect.py DIR [--choices DIR/val_choices.json] [--seeds 0 1 2] [--epochs 3]

DIR is a folder in LAVIS's retrieval layout. Every run selects its epoch on val and is scored on val: mean recall (ties
against the model) and, with --choices, the share of questions whose right answer beats every wrong one. A choices file
is a list of {"image", "question", "answer", "wrong": [...]}.
"""

import argparse
import json
import statistics
import sys
import time
from pathlib import Path

SETTINGS = {
    "InfoNCE": {"I": 0, "II": 0, "III": 0},
    "+ I": {"I": 1, "II": 0, "III": 0},
    "+ II": {"I": 0, "II": 1, "III": 0},
    "+ III": {"I": 0, "II": 0, "III": 1},
    "all": {},  # as the default policy has them
}
BASELINE, METHOD = "InfoNCE", "all"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path, help="folder with train.json, val.json and images/")
    parser.add_argument("--choices", type=Path, help="questions on val photos, with a right and wrong answers")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--settings", nargs="+", choices=list(SETTINGS), default=list(SETTINGS))
    parser.add_argument("--out", type=Path, default=Path("output/effect"), help="where runs go; finished ones are kept")
    args = parser.parse_args()
    results = {
        setting: [measure(args, setting, seed) for seed in args.seeds] for setting in dict.fromkeys(args.settings)
    }
    show(args, results)


def measure(args: argparse.Namespace, setting: str, seed: int) -> dict:
    """Mean recall, share of right choices and training seconds of one run; read back if it was finished before."""
    folder = args.out / args.root.name / f"{setting.replace(' ', '')}-epochs{args.epochs}-seed{seed}"
    done = folder / "measured.json"
    if not done.is_file():
        from lavis_asym.run import main as run

        options = [
            f"datasets.asym_custom.text_processor.train.policy.types.{k}={w}" for k, w in SETTINGS[setting].items()
        ]
        options += [f"datasets.asym_custom.root={args.root}", f"run.output_dir={folder}", "run.test_splits=[val]"]
        options += [f"run.seed={seed}", f"run.max_epoch={args.epochs}"]
        options += [f"run.evaluation.choices=[{args.choices}]"] if args.choices else []
        start = time.perf_counter()
        if run("train", ["--cfg-path", "projects/asym/custom.yaml", "--options", *options]):
            sys.exit(f"the run {folder} failed")
        seconds = time.perf_counter() - start
        checkpoint = max(folder.glob("*/checkpoint_best.pth"), key=lambda path: path.stat().st_mtime)
        metrics = json.loads((checkpoint.parent / "result" / "val.json").read_text())
        measured = {"mean recall": metrics["r_mean"], "seconds": seconds}
        if args.choices:
            measured["right choices"] = metrics["probe"]["people"][args.choices.name]["accuracy"]
        done.write_text(json.dumps(measured))
    return json.loads(done.read_text())


def show(args: argparse.Namespace, results: dict) -> None:
    print(f"\n{args.root.name}: val, {args.epochs} passes, seeds {args.seeds}; mean (standard deviation over seeds)")
    names = ["mean recall", "right choices", "seconds"] if args.choices else ["mean recall", "seconds"]
    print(f"{'':10}" + "".join(f"{name:>18}" for name in names))
    means = {}
    for setting, runs in results.items():
        cells = []
        for name in names:
            values = [run[name] for run in runs]
            means[setting, name] = statistics.mean(values)
            cells.append(f"{means[setting, name]:10.2f} ({statistics.pstdev(values):4.2f})")
        print(f"{setting:10}" + "".join(f"{cell:>18}" for cell in cells))
    if BASELINE in results and METHOD in results:
        line = {"name": f"effect on {args.root.name}, mean recall", "baseline": BASELINE}
        line["ratio"] = means[METHOD, "mean recall"] / means[BASELINE, "mean recall"]
        line["seconds"], line["baseline_seconds"] = means[METHOD, "seconds"], means[BASELINE, "seconds"]
        print(json.dumps(line))


if __name__ == "__main__":
    main()

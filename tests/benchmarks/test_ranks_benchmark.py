"""The benchmark of the ranks runs, and its last line is what a reader of figures expects."""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_last_line_is_json():
    command = [sys.executable, str(ROOT / "benchmarks" / "ranks.py"), "--quick"]
    run = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    last = json.loads(run.stdout.splitlines()[-1])
    assert {"name", "baseline", "ratio", "seconds", "baseline_seconds", "extra_mb"} <= set(last)
    assert last["seconds"] > 0 and last["baseline_seconds"] > 0 and 0 < last["extra_mb"] < 200

"""Each fusion benchmark runs, and its last line is what a reader of figures expects."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BENCHMARKS = sorted(path for path in (ROOT / "benchmarks").glob("fusion*.py") if path.stem != "fusion_common")


@pytest.mark.parametrize("path", BENCHMARKS, ids=lambda path: path.stem)
def test_the_last_line_is_json(path):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    run = subprocess.run([sys.executable, str(path), "--quick"], env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    last = json.loads(run.stdout.splitlines()[-1])
    assert {"name", "baseline", "ratio", "seconds", "baseline_seconds"} <= set(last)
    assert last["ratio"] > 0 and last["seconds"] > 0 and last["baseline_seconds"] > 0

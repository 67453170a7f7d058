"""Which code this is, for results and bug reports."""

import subprocess
from pathlib import Path
from typing import Optional


def commit() -> Optional[str]:
    """The commit of this code, with a + behind it if files were changed since; None outside a git checkout."""
    git = ["git", "-C", str(Path(__file__).parent)]
    try:
        subprocess.run([*git, "ls-files", "--error-unmatch", Path(__file__).name], capture_output=True, check=True)
        described = subprocess.run([*git, "describe", "--always", "--abbrev=12", "--dirty=+", "--exclude=*"],
                                   capture_output=True, text=True, check=True)  # fmt: skip
    except (OSError, subprocess.CalledProcessError):
        return None
    return described.stdout.strip()

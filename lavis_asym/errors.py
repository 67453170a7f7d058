"""The one kind of error a user can mend: what was found and where, what was expected, what to do."""

from difflib import get_close_matches
from typing import Iterable, List


class UserError(Exception):
    """A fault in a file, a configuration or a command. The launchers print it without a traceback and exit with 2."""

    def __init__(self, message: str = ""):
        # torch raises what a loader's worker raised again, with the worker's traceback before the message
        super().__init__(message.rpartition(f"{__name__}.UserError: ")[2])

    @classmethod
    def from_problems(cls, heading: str, problems: List[str], shown: int = 20) -> "UserError":
        """One error that lists up to `shown` problems and counts the rest."""
        lines = [f"  - {problem}" for problem in problems[:shown]]
        if len(problems) > shown:
            lines.append(f"  - ... and {len(problems) - shown} more")
        return cls("\n".join([heading, *lines]))


def near_matches(name: str, known: Iterable[str]) -> str:
    """`did you mean 'a' or 'b'?` where something is near, else the list of what is known."""
    known = sorted(str(k) for k in known)
    close = get_close_matches(str(name), known, n=3, cutoff=0.6)
    return did_you_mean(close) if close else "known: " + ", ".join(known)


def did_you_mean(names: Iterable[str]) -> str:
    return "did you mean " + " or ".join(map(repr, names)) + "?"

"""`lavis-asym COMMAND ...`: one module a command, each with `HELP`, `add_arguments(parser)` and `run(arguments)`."""

import argparse
import os
import sys
from importlib import import_module
from typing import Optional, Sequence

from lavis_asym import __version__
from lavis_asym.errors import UserError
from lavis_asym.version import commit

COMMANDS = ("pack", "check", "features", "samples", "evaluate", "compare")


class _Version(argparse.Action):
    """Prints the version, and the commit where this is a checkout."""

    def __call__(self, parser: argparse.ArgumentParser, *_) -> None:
        found = commit()
        print(f"{parser.prog} {__version__}{f', commit {found}' if found else ''}")
        parser.exit()


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Run a command; 0 where it did what it was asked, 1 where `check` found errors, 2 after an error to mend."""
    parser = argparse.ArgumentParser(prog="lavis-asym", description="Asymmetry-sensitive image-text retrieval.")
    parser.add_argument(
        "--version", action=_Version, nargs=0, help="say version and commit, as a bug report needs them"
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for name in COMMANDS:
        module = import_module(f"lavis_asym.cli.{name}")
        command = commands.add_parser(
            name, help=module.HELP, description=module.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    parsed = parser.parse_args(arguments)
    try:
        code = parsed.run(parsed) or 0
        sys.stdout.flush()
        return code
    except UserError as error:
        print(f"lavis-asym: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # as by `| head`; nothing more is written at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except KeyboardInterrupt:
        print("stopped; the same command goes on where it was", file=sys.stderr)
        return 130

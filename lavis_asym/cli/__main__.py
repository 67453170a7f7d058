"""`python -m lavis_asym.cli`: the command line without its installed script."""

import sys

from lavis_asym.cli import main

if __name__ == "__main__":
    sys.exit(main())

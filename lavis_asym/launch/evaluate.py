"""`python -m lavis.evaluate`: LAVIS's evaluate.py for an installed LAVIS, with lavis-asym registered."""

import sys

from lavis_asym.run import main

if __name__ == "__main__":
    sys.exit(main("evaluate"))

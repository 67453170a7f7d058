"""`python -m lavis.train`: LAVIS's train.py for an installed LAVIS, with lavis-asym registered."""

import sys

from lavis_asym.run import main

if __name__ == "__main__":
    sys.exit(main("train"))

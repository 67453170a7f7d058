"""The asymmetry probe: recall of texts that say less or more, and the choice of the true text among false ones.

A model is two functions from texts to scores; neither torch nor LAVIS is needed here.
"""

from lavis_asym.probe.choices import read_choices, read_karpathy_train
from lavis_asym.probe.run import run_probe
from lavis_asym.probe.table import probe_tables

__all__ = ["probe_tables", "read_choices", "read_karpathy_train", "run_probe"]

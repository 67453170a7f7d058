"""The asymmetry sample builder: texts that say less (II), more (III) or something false (I) of an image.

Pure Python; nothing of LAVIS. Only `asymmetry.embedding` needs torch, and is imported by whoever uses it.
"""

from lavis_asym.asymmetry.builder import AsymmetrySamples, Sample, SampleBuilder
from lavis_asym.asymmetry.join import content
from lavis_asym.asymmetry.text import normalise

__all__ = ["AsymmetrySamples", "Sample", "SampleBuilder", "content", "normalise"]

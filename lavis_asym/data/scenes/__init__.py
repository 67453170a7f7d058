"""Scenes: an embedded image-text retrieval data set whose structured truth is known exactly.

A scene is a plain pale picture of two to six objects (shape, colour, size, place on a 3x3 grid) with five captions.
Every caption is worded by `say` from a `Description`, and `holds` decides whether a description is true of any scene.
That is what makes the three kinds of information asymmetry exact rather than guessed:

- a caption with one wrong detail is `say` of a description with one attribute, relation or count replaced, and
  `holds` is then false;
- a caption that says less is one whose `mentions` leave objects out, and `holds` finds the other scenes it is
  also true of;
- captions joined say more: `holds` takes several descriptions at once, and their `mentions` unite.

Everything follows from `(seed, split, index)`, and the files are the same to the byte wherever Pillow is the same.
"""

from lavis_asym.data.scenes.draw import make_scene
from lavis_asym.data.scenes.files import read_truth, write_scenes
from lavis_asym.data.scenes.picture import render
from lavis_asym.data.scenes.truth import (
    ATTRIBUTES,
    BACKGROUNDS,
    COLOURS,
    PLACES,
    RELATIONS,
    SHAPES,
    SIZES,
    SPLITS,
    Count,
    Description,
    Object,
    Relation,
    Scene,
    Thing,
    holds,
)
from lavis_asym.data.scenes.words import say

__all__ = [
    "ATTRIBUTES",
    "BACKGROUNDS",
    "COLOURS",
    "Count",
    "Description",
    "Object",
    "PLACES",
    "RELATIONS",
    "Relation",
    "SHAPES",
    "SIZES",
    "SPLITS",
    "Scene",
    "Thing",
    "holds",
    "make_scene",
    "read_truth",
    "render",
    "say",
    "write_scenes",
]

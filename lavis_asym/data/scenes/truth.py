"""What a scene is, what a caption states, and whether it is true."""

from dataclasses import dataclass
from types import MappingProxyType
from typing import Callable, Iterable, Mapping, Optional, Sequence, Tuple, Union

SPLITS = ("train", "val", "test")

IMAGE_SIDE = 224
SHAPES = ("circle", "square", "triangle", "star", "cross", "ring", "heart", "diamond", "arrow", "crescent")
COLOURS: Mapping[str, Tuple[int, int, int]] = MappingProxyType(
    {
        "red": (220, 30, 35),
        "blue": (35, 85, 220),
        "green": (35, 150, 60),
        "yellow": (250, 222, 40),
        "purple": (125, 45, 165),
        "orange": (245, 135, 15),
        "black": (20, 20, 20),
        "white": (255, 255, 255),
        "pink": (252, 150, 200),
        "brown": (120, 72, 32),
    }
)
BACKGROUNDS: Mapping[str, Tuple[int, int, int]] = MappingProxyType(
    {
        "ivory": (238, 235, 224),
        "mist": (222, 231, 239),
        "mint": (224, 237, 226),
        "blush": (241, 227, 227),
        "lilac": (231, 226, 240),
    }
)
SIZES = ("small", "large")
PLACES = (
    "top left",
    "top centre",
    "top right",
    "middle left",
    "centre",
    "middle right",
    "bottom left",
    "bottom centre",
    "bottom right",
)
"""The nine grid cells in reading order."""

ATTRIBUTES = ("shape", "colour", "size", "place")

Box = Tuple[int, int, int, int]

RELATIONS: Mapping[str, Callable[[Box, Box], bool]] = MappingProxyType(
    {
        "left of": lambda a, b: a[2] <= b[0],
        "right of": lambda a, b: b[2] <= a[0],
        "above": lambda a, b: a[3] <= b[1],
        "below": lambda a, b: b[3] <= a[1],
    }
)
"""Each relation over the boxes of its two objects: the first lies wholly to that side of the second."""


@dataclass(frozen=True)
class Object:
    """One object of a scene.

    `shape`, `colour`, `size` and `place` are words of `SHAPES`, `COLOURS`, `SIZES` and `PLACES`.
    `box` is `(left, top, right, bottom)` in pixels, square, right and bottom exclusive, within the image.
    """

    shape: str
    colour: str
    size: str
    place: str
    box: Box


@dataclass(frozen=True)
class Thing:
    """An object as described: any of the four attributes, `None` where the description is silent."""

    shape: Optional[str] = None
    colour: Optional[str] = None
    size: Optional[str] = None
    place: Optional[str] = None


@dataclass(frozen=True)
class Relation:
    """`things[subject]` is `word` (a key of `RELATIONS`) `things[target]`."""

    subject: int
    word: str
    target: int


@dataclass(frozen=True)
class Count:
    """Exactly `number` objects of the scene match `thing`; an empty `thing` counts all objects."""

    number: int
    thing: Thing = Thing()


@dataclass(frozen=True)
class Description:
    """What one caption states.

    `things` are different objects of one scene, `relations` index into them, `counts` stand beside them.
    `wording` (0 to 65535) picks among synonyms in `say` and has no bearing on truth.
    Each fact is stated once, so replacing one attribute changes one detail of the sentence.
    """

    things: Tuple[Thing, ...] = ()
    relations: Tuple[Relation, ...] = ()
    counts: Tuple[Count, ...] = ()
    wording: int = 0


@dataclass(frozen=True)
class Scene:
    """A picture's structured truth and its captions.

    `objects` stand in reading order of their places. `captions[k]` is `say(facts[k])`. `mentions[k]` holds the
    indices of the objects caption k speaks of: first one per entry of `facts[k].things`, in order, then the members
    of a counted group ("two red shapes"). `background` is a key of `BACKGROUNDS` that no caption names.
    """

    image_id: str
    objects: Tuple[Object, ...]
    captions: Tuple[str, ...]
    mentions: Tuple[Tuple[int, ...], ...]
    facts: Tuple[Description, ...]
    background: str


def holds(facts: Union[Description, Iterable[Description]], scene: Scene) -> bool:
    """Whether a description, or every one of several, is true of `scene`.

    A description is true when its counts are exact and its things can be matched to different objects of the scene
    such that every given attribute and every relation agrees. The empty description is true of every scene.
    """
    if not isinstance(facts, Description):
        return all(holds(description, scene) for description in facts)
    counted = all(sum(_matches(c.thing, obj) for obj in scene.objects) == c.number for c in facts.counts)
    return counted and _can_assign(facts, scene.objects, ())


def _matches(thing: Thing, obj: Object) -> bool:
    return all(getattr(thing, name) in (None, getattr(obj, name)) for name in ATTRIBUTES)


def _can_assign(facts: Description, objects: Sequence[Object], chosen: Tuple[int, ...]) -> bool:
    """Whether `chosen`, the objects of the first things, extends to all things with every relation true."""
    if len(chosen) == len(facts.things):
        boxes = [objects[i].box for i in chosen]
        return all(RELATIONS[r.word](boxes[r.subject], boxes[r.target]) for r in facts.relations)
    thing = facts.things[len(chosen)]
    return any(
        i not in chosen and _matches(thing, obj) and _can_assign(facts, objects, (*chosen, i))
        for i, obj in enumerate(objects)
    )

"""Scenes: an embedded image-text retrieval data set whose structured truth is known exactly.

A scene is a plain pale picture of two to six objects (shape, colour, size, place on a 3x3 grid) with five captions.
Every caption is worded by :func:`say` from a :class:`Description`, and :func:`holds` decides whether a description is
true of any scene. That is what makes the three kinds of information asymmetry exact rather than guessed:

- a caption with one wrong detail is ``say`` of a description with one attribute, relation or count replaced, and
  ``holds`` is then false;
- a caption that says less is one whose ``mentions`` leave objects out, and ``holds`` finds the other scenes it is
  also true of;
- captions joined say more: ``holds`` takes several descriptions at once, and their ``mentions`` unite.

Everything follows from ``(seed, split, index)``, and the files are the same to the byte wherever Pillow is the same.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import re
import uuid
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from types import MappingProxyType
from typing import Any, Callable, Iterable, Iterator, Mapping, Optional, Sequence, Union

import PIL
from PIL import Image, ImageDraw, ImageFilter

GENERATOR_VERSION = 1
"""Raised whenever the same seed would give other files; folders of another version are written again."""

SPLITS = ("train", "val", "test")
DEFAULT_COUNTS: Mapping[str, int] = MappingProxyType({"train": 2000, "val": 200, "test": 200})
CAPTIONS_PER_SCENE = 5

IMAGE_SIDE = 224
SHAPES = ("circle", "square", "triangle", "star", "cross", "ring", "heart", "diamond", "arrow", "crescent")
COLOURS: Mapping[str, tuple[int, int, int]] = MappingProxyType(
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
BACKGROUNDS: Mapping[str, tuple[int, int, int]] = MappingProxyType(
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

Box = tuple[int, int, int, int]

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

    ``shape``, ``colour``, ``size`` and ``place`` are words of ``SHAPES``, ``COLOURS``, ``SIZES`` and ``PLACES``.
    ``box`` is ``(left, top, right, bottom)`` in pixels, square, right and bottom exclusive, within the image.
    """

    shape: str
    colour: str
    size: str
    place: str
    box: Box


@dataclass(frozen=True)
class Thing:
    """An object as described: any of the four attributes, ``None`` where the description is silent."""

    shape: Optional[str] = None
    colour: Optional[str] = None
    size: Optional[str] = None
    place: Optional[str] = None


@dataclass(frozen=True)
class Relation:
    """``things[subject]`` is ``word`` (a key of ``RELATIONS``) ``things[target]``."""

    subject: int
    word: str
    target: int


@dataclass(frozen=True)
class Count:
    """Exactly ``number`` objects of the scene match ``thing``; an empty ``thing`` counts all objects."""

    number: int
    thing: Thing = Thing()


@dataclass(frozen=True)
class Description:
    """What one caption states.

    ``things`` are different objects of one scene, ``relations`` index into them, ``counts`` stand beside them.
    ``wording`` (0 to 65535) picks among synonyms in :func:`say` and has no bearing on truth.
    Each fact is stated once, so replacing one attribute changes one detail of the sentence.
    """

    things: tuple[Thing, ...] = ()
    relations: tuple[Relation, ...] = ()
    counts: tuple[Count, ...] = ()
    wording: int = 0


@dataclass(frozen=True)
class Scene:
    """A picture's structured truth and its captions.

    ``objects`` stand in reading order of their places. ``captions[k]`` is ``say(facts[k])``. ``mentions[k]`` holds the
    indices of the objects caption k speaks of: first one per entry of ``facts[k].things``, in order, then the members
    of a counted group ("two red shapes"). ``background`` is a key of ``BACKGROUNDS`` that no caption names.
    """

    image_id: str
    objects: tuple[Object, ...]
    captions: tuple[str, ...]
    mentions: tuple[tuple[int, ...], ...]
    facts: tuple[Description, ...]
    background: str


# ---------------------------------------------------------------------------------------------------------- truth


def holds(facts: Union[Description, Iterable[Description]], scene: Scene) -> bool:
    """Whether a description, or every one of several, is true of ``scene``.

    A description is true when its counts are exact and its things can be matched to different objects of the scene
    such that every given attribute and every relation agrees. The empty description is true of every scene.
    """
    if not isinstance(facts, Description):
        return all(holds(description, scene) for description in facts)
    counted = all(sum(_matches(c.thing, obj) for obj in scene.objects) == c.number for c in facts.counts)
    return counted and _can_assign(facts, scene.objects, ())


def _matches(thing: Thing, obj: Object) -> bool:
    return all(getattr(thing, name) in (None, getattr(obj, name)) for name in ATTRIBUTES)


def _can_assign(facts: Description, objects: Sequence[Object], chosen: tuple[int, ...]) -> bool:
    """Whether ``chosen``, the objects of the first things, extends to all things with every relation true."""
    if len(chosen) == len(facts.things):
        boxes = [objects[i].box for i in chosen]
        return all(RELATIONS[r.word](boxes[r.subject], boxes[r.target]) for r in facts.relations)
    thing = facts.things[len(chosen)]
    return any(
        i not in chosen and _matches(thing, obj) and _can_assign(facts, objects, (*chosen, i))
        for i, obj in enumerate(objects)
    )


# ---------------------------------------------------------------------------------------------------------- words

# Synonyms come in pairs throughout: every choice then draws alike, and changing a fact leaves the other words alone.
_SIZE_WORDS = {"small": ("small", "little"), "large": ("large", "big")}
_RELATION_WORDS = {
    "left of": ("left of", "to the left of"),
    "right of": ("right of", "to the right of"),
    "above": ("above", "higher up than"),
    "below": ("below", "lower down than"),
}
_PLACE_WORDS = {
    "top left": ("at the top left", "in the top left corner"),
    "top centre": ("at the top centre", "in the middle of the top row"),
    "top right": ("at the top right", "in the top right corner"),
    "middle left": ("at the middle left", "halfway down the left side"),
    "centre": ("in the centre", "in the middle of the picture"),
    "middle right": ("at the middle right", "halfway down the right side"),
    "bottom left": ("at the bottom left", "in the bottom left corner"),
    "bottom centre": ("at the bottom centre", "in the middle of the bottom row"),
    "bottom right": ("at the bottom right", "in the bottom right corner"),
}
_NUMBER_WORDS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_SOMETHING = ("shape", "object")
_OPENINGS = ("", "", "", "", "", "a picture of ", "an image of ", "a drawing of ")


@dataclass(frozen=True)
class _Voice:
    """The choices behind one caption's words: the same noun and size words throughout, the others drawn in turn."""

    choice: Callable[[Sequence[Any]], Any]
    something: str
    size_word: int

    @classmethod
    def of(cls, wording: int) -> _Voice:
        choice = random.Random(f"wording {wording}").choice
        return cls(choice, choice(_SOMETHING), choice((0, 1)))


def say(description: Description) -> str:
    """The description as an English phrase: lower case, no trailing period, commas and one "and" in a list.

    A pure function of the description, which must state something. Things with a place are named before things
    without one, so that a place phrase is never read as belonging to two things.
    """
    if not (description.things or description.counts):
        raise ValueError("an empty description has no words")
    voice = _Voice.of(description.wording)
    totals = [count for count in description.counts if count.thing == Thing()]
    groups = [count for count in description.counts if count.thing != Thing()]
    if description.relations:
        among = f"among {_say_count(totals[0], voice)}, " if totals else ""
        may_be_noun = not totals and voice.choice((True, False))
        return among + _say_relations(description, groups, voice, may_be_noun)
    named = _say_list(_say_parts(description.things, groups, voice))
    if not totals:
        return voice.choice(_OPENINGS) + named
    total = _say_count(totals[0], voice)
    if not named:
        return total
    return f"{total}: {named}" if totals[0].number == len(description.things) else f"{total}, including {named}"


def _say_parts(things: Sequence[Thing], groups: Sequence[Count], voice: _Voice) -> list[str]:
    placed = [_article(_say_thing(thing, voice)) for thing in things if thing.place]
    counted = [_say_count(group, voice) for group in groups]
    return placed + counted + [_article(_say_thing(thing, voice)) for thing in things if not thing.place]


def _say_list(parts: Sequence[str]) -> str:
    return " and ".join(part for part in (", ".join(parts[:-1]), *parts[-1:]) if part)


def _say_thing(thing: Thing, voice: _Voice, number: int = 1) -> str:
    """The noun phrase without article or number word, plural unless ``number`` is 1."""
    noun = thing.shape or voice.something
    if number != 1:
        noun += "es" if noun.endswith("s") else "s"
    size = thing.size and _SIZE_WORDS[thing.size][voice.size_word]
    place = thing.place and _PLACE_WORDS[thing.place][voice.choice((0, 1))]
    return " ".join(word for word in (size, thing.colour, noun, place) if word)


def _say_count(count: Count, voice: _Voice) -> str:
    word = _NUMBER_WORDS[count.number] if count.number < len(_NUMBER_WORDS) else str(count.number)
    return f"{word} {_say_thing(count.thing, voice, count.number)}"


def _article(phrase: str) -> str:
    return ("an " if phrase[0] in "aeiou" else "a ") + phrase


def _say_relations(description: Description, groups: Sequence[Count], voice: _Voice, may_be_noun: bool) -> str:
    """Relations as clauses; a pair alone may stay a noun phrase, a chain goes on with "which is"."""
    nouns = [_say_thing(thing, voice) for thing in description.things]
    links = [(ends, [r.word for r in links]) for ends, links in groupby(description.relations, _ends)]
    named: set[int] = set()

    def name(index: int) -> str:
        first = index not in named
        named.add(index)
        return _article(nouns[index]) if first else f"the {nouns[index]}"

    rest = [i for i in range(len(nouns)) if all(i not in ends for ends, _ in links)]
    is_noun = may_be_noun and len(links) == 1 and not rest and not groups
    text = ""
    previous: Optional[int] = None
    for (subject, target), words in links:
        if previous is None:
            text = name(subject) + (" " if is_noun else " is ")
        else:
            text += ", which is " if subject == previous else f", and {name(subject)} is "
        text += " and ".join(_RELATION_WORDS[word][voice.choice((0, 1))] for word in words) + " " + name(target)
        previous = target
    extra = _say_parts([description.things[i] for i in rest], groups, voice)
    if not extra:
        return text
    verb = "is" if extra[0].split()[0] in ("a", "an", "one") else "are"
    return f"{text}, and there {verb} also {_say_list(extra)}"


def _ends(relation: Relation) -> tuple[int, int]:
    return relation.subject, relation.target


# --------------------------------------------------------------------------------------------------------- scenes

_CELL = IMAGE_SIDE // 3
_SIDES = {"small": (32, 34, 36), "large": (56, 59, 62)}
_JITTER = {"small": 12, "large": 5}
_FULLEST_WORDS = 32

Fact = tuple[Description, tuple[int, ...]]
"""A description and its mentions."""


def make_scene(seed: int, split: str, index: int) -> Scene:
    """Scene number ``index`` (0 and up) of ``split`` under ``seed`` (any integer).

    The same arguments always give the same scene, and no two splits share a scene, under any seeds. One caption names
    one object or pair and leaves others out, one names every object, and the other three lie between.
    """
    if split not in SPLITS:
        raise ValueError(f"split must be one of {SPLITS}, not {split!r}")
    if index < 0:
        raise ValueError(f"index must be 0 or more, not {index}")
    rng = random.Random(f"lavis_asym scenes {GENERATOR_VERSION} {seed} {split} {index}")
    objects = _draw_objects(rng)
    while _home(objects) != split:
        objects = _draw_objects(rng)
    facts, mentions = zip(*_draw_facts(rng, objects))
    return Scene(
        image_id=f"{split}-{index:05d}",
        objects=objects,
        captions=tuple(say(description) for description in facts),
        mentions=mentions,
        facts=facts,
        background=rng.choice(tuple(BACKGROUNDS)),
    )


def _draw_objects(rng: random.Random) -> tuple[Object, ...]:
    """Two to six objects in reading order, in different cells, no two of the same shape and colour."""
    number = rng.randint(2, 6)
    kinds = rng.sample([(shape, colour) for shape in SHAPES for colour in COLOURS], number)
    cells = sorted(rng.sample(range(len(PLACES)), number))
    return tuple(_draw_object(rng, shape, colour, cell) for (shape, colour), cell in zip(kinds, cells))


def _draw_object(rng: random.Random, shape: str, colour: str, cell: int) -> Object:
    """An object whose box stays in its cell, and overlaps in x (y) any other box of its column (row)."""
    size = rng.choice(SIZES)
    side = rng.choice(_SIDES[size])
    row, column = divmod(cell, 3)
    margin = (IMAGE_SIDE - 3 * _CELL) // 2 + (_CELL - side) // 2
    left = margin + column * _CELL + rng.randint(-_JITTER[size], _JITTER[size])
    top = margin + row * _CELL + rng.randint(-_JITTER[size], _JITTER[size])
    return Object(shape, colour, size, PLACES[cell], (left, top, left + side, top + side))


def _home(objects: Iterable[Object]) -> str:
    """The one split in which this content may appear: eight in ten train, one val, one test."""
    content = repr([[getattr(obj, name) for name in ATTRIBUTES] for obj in objects])
    digest = int(hashlib.sha256(content.encode()).hexdigest(), 16)
    return (*("train",) * 8, "val", "test")[digest % 10]


def _draw_facts(rng: random.Random, objects: Sequence[Object]) -> list[Fact]:
    """Five facts in random order: one short, one fullest, three between, no two alike in content or words."""
    chosen = [_short(rng, objects), _fullest(rng, objects)]
    while len(chosen) < CAPTIONS_PER_SCENE:
        fact = rng.choice((_partial, _partial, _related, _related, _chained, _grouped, _including))(rng, objects)
        if fact and _tells_apart(fact[0]) and not any(_is_alike(fact[0], other) for other, _ in chosen):
            chosen.append(fact)
    rng.shuffle(chosen)
    return chosen


def _tells_apart(description: Description) -> bool:
    """Whether no two things have the same words but for the place ("a square and a square")."""
    return len({replace(thing, place=None) for thing in description.things}) == len(description.things)


def _is_alike(one: Description, other: Description) -> bool:
    return replace(one, wording=other.wording) == other or say(one) == say(other)


def _thing(obj: Object, names: Iterable[str]) -> Thing:
    return Thing(**{name: getattr(obj, name) for name in names})


def _listed(rng: random.Random, objects: Sequence[Object], indices: Sequence[int], names: Iterable[str]) -> Fact:
    """The objects at ``indices`` listed, all with the same attributes."""
    names = tuple(names)
    things = tuple(_thing(objects[i], names) for i in indices)
    return Description(things, wording=rng.getrandbits(16)), tuple(indices)


def _short(rng: random.Random, objects: Sequence[Object]) -> Fact:
    """One object or one pair, others left out."""
    number = 1 if len(objects) == 2 else rng.choice((1, 2))
    names = rng.choice((("shape", "colour"), ("shape", "colour"), ("shape", "colour", "size"), ("shape", "place")))
    return _listed(rng, objects, rng.sample(range(len(objects)), number), names)


def _fullest(rng: random.Random, objects: Sequence[Object]) -> Fact:
    """Every object with shape and colour, and as many sizes and places as ``_FULLEST_WORDS`` words allow."""
    indices = rng.sample(range(len(objects)), len(objects))
    description, mentions = _listed(rng, objects, indices, ("shape", "colour"))
    if rng.random() < 0.4:
        description = replace(description, counts=(Count(len(objects)),))
    details = [(position, name) for position in range(len(indices)) for name in ("size", "place")]
    for position, name in rng.sample(details, len(details)):
        more = _with_detail(description, position, name, objects[indices[position]])
        if len(say(more).split()) <= _FULLEST_WORDS:
            description = more
    return description, mentions


def _with_detail(description: Description, position: int, name: str, obj: Object) -> Description:
    things = list(description.things)
    things[position] = replace(things[position], **{name: getattr(obj, name)})
    return replace(description, things=tuple(things))


def _partial(rng: random.Random, objects: Sequence[Object]) -> Fact:
    """Some of the objects (of two, perhaps both), one of them perhaps in more detail than the others."""
    number = rng.randint(1, 2) if len(objects) == 2 else rng.randint(2, len(objects) - 1)
    indices = rng.sample(range(len(objects)), number)
    names = rng.choice((("shape", "colour"), ("shape", "colour", "size"), ("shape", "size")))
    description, mentions = _listed(rng, objects, indices, names)
    name = rng.choice(("colour", "size", "place", "place"))
    return _with_detail(description, 0, name, objects[indices[0]]), mentions


def _related(rng: random.Random, objects: Sequence[Object]) -> Fact:
    """Two objects and how they lie to each other, perhaps with a third object or the number of all."""
    indices = rng.sample(range(len(objects)), min(len(objects), rng.choice((2, 2, 3))))
    names = rng.choice((("shape", "colour"), ("shape", "colour"), ("shape", "colour", "size"), ("shape",)))
    description, mentions = _listed(rng, objects, indices, names)
    counts = (Count(len(objects)),) if len(objects) > 2 and rng.random() < 0.15 else ()
    return replace(description, relations=_relate(rng, objects, indices, 0, 1), counts=counts), mentions


def _chained(rng: random.Random, objects: Sequence[Object]) -> Optional[Fact]:
    """Three objects, the first related to the second and the second to the third."""
    if len(objects) < 3:
        return None
    indices = rng.sample(range(len(objects)), 3)
    description, mentions = _listed(rng, objects, indices, ("shape", "colour"))
    relations = _relate(rng, objects, indices, 0, 1) + _relate(rng, objects, indices, 1, 2)
    return replace(description, relations=relations), mentions


def _relate(
    rng: random.Random, objects: Sequence[Object], indices: Sequence[int], subject: int, target: int
) -> tuple[Relation, ...]:
    """One or all of the true relations between two things, given by position in ``indices``."""
    boxes = objects[indices[subject]].box, objects[indices[target]].box
    words = [word for word, is_true in RELATIONS.items() if is_true(*boxes)]
    kept = rng.choice((words, [rng.choice(words)]))
    return tuple(Relation(subject, word, target) for word in kept)


def _grouped(rng: random.Random, objects: Sequence[Object]) -> Optional[Fact]:
    """All objects that share a shape, colour or size, counted, with at most one other object; some left out."""
    patterns = sorted({(name, getattr(obj, name)) for obj in objects for name in ("shape", "colour", "size")})
    groups = [(Thing(**{name: value}), _members(objects, name, value)) for name, value in patterns]
    groups = [(thing, members) for thing, members in groups if 2 <= len(members) < len(objects)]
    if not groups:
        return None
    thing, members = rng.choice(groups)
    others = [i for i in range(len(objects)) if i not in members]
    description, mentions = _listed(rng, objects, rng.sample(others, rng.choice((0, 1))), ("shape", "colour"))
    return replace(description, counts=(Count(len(members), thing),)), mentions + members


def _members(objects: Sequence[Object], name: str, value: str) -> tuple[int, ...]:
    return tuple(i for i, obj in enumerate(objects) if getattr(obj, name) == value)


def _including(rng: random.Random, objects: Sequence[Object]) -> Optional[Fact]:
    """The number of all objects, and one or two of them named."""
    if len(objects) < 3:
        return None
    indices = rng.sample(range(len(objects)), rng.choice((1, 2)))
    names = rng.choice((("shape", "colour"), ("shape", "colour", "size"), ("shape", "colour", "place")))
    description, mentions = _listed(rng, objects, indices, names)
    return replace(description, counts=(Count(len(objects)),)), mentions


# --------------------------------------------------------------------------------------------------------- images

_OUTLINE = (70, 70, 70)
_SUPERSAMPLING = 4
_UNIT = 1000

# Outlines in thousandths of the box side, x to the right and y down.
_POLYGONS: Mapping[str, tuple[tuple[int, int], ...]] = {
    "square": ((50, 50), (950, 50), (950, 950), (50, 950)),
    "triangle": ((500, 30), (1000, 930), (0, 930)),
    "diamond": ((500, 0), (870, 500), (500, 1000), (130, 500)),
    "arrow": ((0, 340), (500, 340), (500, 80), (1000, 500), (500, 920), (500, 660), (0, 660)),
    "cross": (
        *((330, 0), (670, 0), (670, 330), (1000, 330), (1000, 670), (670, 670)),
        *((670, 1000), (330, 1000), (330, 670), (0, 670), (0, 330), (330, 330)),
    ),
    "star": (
        *((500, 0), (639, 334), (999, 363), (725, 598), (809, 950)),
        *((500, 761), (191, 950), (275, 598), (1, 363), (361, 334)),
    ),
    "heart": ((75, 491), (268, 320), (732, 320), (925, 491), (500, 970)),
}
# Discs as (centre x, centre y, radius, 255 to add or 0 to take away), drawn after the polygon.
_DISCS: Mapping[str, tuple[tuple[int, int, int, int], ...]] = {
    "circle": ((500, 500, 500, 255),),
    "ring": ((500, 500, 500, 255), (500, 500, 255, 0)),
    "crescent": ((500, 500, 500, 255), (720, 500, 400, 0)),
    "heart": ((268, 320, 258, 255), (732, 320, 258, 255)),
}


def render(scene: Scene) -> Image.Image:
    """The scene as an RGB image, 224 by 224, every object in its flat colour with a thin grey outline."""
    image = Image.new("RGB", (IMAGE_SIDE, IMAGE_SIDE), BACKGROUNDS[scene.background])
    for obj in scene.objects:
        whole, inside = _masks(obj.shape, obj.box[2] - obj.box[0])
        image.paste(_OUTLINE, obj.box, whole)
        image.paste(COLOURS[obj.colour], obj.box, inside)
    return image


@lru_cache(maxsize=None)
def _masks(shape: str, side: int) -> tuple[Image.Image, Image.Image]:
    """Coverage (mode L) of the shape in a box of ``side`` pixels, and of what lies within its outline.

    Drawn at whole supersampled pixels and averaged in integers, so that the platform's rounding plays no part.
    """
    fine = side * _SUPERSAMPLING
    mask = Image.new("L", (fine, fine), 0)
    draw = ImageDraw.Draw(mask)
    if shape in _POLYGONS:
        draw.polygon([(x * fine // _UNIT, y * fine // _UNIT) for x, y in _POLYGONS[shape]], fill=255)
    for x, y, radius, fill in _DISCS.get(shape, ()):
        corners = ((x - radius, y - radius), (x + radius, y + radius))
        draw.ellipse([(a * fine // _UNIT, b * fine // _UNIT) for a, b in corners], fill=fill)
    return mask.reduce(_SUPERSAMPLING), _eroded(mask).reduce(_SUPERSAMPLING)


def _eroded(mask: Image.Image) -> Image.Image:
    """The mask less about one and a half final pixels all round, the box's edge included."""
    width = 6
    framed = Image.new("L", (mask.width + 2 * width, mask.height + 2 * width), 0)
    framed.paste(mask, (width, width))
    for _ in range(width // 2):
        framed = framed.filter(ImageFilter.MinFilter(5))
    return framed.crop((width, width, width + mask.width, width + mask.height))


# ---------------------------------------------------------------------------------------------------------- files

_TABLES = ("train.json", "val.json", "test.json", "truth.json")
_OUR_IMAGE = re.compile(rf"({'|'.join(SPLITS)})-\d{{5,}}\.jpg")
# Full chroma and the integer transform (Pillow's default): libjpeg's vector code is then exact, unlike deflate's.
_JPEG = {"format": "JPEG", "quality": 90, "subsampling": 0, "optimize": False, "progressive": False}


def write_scenes(
    folder: Union[str, Path], seed: int = 0, counts: Mapping[str, int] = DEFAULT_COUNTS, progress: bool = True
) -> bool:
    """Write the data set in LAVIS's retrieval layout; return whether anything had to be written.

    ``counts`` gives the number of images per split (0 and up; a split left out has none). The folder gets
    ``images/*.jpg``, ``train.json`` (a record per caption), ``val.json`` and ``test.json`` (a record per image),
    ``truth.json`` (see :func:`read_truth`) and, last, ``done.json`` with a sha256 over all of them. A folder whose
    ``done.json`` tells of these very arguments, and whose files still have that sha256, is left as it is; any other
    is written again, and images of an earlier set are removed. Every file appears whole or not at all, so several
    processes may write the same set at once. ``progress`` shows a bar on stderr, and needs tqdm.
    """
    folder = Path(folder)
    wanted = {split: counts.get(split, 0) for split in SPLITS}
    if set(counts) - set(SPLITS) or min(wanted.values()) < 0:
        raise ValueError(f"counts must give numbers from 0 up for splits among {SPLITS}, not {dict(counts)}")
    names = [_image_name(f"{split}-{index:05d}") for split in SPLITS for index in range(wanted[split])]
    done = {"generator": GENERATOR_VERSION, "seed": seed, "counts": wanted}
    if _is_whole(folder, done, names):
        return False
    (folder / "images").mkdir(parents=True, exist_ok=True)
    (folder / "done.json").unlink(missing_ok=True)
    _remove_others(folder / "images", names)
    scenes = []
    for scene in _with_bar(seed, wanted, progress):
        scenes.append(scene)
        _write_image(folder / "images" / _image_name(scene.image_id), render(scene))
    for name, content in _tables(scenes).items():
        _write_json(folder / name, content)
    _write_json(folder / "done.json", {**done, "pillow": PIL.__version__, "sha256": _digest(folder, names)})
    return True


def read_truth(folder: Union[str, Path]) -> dict[str, Scene]:
    """The scenes of a written folder by ``image_id``, equal to those of :func:`make_scene`."""
    records = json.loads((Path(folder) / "truth.json").read_bytes())
    return {image_id: _scene_from_record(image_id, record) for image_id, record in records.items()}


def _image_name(image_id: str) -> str:
    return f"{image_id}.jpg"


def _is_whole(folder: Path, done: Mapping[str, Any], names: Iterable[str]) -> bool:
    """Whether ``done.json`` records these arguments and every file is as it was when that was written."""
    try:
        recorded = dict(json.loads((folder / "done.json").read_bytes()))
        same = all(recorded.get(key) == value for key, value in done.items())
        return same and recorded.get("sha256") == _digest(folder, names)
    except (FileNotFoundError, NotADirectoryError, TypeError, ValueError):
        return False


def _digest(folder: Path, names: Iterable[str]) -> str:
    """A sha256 over the name, length and bytes of every file but ``done.json``."""
    digest = hashlib.sha256()
    for name in (*_TABLES, *(f"images/{name}" for name in names)):
        content = (folder / name).read_bytes()
        digest.update(f"{name} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()


def _remove_others(images: Path, names: Iterable[str]) -> None:
    """Remove images of an earlier set that are not among ``names``; files of other naming stay."""
    for name in set(os.listdir(images)) - set(names):
        if _OUR_IMAGE.fullmatch(name):
            (images / name).unlink(missing_ok=True)


def _with_bar(seed: int, counts: Mapping[str, int], progress: bool) -> Iterator[Scene]:
    scenes = (make_scene(seed, split, index) for split in SPLITS for index in range(counts[split]))
    if not progress:
        return scenes
    from tqdm import tqdm

    return iter(tqdm(scenes, total=sum(counts.values()), desc="scenes", unit="image"))


def _write_image(path: Path, image: Image.Image) -> None:
    buffer = io.BytesIO()
    image.save(buffer, **_JPEG)
    _write_whole(path, buffer.getvalue())


def _write_json(path: Path, content: Any) -> None:
    _write_whole(path, (json.dumps(content) + "\n").encode("ascii"))


def _write_whole(path: Path, content: bytes) -> None:
    """Write beside ``path`` and rename, so that the file is never seen in part."""
    beside = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        beside.write_bytes(content)
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def _tables(scenes: Sequence[Scene]) -> dict[str, Any]:
    """What each of ``_TABLES`` holds."""
    by_split = {split: [scene for scene in scenes if scene.image_id.startswith(split)] for split in SPLITS}
    return {
        "train.json": [
            {"image": _image_name(scene.image_id), "caption": caption, "image_id": scene.image_id}
            for scene in by_split["train"]
            for caption in scene.captions
        ],
        **{
            f"{split}.json": [
                {"image": _image_name(scene.image_id), "caption": list(scene.captions), "image_id": scene.image_id}
                for scene in by_split[split]
            ]
            for split in ("val", "test")
        },
        "truth.json": {scene.image_id: _record_from_scene(scene) for scene in scenes},
    }


def _record_from_scene(scene: Scene) -> dict[str, Any]:
    """The scene as JSON values, its ``image_id`` left to be the key; attributes a thing is silent on are left out."""
    return {
        "background": scene.background,
        "objects": [asdict(obj) for obj in scene.objects],
        "captions": scene.captions,
        "mentions": scene.mentions,
        "facts": [
            {
                "things": [_record_from_thing(thing) for thing in facts.things],
                "relations": [asdict(relation) for relation in facts.relations],
                "counts": [{"number": c.number, "thing": _record_from_thing(c.thing)} for c in facts.counts],
                "wording": facts.wording,
            }
            for facts in scene.facts
        ],
    }


def _record_from_thing(thing: Thing) -> dict[str, str]:
    return {name: value for name, value in asdict(thing).items() if value is not None}


def _scene_from_record(image_id: str, record: Mapping[str, Any]) -> Scene:
    return Scene(
        image_id=image_id,
        objects=tuple(Object(**{**obj, "box": tuple(obj["box"])}) for obj in record["objects"]),
        captions=tuple(record["captions"]),
        mentions=tuple(tuple(indices) for indices in record["mentions"]),
        facts=tuple(
            Description(
                things=tuple(Thing(**thing) for thing in facts["things"]),
                relations=tuple(Relation(**relation) for relation in facts["relations"]),
                counts=tuple(Count(count["number"], Thing(**count["thing"])) for count in facts["counts"]),
                wording=facts["wording"],
            )
            for facts in record["facts"]
        ),
        background=record["background"],
    )

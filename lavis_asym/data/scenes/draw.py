"""Scenes and their captions, drawn from a seed."""

import hashlib
import random
from dataclasses import replace
from typing import Iterable, List, Optional, Sequence, Tuple

from lavis_asym.data.scenes.truth import (
    ATTRIBUTES,
    BACKGROUNDS,
    COLOURS,
    IMAGE_SIDE,
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
)
from lavis_asym.data.scenes.words import say

GENERATOR_VERSION = 1
"""Raised whenever the same seed would give other files; folders of another version are written again."""

CAPTIONS_PER_SCENE = 5
_CELL = IMAGE_SIDE // 3
_SIDES = {"small": (32, 34, 36), "large": (56, 59, 62)}
_JITTER = {"small": 12, "large": 5}
_FULLEST_WORDS = 32

Fact = Tuple[Description, Tuple[int, ...]]
"""A description and its mentions."""


def make_scene(seed: int, split: str, index: int) -> Scene:
    """Scene number `index` (0 and up) of `split` under `seed` (any integer).

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


def _draw_objects(rng: random.Random) -> Tuple[Object, ...]:
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


def _draw_facts(rng: random.Random, objects: Sequence[Object]) -> List[Fact]:
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
    """The objects at `indices` listed, all with the same attributes."""
    names = tuple(names)
    things = tuple(_thing(objects[i], names) for i in indices)
    return Description(things, wording=rng.getrandbits(16)), tuple(indices)


def _short(rng: random.Random, objects: Sequence[Object]) -> Fact:
    """One object or one pair, others left out."""
    number = 1 if len(objects) == 2 else rng.choice((1, 2))
    names = rng.choice((("shape", "colour"), ("shape", "colour"), ("shape", "colour", "size"), ("shape", "place")))
    return _listed(rng, objects, rng.sample(range(len(objects)), number), names)


def _fullest(rng: random.Random, objects: Sequence[Object]) -> Fact:
    """Every object with shape and colour, and as many sizes and places as `_FULLEST_WORDS` words allow."""
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
) -> Tuple[Relation, ...]:
    """One or all of the true relations between two things, given by position in `indices`."""
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


def _members(objects: Sequence[Object], name: str, value: str) -> Tuple[int, ...]:
    return tuple(i for i, obj in enumerate(objects) if getattr(obj, name) == value)


def _including(rng: random.Random, objects: Sequence[Object]) -> Optional[Fact]:
    """The number of all objects, and one or two of them named."""
    if len(objects) < 3:
        return None
    indices = rng.sample(range(len(objects)), rng.choice((1, 2)))
    names = rng.choice((("shape", "colour"), ("shape", "colour", "size"), ("shape", "colour", "place")))
    description, mentions = _listed(rng, objects, indices, names)
    return replace(description, counts=(Count(len(objects)),)), mentions

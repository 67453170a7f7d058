"""Type I by rearrangement, addition and negation: the words are the caption's own, what they say is not.

Every function is a text operator `f(caption, rng, context) -> str | None`; None means not applicable.
"""

import random
from typing import List, Optional, Sequence, Tuple

from lavis_asym.asymmetry.draws import pick
from lavis_asym.asymmetry.lexicon import SINGULAR, article, lexicon
from lavis_asym.asymmetry.parse import MODIFIERS, NOMINAL, PUNCTUATION, Context, Parse, Unit, kind_at, parse
from lavis_asym.asymmetry.text import in_case, normalise

# Between these, two things may change places and nothing is said anew ("a man and a dog", "a house next to a tree").
SYMMETRIC = (
    "and, or, with, next to, beside, near, by, close to, alongside, between, around, of, while, among, along, as"
).split(", ")
ADDED = ("animal", "vehicle", "furniture", "sport_item", "structure")
SHUFFLES = 8
NOT_A_THING = ("picture", "side", "distance", "sky", "line", "space", "ground")


def swap_objects(caption: str, rng: random.Random, context: Context) -> Optional[str]:
    """From "a cat on a table" to "a table on a cat": two things around a relation that has a direction."""
    parsed = parse(caption)
    units = parsed.units[: parsed.negation]
    nouns = [i for i, unit in enumerate(units) if unit.kind == "noun" and _is_thing(parsed, i)]
    pairs = [
        (i, j)
        for i, j in zip(nouns, nouns[1:])
        if _number(units[i]) == _number(units[j]) != "" and _directed(parsed, i, j)
    ]
    if not pairs:
        return None
    i, j = rng.choice(pairs)
    return parsed.render({i: in_case(units[j].lower, units[i].text), j: in_case(units[i].lower, units[j].text)})


def swap_attributes(caption: str, rng: random.Random, context: Context) -> Optional[str]:
    """From "a red bus and a white car" to "a white bus and a red car": two attributes of one kind and of two things."""
    parsed = parse(caption)
    units = parsed.units
    pairs = [
        (i, j)
        for kind in ("colour", "size", "material", "number")
        for i, j in _neighbours([i for i, unit in enumerate(units[: parsed.negation]) if unit.kind == kind])
        if not _alike(units[i].lower, units[j].lower)
        and _described(units, i) not in (None, j)
        and _described(units, j) is not None
        and _described(units, i) < j
        and units[_described(units, i)].lower != units[_described(units, j)].lower
    ]
    if not pairs:
        return None
    i, j = rng.choice(pairs)
    return parsed.render({i: in_case(units[j].lower, units[i].text), j: in_case(units[i].lower, units[j].text)})


def add_object(caption: str, rng: random.Random, context: Context) -> Optional[str]:
    """From "a dog on a bench" to "a dog on a bench next to a camel": a thing that no caption names."""
    parsed = parse(caption)
    last = len(parsed.units) - 1
    while last > 0 and parsed.units[last].kind == PUNCTUATION:
        last -= 1
    if last < parsed.answer or kind_at(parsed.units, last) not in (*NOMINAL, "adverb", "verb", "pronoun", "action"):
        return None
    if parsed.negation < len(parsed.units):
        return None
    added = pick(lexicon().substitutes[rng.choice(ADDED), SINGULAR, ""], rng, context.may_name)
    if added is None:
        return None
    name = added.head
    template = rng.choice(("{} with {} {} nearby", "{} next to {} {}"))
    end = parsed.units[last].text
    return parsed.render({last: template.format(end, article(name), name)})


def negate(caption: str, rng: random.Random, context: Context) -> Optional[str]:
    """From "There are two boats" to "There are no boats"; the last resort, for every caption that has a word."""
    parsed = parse(caption)
    units = parsed.units
    if not any(unit.kind != PUNCTUATION for unit in units):
        return None
    start = parsed.answer
    negative = next((i for i in range(start, len(units)) if units[i].lower in ("no", "not")), None)
    if negative is not None:
        return parsed.render({negative: "some" if units[negative].lower == "no" else None}) or None
    if start:
        return _negated_answer(parsed, start)
    for i, unit in enumerate(units):
        if unit.lower in ("there is", "there are", "there") or not i:
            following = i + 1 if unit.lower.startswith("there") else i
            if following < len(units) and units[following].kind in ("determiner", "number", "many"):
                return parsed.render({following: in_case("no", units[following].text)})
        if unit.lower in ("is", "are", "was", "were", "this is", "it is"):
            return parsed.render({i: f"{unit.text} not"})
    first = units[0]
    return parsed.render({0: in_case("no", first.text) + " " + first.text[:1].lower() + first.text[1:]})


def _negated_answer(parsed: Parse, start: int) -> Optional[str]:
    first = parsed.units[start]
    if first.kind == "nobody":
        return parsed.render({start: in_case("somebody", first.text)})
    return parsed.render({start: f"Not {first.text[:1].lower()}{first.text[1:]}"})


def shuffle_words(caption: str, rng: random.Random, context: Context) -> Optional[str]:
    """The words in another order, before encoding: the authors' operator, ungrammatical by design."""
    tokens = parse(caption).text.split()
    shuffled = tokens[:]
    for _ in range(SHUFFLES):
        rng.shuffle(shuffled)
        if normalise(" ".join(shuffled)) != normalise(caption):
            return " ".join(shuffled)
    return None


def _is_thing(parsed: Parse, i: int) -> bool:
    units = parsed.units
    noun = units[i].reading("noun")
    alone = kind_at(units, i + 1) not in NOMINAL and kind_at(units, i - 1) not in NOMINAL
    return alone and noun is not None and noun.concept is not None and noun.concept.head not in NOT_A_THING


def _number(unit: Unit) -> str:
    return unit.reading("noun").number


def _directed(parsed: Parse, i: int, j: int) -> bool:
    """Whether a directed relation, and nothing else, stands between the noun phrases that end at i and at j."""
    units = parsed.units
    a, b = units[i].reading("noun").concept, units[j].reading("noun").concept
    between = [unit for unit in units[i + 1 : j] if unit.kind not in ("determiner", "number", "many", *MODIFIERS)]
    if a.head in b.words or b.head in a.words or not between or units[0].lower in ("who", "who's"):
        return False
    if any(unit.lower in SYMMETRIC or unit.kind in ("conjunction", "clause") for unit in between):
        return False
    if any(unit.kind == PUNCTUATION and unit.text != "?" for unit in between):
        return False
    return any(unit.kind in ("preposition", "relation", "action", "verb") for unit in between)


def _alike(one: str, other: str) -> bool:
    alike = lexicon().alike
    return one == other or one in alike.get(other, ()) or other in alike.get(one, ())


def _neighbours(places: Sequence[int]) -> List[Tuple[int, int]]:
    return list(zip(places, places[1:]))


def _described(units: Sequence[Unit], i: int) -> Optional[int]:
    """The noun that the attribute at i stands before."""
    i += 1
    while kind_at(units, i) in MODIFIERS:
        i += 1
    return i if kind_at(units, i) in NOMINAL else None

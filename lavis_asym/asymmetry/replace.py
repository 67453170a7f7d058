"""Type I by replacement: one detail becomes a plausible other that no caption of the image mentions.

Every function is a text operator `f(caption, rng, context) -> str | None`; None means not applicable.
"""

import random
from typing import Dict, List, Optional, Sequence, Tuple

from lavis_asym.asymmetry.draws import pick, shuffled
from lavis_asym.asymmetry.lexicon import PLURAL, SINGULAR, article, lexicon
from lavis_asym.asymmetry.parse import MODIFIERS, NOMINAL, PUNCTUATION, Context, Parse, Unit, kind_at, parse
from lavis_asym.asymmetry.text import in_case

OF_THE_LIVING, NOT_OF_THE_LIVING = ("young", "elderly"), ("new",)
PLACES = ("room", "site", "way", "ground", "water_body")
Places = List[Tuple[int, Sequence[str]]]  # unit -> what may stand in its place


def replace_colour(caption: str, rng: random.Random, context: Context) -> Optional[str]:
    """From "a red bus" to "a blue bus"."""
    return _attribute("colour", caption, rng, context)


def replace_size(caption: str, rng: random.Random, context: Context) -> Optional[str]:
    """From "a small dog" to "a large dog"."""
    return _attribute("size", caption, rng, context)


def replace_material(caption: str, rng: random.Random, context: Context) -> Optional[str]:
    """From "a wooden table" to "a plastic table"."""
    return _attribute("material", caption, rng, context)


def replace_state(caption: str, rng: random.Random, context: Context) -> Optional[str]:
    """Age, shape, order, density and the like: "an old man" -> "a young man"."""
    return _attribute("state", caption, rng, context)


def replace_number(caption: str, rng: random.Random, context: Context) -> Optional[str]:
    """From "two dogs" to "five dogs"; always more than there are, or few in the place of many."""
    units = parse(caption).units
    places = [(i, _substitutes(units, i, u.kind)) for i, u in enumerate(units) if _counts(units, i)]
    return _one_of(caption, rng, context, places)


def replace_action(caption: str, rng: random.Random, context: Context) -> Optional[str]:
    """From "a man riding a horse" to "a man washing a horse"."""
    units = parse(caption).units
    places = [(i, _substitutes(units, i, "action")) for i, u in enumerate(units) if u.kind == "action"]
    return _one_of(caption, rng, context, places)


def replace_relation(caption: str, rng: random.Random, context: Context) -> Optional[str]:
    """From "behind the house" to "in front of the house"."""
    units = parse(caption).units
    places = [(i, _substitutes(units, i, "relation")) for i in range(len(units)) if _relates(units, i)]
    return _one_of(caption, rng, context, places)


def replace_gender(caption: str, rng: random.Random, context: Context) -> Optional[str]:
    """From "a man and his dog" to "a woman and her dog": all such words, where the captions know one gender."""
    female, male = lexicon().female, lexicon().male
    is_female, is_male = (not context.words.isdisjoint(side) for side in (female, male))
    if is_female == is_male:
        return None
    parsed, other = parse(caption), female if is_female else male
    if parsed.negation < len(parsed.units):
        return None
    changes = {
        i: in_case(_counterpart(parsed.units, i, other), unit.text)
        for i, unit in enumerate(parsed.units)
        if unit.lower in other
    }
    return parsed.render(changes) if changes else None


def replace_object(caption: str, rng: random.Random, context: Context) -> Optional[str]:
    """From "a dog on a couch" to "a horse on a couch": another thing of the same class, in the same number."""
    parsed = parse(caption)
    for i in shuffled([i for i, unit in enumerate(parsed.units[: parsed.negation]) if unit.kind == "noun"], rng):
        noun = parsed.units[i].reading("noun")
        if noun.concept is not None and noun.number and _stands_alone(parsed, i):
            preposition = _preposition(parsed.units, i) if noun.group in PLACES else ""
            others = lexicon().substitutes[noun.concept.group, noun.number, preposition]
            other = pick(others, rng, context.may_name)
            if other is not None:
                return parsed.render({i: in_case(other.form(noun.number), parsed.units[i].text)})
    return None


def replace_answer(caption: str, rng: random.Random, context: Context) -> Optional[str]:
    """From "Where is the dog? On the bench." to "... In the kitchen."; a person for "Nobody", and reversely."""
    parsed = parse(caption)
    start = parsed.answer
    if not start:
        return None
    question, answer = parsed.units[:start], parsed.units[start:]
    if question[0].lower == "where":
        new = _where(rng, context)
    elif question[0].lower in ("who", "who's"):
        new = _who(answer, rng, context)
    else:
        return None
    if new is None:
        return None
    return parsed.render({start: new, **{start + i: None for i in range(1, len(answer))}})


def _where(rng: random.Random, context: Context) -> Optional[str]:
    group, preposition = rng.choice((("room", "in"), ("site", "in"), ("site", "at"), ("way", "on"), ("ground", "on")))
    place = pick(lexicon().substitutes[group, SINGULAR, preposition], rng, context.may_name)
    if place is None:
        return None
    determiner = rng.choice(("the", article(place.head)))
    return f"{preposition.capitalize()} {determiner} {place.head}"


def _who(answer: Sequence[Unit], rng: random.Random, context: Context) -> Optional[str]:
    if any(unit.kind == "nobody" or unit.lower in ("no", "not") for unit in answer):
        people = [
            p for p in ("A man", "A woman", "Two boys", "A little girl", "Three men", "An old lady") if _new(p, context)
        ]
        return rng.choice(people) if people else None
    if any(unit.kind == "noun" for unit in answer) and context.words.isdisjoint(("nobody", "noone")):
        return rng.choice(("Nobody", "No one"))
    return None


def _new(phrase: str, context: Context) -> bool:
    return context.words.isdisjoint(phrase.lower().split()[1:])


def _attribute(kind: str, caption: str, rng: random.Random, context: Context) -> Optional[str]:
    units = parse(caption).units
    places = [(i, _substitutes(units, i, kind)) for i, u in enumerate(units) if u.kind == kind and _describes(units, i)]
    return _one_of(caption, rng, context, places)


def _one_of(caption: str, rng: random.Random, context: Context, places: Places) -> Optional[str]:
    """One unit replaced by one of its substitutes that no caption mentions.

    Not behind a denial: "no cars on the road" and "no boats on the road" can both be true.
    """
    parsed = parse(caption)
    for i, substitutes in shuffled([(i, words) for i, words in places if i < parsed.negation], rng):
        word = pick(substitutes, rng, context.may_bring_in)
        if word is not None:
            changes = {i: in_case(word, parsed.units[i].text)}
            if word == "without" and i + 1 < len(parsed.units) and parsed.units[i + 1].lower in ("some", "a few"):
                changes[i + 1] = "any"
            return parsed.render(changes)
    return None


def _substitutes(units: Sequence[Unit], i: int, kind: str) -> Sequence[str]:
    """The substitutes of all readings of this kind: "short" stands against "tall" and against "long"."""
    unfit = NOT_OF_THE_LIVING if _is_living(units, i + 1) else OF_THE_LIVING
    return [
        word
        for reading in units[i].readings
        if reading.kind == kind
        for word in reading.substitutes
        if word not in unfit
    ]


def _is_living(units: Sequence[Unit], i: int) -> bool:
    """Whether the noun phrase that goes on at i is of a person or an animal."""
    while kind_at(units, i) in MODIFIERS:
        i += 1
    noun = units[i].reading("noun") if i < len(units) else None
    return noun is not None and noun.group in ("role", "animal")


def _describes(units: Sequence[Unit], i: int) -> bool:
    """Whether the attribute at i belongs to a thing of the photo: before a noun, or behind what is said of one."""
    following, previous = kind_at(units, i + 1), kind_at(units, i - 1)
    if units[i].kind == "colour" == following or units[i].kind == "colour" == previous:
        return False  # "emerald green"
    if units[i].kind in ("size", "material"):
        return following in (*NOMINAL, *MODIFIERS) and previous != "adverb"
    return (
        following in (*NOMINAL, *MODIFIERS, PUNCTUATION, "preposition", "conjunction", "relation")
        and previous != "preposition"
    )


def _counts(units: Sequence[Unit], i: int) -> bool:
    if units[i].kind == "many":
        return kind_at(units, i - 1) in (PUNCTUATION, "preposition", "link", "verb", "action")
    return (
        units[i].kind == "number"
        and kind_at(units, i + 1) in (*NOMINAL, *MODIFIERS)
        and not (i and units[i - 1].lower == "another")
    )


def _relates(units: Sequence[Unit], i: int) -> bool:
    """Whether the relation at i has two sides: it does not follow a verb that needs it, and something follows it."""
    if units[i].kind != "relation" and not (units[i].reading("relation") and units[i].kind == "preposition"):
        return False
    if units[i].lower.startswith(("in the", "on the", "at the", "to the")) and not units[i].lower.endswith("of"):
        return True  # "in the background"
    if units[i].lower in ("with", "without") and (kind_at(units, i - 1) == "verb" or _reads(units, i + 1, "no")):
        return False  # "surrounded with", "with no"
    if units[i].lower == "with" and i and _is_plural(units[i - 1]):
        return False  # "some houses with a pool" and "some houses without a pool" can both be true
    return kind_at(units, i + 1) in (*NOMINAL, *MODIFIERS, "determiner", "number", "many", "pronoun")


def _is_plural(unit: Unit) -> bool:
    noun = unit.reading("noun")
    return noun is not None and noun.number == PLURAL


def _reads(units: Sequence[Unit], i: int, word: str) -> bool:
    return i < len(units) and units[i].lower == word


def _stands_alone(parsed: Parse, i: int) -> bool:
    """Whether the noun at i is the head of a whole noun phrase: no part of a compound, not bare ("grass and sand")."""
    units = parsed.units
    compound = kind_at(units, i + 1) in NOMINAL or kind_at(units, i - 1) in NOMINAL
    bare = i and units[i].reading("noun").number == SINGULAR and units[i - 1].lower in ("and", "with", "of", "to", "by")
    return not compound and not bare


def _preposition(units: Sequence[Unit], i: int) -> str:
    """The preposition in, on or at that the noun phrase of the noun at i follows, or ""."""
    while i and units[i - 1].kind in ("determiner", *MODIFIERS):
        i -= 1
    return units[i - 1].lower if i and units[i - 1].lower in ("in", "on", "at") else ""


def _counterpart(units: Sequence[Unit], i: int, other: Dict[str, str]) -> str:
    if units[i].lower == "her" and kind_at(units, i + 1) not in (*NOMINAL, *MODIFIERS):
        return "him"
    return other[units[i].lower]

"""Type II: texts that say less. Whatever is left is said by the caption, so it is true of the photo.

Every function is a text operator `f(caption, rng, context) -> str | None`; None means not applicable. What stands
behind a word of `scope` ("no", "only", "every") is never cut: "no cars on the road" does not say "no cars".
"""

import random
from typing import List, Optional, Sequence, Tuple

from lavis_asym.asymmetry.lexicon import SINGULAR, lexicon
from lavis_asym.asymmetry.parse import MODIFIERS, NOMINAL, PUNCTUATION, Context, Parse, Unit, kind_at, parse

JOINING = ("preposition", "relation", "conjunction", "clause")
# Units that a text may not end in, because they announce another.
ANNOUNCING = ("determiner", *JOINING, "link", "question", "many", "number", *MODIFIERS)
SAYING = (*NOMINAL, "nobody", "action", "verb")
COMPLEMENTS = "of to between as than like from into by for".split()  # what follows them is not dropped
SHARED = ("with", "of", "by", "surrounded by", "there is", "there are")  # before both sides of an "and"
PHOTOGRAPHING = ("took", "take", "takes", "taking", "taken", "captured", "shot")


def first_half(caption: str, rng: random.Random, context: Context) -> Optional[str]:
    """The first half of the words (the authors' operator), cut back to, or led on to, the end of a phrase."""
    parsed = parse(caption)
    places = [i for i, unit in enumerate(parsed.units) if unit.kind != PUNCTUATION]
    half = (len(places) + 1) // 2
    if not places or half == len(places):
        return None
    middle = places[half - 1] + 1
    ends = _ends(parsed)
    before = [end for end in ends if end <= middle]
    after = [end for end in ends if end > middle]
    return _upto(parsed, before[-1] if before else after[0]) if ends else _answer_alone(parsed)


def cut_at_phrase(caption: str, rng: random.Random, context: Context) -> Optional[str]:
    """Everything behind the end of some phrase is cut off."""
    parsed = parse(caption)
    ends = _ends(parsed)
    return _upto(parsed, rng.choice(ends)) if ends else _answer_alone(parsed)


def drop_modifiers(caption: str, rng: random.Random, context: Context) -> Optional[str]:
    """From "a small white dog" to "a white dog", or "a dog": one modifier or all of them."""
    parsed = parse(caption)
    units = parsed.units
    places = [i for i, unit in enumerate(units) if _is_free_modifier(parsed, i)]
    if not places:
        return None
    dropped = places if rng.random() < 0.5 else [rng.choice(places)]
    return parsed.render(dict.fromkeys(dropped))


def drop_phrase(caption: str, rng: random.Random, context: Context) -> Optional[str]:
    """From "a man in a hat is eating" to "a man is eating": one prepositional phrase that hangs on a noun."""
    parsed = parse(caption)
    spans = [span for i in range(1, len(parsed.units)) for span in _phrase(parsed, i)]
    if not spans:
        return None
    start, stop = rng.choice(spans)
    return parsed.render(dict.fromkeys(range(start, stop)))


def drop_conjunct(caption: str, rng: random.Random, context: Context) -> Optional[str]:
    """From "trees and houses" to "trees", or "houses"."""
    parsed = parse(caption)
    spans = [span for i, unit in enumerate(parsed.units) if unit.lower == "and" for span in _conjuncts(parsed, i)]
    if not spans:
        return None
    start, stop = rng.choice(spans)
    return parsed.render(dict.fromkeys(range(start, stop)))


def keep_phrase(caption: str, rng: random.Random, context: Context) -> Optional[str]:
    """From "There is a piece of farmland" to "A piece of farmland": one noun phrase that names a thing."""
    parsed = parse(caption)
    units = parsed.units
    spans = []
    total = sum(unit.kind != PUNCTUATION for unit in units)
    for i, unit in enumerate(units):
        if unit.kind == "noun" and kind_at(units, i + 1) not in NOMINAL and not parsed.scoped(i, i):
            start = _noun_phrase_start(units, i)
            if unit.lower not in lexicon().closed["picture"] and i - start + 1 < total:
                spans.append((start, i + 1))
    if not spans:
        return None
    start, stop = rng.choice(spans)
    outside = (i for i in range(len(units)) if not start <= i < stop)
    return parsed.render(dict.fromkeys(outside))


def _ends(parsed: Parse) -> List[int]:
    """Where the caption can be cut off: behind each phrase but the last."""
    units, ends = parsed.units, []
    says = False  # whether what stands so far of the sentence says anything of the photo
    last = max((i for i, unit in enumerate(units) if unit.kind != PUNCTUATION), default=0)
    for i, unit in enumerate(units[:last]):
        says = says and i != parsed.answer or unit.kind in SAYING and unit.lower not in lexicon().closed["picture"]
        following = units[i + 1]
        if not says or unit.kind in ANNOUNCING:
            continue
        if unit.text == "?" and parsed.answer == i + 1:
            ends.append(i + 1)
        elif unit.kind != PUNCTUATION and _begins_phrase(following) and not parsed.scoped(i, i + 1):
            listed = any(other.text == "," for other in units[:i])  # "apples, oranges and bananas"
            if following.kind != "conjunction" or unit.kind != "word" and not listed:  # "salt and pepper shakers"
                ends.append(i + 1)
    return ends


def _answer_alone(parsed: Parse) -> Optional[str]:
    """From "Where was the photo taken? On the beach." to "On the beach". Who took a photo does not show in it."""
    if not parsed.answer:
        return None
    of_photographer = any(unit.lower in PHOTOGRAPHING for unit in parsed.units[: parsed.answer])
    asks_who = parsed.units[0].lower.startswith("who")
    dropped = range(parsed.answer, len(parsed.units)) if of_photographer and asks_who else range(parsed.answer)
    return parsed.render(dict.fromkeys(dropped))


def _begins_phrase(unit: Unit) -> bool:
    if unit.kind == PUNCTUATION:
        return unit.text in ".,;"
    return unit.kind in JOINING and unit.lower not in ("of", "to", "as", "than")


def _upto(parsed: Parse, end: int) -> str:
    return parsed.render(dict.fromkeys(range(end, len(parsed.units))))


def _is_free_modifier(parsed: Parse, i: int) -> bool:
    units = parsed.units
    unit, following, previous = units[i], kind_at(units, i + 1), kind_at(units, i - 1)
    if parsed.scoped(i, i) or previous == "conjunction" or following == "conjunction" and unit.kind != "adverb":
        return False
    if unit.kind == "adverb" or unit.kind == "state" and unit.lower.endswith("ly"):
        return previous in ("verb", "action", *NOMINAL) and following in (PUNCTUATION, *JOINING)
    return unit.kind in MODIFIERS and following in (*NOMINAL, *MODIFIERS) and not unit.lower.endswith(("s", "’"))


def _phrase(parsed: Parse, i: int) -> List[Tuple[int, int]]:
    """The prepositional phrase at i, as the units from i to stop, if it can be dropped."""
    units = parsed.units
    if units[i].kind not in ("preposition", "relation") or units[i].lower in COMPLEMENTS:
        return []
    if kind_at(units, i - 1) not in NOMINAL or parsed.scoped(i, i):
        return []
    stop = _complement_end(units, i)
    if stop == i + 1 or kind_at(units, stop) not in (PUNCTUATION, "link", "conjunction"):
        return []
    if stop < len(units) and units[stop].lower == "and" and not _begins_clause(units, stop + 1):
        return []
    agreeing = ("is", "was") if _is_singular(units[i - 1]) else ("are", "were")
    if kind_at(units, stop) == "link" and units[stop].lower not in agreeing:
        return []
    return [(i, stop)]


def _complement_end(units: Sequence[Unit], i: int) -> int:
    """One past the noun phrase behind the preposition at i and all that hangs on it; i + 1 where there is none."""
    stop = _noun_phrase_end(units, i + 1)
    if stop == i + 1:
        return stop
    while True:
        if kind_at(units, stop) in ("adverb", "verb", "state", "action"):
            stop += 1
        elif kind_at(units, stop) in ("preposition", "relation"):
            behind = _noun_phrase_end(units, stop + 1)
            stop = behind if behind > stop + 1 else stop + 2 if kind_at(units, stop + 1) == "pronoun" else stop + 1
        elif kind_at(units, stop) in (*NOMINAL, "determiner"):
            stop = max(_noun_phrase_end(units, stop), stop + 1)
        else:
            return min(stop, len(units))


def _begins_clause(units: Sequence[Unit], i: int) -> bool:
    """Whether a noun phrase with its verb begins at i."""
    return kind_at(units, _noun_phrase_end(units, i)) == "link"


def _is_singular(unit: Unit) -> bool:
    noun = unit.reading("noun")
    return noun is not None and noun.number == SINGULAR


def _conjuncts(parsed: Parse, i: int) -> List[Tuple[int, int]]:
    """The spans that leave one of the noun phrases around the conjunction at i."""
    units = parsed.units
    stop = _noun_phrase_end(units, i + 1)
    if kind_at(units, i - 1) not in NOMINAL or stop == i + 1 or parsed.scoped(i, i):
        return []
    if kind_at(units, stop) in ("preposition", "adverb") and kind_at(units, stop + 1) == PUNCTUATION:
        stop += 1  # "and some trees beside"
    if kind_at(units, stop) not in (PUNCTUATION, "preposition", "adverb", "relation"):
        return []  # a verb follows, which agrees with both
    start = _noun_phrase_start(units, i - 1)
    if start and units[start - 1].text == ",":
        return []
    shared = start and units[start - 1].lower in SHARED and kind_at(units, stop - 1) in NOMINAL
    while kind_at(units, stop) in ("preposition", "relation"):  # of the second one alone, perhaps
        stop = _complement_end(units, stop)
    return [(i, stop), (start, i + 1)] if shared else [(i, stop)]


def _noun_phrase_start(units: Sequence[Unit], i: int) -> int:
    while i and units[i - 1].kind in (*NOMINAL, *MODIFIERS):
        i -= 1
    while i and units[i - 1].kind in ("determiner", "number", "many"):
        i -= 1
    return i


def _noun_phrase_end(units: Sequence[Unit], i: int) -> int:
    """One past the noun phrase that begins at i; i where none does."""
    stop = i
    while kind_at(units, stop) in ("determiner", "number", "many"):
        stop += 1
    while kind_at(units, stop) in (*NOMINAL, *MODIFIERS):
        stop += 1
    return stop if kind_at(units, stop - 1) in NOMINAL and stop > i else i

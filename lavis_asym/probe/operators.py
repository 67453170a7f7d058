"""Type I operators of the probe's own, which no policy trains on.

As in `asymmetry`, an operator is `f(caption, rng, context) -> str | None`; None means not applicable.
"""

import random
from typing import Callable, Dict, Iterable, List, NamedTuple, Optional, Sequence, Tuple

from lavis_asym.asymmetry.draws import pick
from lavis_asym.asymmetry.lexicon import PLURAL, SINGULAR, Concept, article, lexicon
from lavis_asym.asymmetry.parse import MODIFIERS, NOMINAL, Context, Parse, content_words, kind_at, parse
from lavis_asym.asymmetry.rearrange import ADDED

Operator = Callable[[str, random.Random, Context], Optional[str]]
OWN = ("deny_detail", "lead_with_object", "graft_phrase", "graft_answer")
COUNTING = ("a", "an", "some", "several", "many", "a few", "a pair of", "a couple of", "his", "her", "its", "their")
HAVING = ("with", "and", "has", "have", "wears", "holds", "carrying", "carries")
NEEDED = ("of", "to", "than", "as", "like", "from", "into", "between")  # do not begin a phrase that can be exchanged
UNCLEAR = ("word", "link", "clause", "pronoun", "nobody")  # not in a phrase that is put into another text
POSSIBLE = ("role", "clothing", "body")  # of what may be in a photo and go unsaid: "a man" may be a student
PHRASE_UNITS = 8


def deny_detail(caption: str, rng: random.Random, context: Context) -> Optional[str]:
    """From "a man holding a hat" to "a man holding no hat": a thing that the caption names, but not its first."""
    parsed = parse(caption)
    if parsed.negation < len(parsed.units):
        return None
    places = [i for i in range(_start(parsed) + 2, len(parsed.units)) if _is_detail(parsed, i)]
    return parsed.render({rng.choice(places): "no"}) if places else None


def lead_with_object(caption: str, rng: random.Random, context: Context) -> Optional[str]:
    """From "A dog on a bench" to "A camel and a dog on a bench": a thing that no caption names goes first."""
    parsed = parse(caption)
    units, start = parsed.units, _start(parsed)
    if start and not units[0].lower.startswith("who") or parsed.negation < len(units):
        return None
    if kind_at(units, start) == "link" and units[start].lower == "there is":
        start += 1
    elif any(unit.lower in ("is", "was", "has") for unit in units[start:]):
        return None  # "a camel and a dog is"
    if kind_at(units, start) not in ("determiner", "number", "many"):
        return None
    added = pick(lexicon().substitutes[rng.choice(ADDED), SINGULAR, ""], rng, context.may_name)
    if added is None:
        return None
    first = units[start]
    lead = f"{article(added.head)} {added.head} and {first.lower}"
    return parsed.render({start: lead[0].upper() + lead[1:] if first.text[0].isupper() else lead})


def graft_phrase(captions: Iterable[str]) -> Operator:
    """An operator that gives a caption the end of another photo's: "a man in a kitchen" -> "a man on a surfboard".

    Args:
        captions: of the gallery. Their last phrases are what it draws from, so its words are the data set's own.
    """
    phrases = _phrases([(parsed, place) for parsed in map(parse, captions) for place in _phrase_starts(parsed)])

    def graft_phrase(caption: str, rng: random.Random, context: Context) -> Optional[str]:
        parsed = parse(caption)
        places = _phrase_starts(parsed)
        phrase = pick(phrases, rng, lambda phrase: phrase.is_foreign_to(context)) if places else None
        return None if phrase is None else _with_end(parsed, rng.choice(places), phrase.text)

    return graft_phrase


def graft_answer(captions: Iterable[str]) -> Operator:
    """An operator that gives a question another photo's answer: "Where is the dog? At the airport".

    Args:
        captions: of the gallery, "question? answer" some of them.
    """
    answers: Dict[str, List[Tuple[Parse, int]]] = {}
    for parsed in map(parse, captions):
        if parsed.answer:
            answers.setdefault(parsed.units[0].lower, []).append((parsed, parsed.answer))
    phrases = {question: _phrases(places) for question, places in answers.items()}

    def graft_answer(caption: str, rng: random.Random, context: Context) -> Optional[str]:
        parsed = parse(caption)
        fitting = phrases.get(parsed.units[0].lower, []) if parsed.answer else []
        phrase = pick(fitting, rng, lambda phrase: phrase.is_foreign_to(context))
        return None if phrase is None else _with_end(parsed, parsed.answer, phrase.text)

    return graft_answer


def own_operators(captions: Sequence[str]) -> Dict[str, Operator]:
    """The probe's operators, by the names of OWN; `captions` are all those of the gallery."""
    return dict(zip(OWN, (deny_detail, lead_with_object, graft_phrase(captions), graft_answer(captions))))


class _Phrase(NamedTuple):
    """The end of a caption."""

    text: str
    things: Tuple[Concept, ...]  # that it names

    def is_foreign_to(self, context: Context) -> bool:
        """Whether none of its things and words is known to be in the photo; they would be named if they were."""
        return all(map(context.may_name, self.things)) and content_words(self.text).isdisjoint(context.words)


def _phrases(places: Iterable[Tuple[Parse, int]]) -> List[_Phrase]:
    """The different phrases, of those that begin at these places, of whose words the lexicon knows what they mean."""
    found: Dict[str, _Phrase] = {}
    for parsed, start in places:
        units = parsed.units[start:]
        named = [lexicon().concepts_of.get(unit.lower, ()) for unit in units if unit.kind == "noun"]
        things = tuple(concept for concepts in named for concept in concepts)
        known = all(named) and things and all(unit.kind not in UNCLEAR for unit in units)
        possible = any(concept.common or concept.group in POSSIBLE for concept in things)
        if known and not possible and len(units) <= PHRASE_UNITS and parsed.negation == len(parsed.units):
            text = "".join(unit.gap + unit.text for unit in units).strip()
            found.setdefault(text, _Phrase(text, things))
    return list(found.values())


def _with_end(parsed: Parse, start: int, end: str) -> Optional[str]:
    if parsed.negation < len(parsed.units):
        return None
    return parsed.render({start: end, **dict.fromkeys(range(start + 1, len(parsed.units)))})


def _start(parsed: Parse) -> int:
    """The first unit behind a question; 0 where there is none."""
    return max((i + 1 for i, unit in enumerate(parsed.units) if unit.text == "?"), default=0)


def _is_detail(parsed: Parse, i: int) -> bool:
    """Whether unit i counts a thing that something else has, holds or is named with."""
    units = parsed.units
    unit, before = units[i], units[i - 1]
    if unit.lower not in COUNTING and unit.kind not in ("number", "many"):
        return False
    if kind_at(units, i + 1) not in (*NOMINAL, *MODIFIERS):
        return False
    noun = units[i - 2].reading("noun")
    if before.lower == "with" and noun is not None and noun.number == PLURAL:
        return False  # "some houses with a pool" and "some houses with no pool" can both be true
    return before.kind == "action" or before.lower in HAVING


def _phrase_starts(parsed: Parse) -> List[int]:
    """The units behind a noun at which a prepositional phrase begins."""
    units = parsed.units
    return [
        i
        for i in range(_start(parsed) + 1, len(units) - 1)
        if units[i].kind in ("preposition", "relation")
        and units[i].lower not in NEEDED
        and units[i - 1].kind in NOMINAL
        and not parsed.scoped(i, i)
    ]

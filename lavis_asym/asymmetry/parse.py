"""A caption as units: words and known phrases with their readings, and how an edited caption is written again."""

import re
from functools import lru_cache
from typing import Dict, FrozenSet, List, Mapping, NamedTuple, Optional, Sequence, Set, Tuple

from lavis_asym.asymmetry.lexicon import Concept, Reading, article, lexicon
from lavis_asym.asymmetry.text import clean, words

_TOKEN = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*|[^\w\s]|_+")
PARSES_KEPT = 4096

NOMINAL = ("noun", "word")
MODIFIERS = ("adjective", "colour", "size", "material", "state")
PUNCTUATION = "punctuation"
MODALS = ("to", "can", "could", "will", "would", "may", "might", "should", "must")


class Unit(NamedTuple):
    """A word, a known phrase or a punctuation mark."""

    gap: str  # the white space before it
    text: str
    lower: str
    kind: str  # one of `lexicon.PRIORITY`, "word" where unknown, or PUNCTUATION
    readings: Tuple[Reading, ...]

    def reading(self, kind: str) -> Optional[Reading]:
        return next((reading for reading in self.readings if reading.kind == kind), None)


class Parse(NamedTuple):
    """A cleaned caption's units."""

    text: str
    units: Tuple[Unit, ...]
    sentence: Tuple[int, ...]  # the number of the sentence that each unit stands in
    scope: Tuple[int, ...]  # the first unit of each unit's sentence that is a word of `scope`; else the number of units
    negation: int  # the first unit that denies something, so that a false detail behind it would be true

    @property
    def answer(self) -> int:
        """First unit of the answer in "question? answer"; 0 where the caption is none."""
        marks = [i for i, unit in enumerate(self.units) if unit.text == "?"]
        return marks[0] + 1 if marks and self.units[0].kind == "question" and marks[0] + 1 < len(self.units) else 0

    def scoped(self, start: int, stop: int) -> bool:
        """Whether a word of `scope` ("no", "only", "every") stands in the sentence of unit `start` before `stop`."""
        return self.scope[start] < stop

    def render(self, changes: Mapping[int, Optional[str]]) -> str:
        """The caption with some units replaced (None drops one); articles and first letters set right.

        A caption of which nothing is left is "".
        """
        kept = [(i, t) for i, unit in enumerate(self.units) if (t := changes.get(i, unit.text)) is not None]
        pieces: List[str] = []
        for place, (i, text) in enumerate(kept):
            unit = self.units[i]
            if unit.lower in ("a", "an") and unit.kind == "determiner" and place + 1 < len(kept):
                following, after = kept[place + 1]
                if following != i + 1 or following in changes:
                    text = article(after) if unit.text.islower() else article(after).capitalize()
            begins = not place or self.sentence[kept[place - 1][0]] != self.sentence[i]
            first = not i or self.sentence[i - 1] != self.sentence[i]
            if begins and not first and self._capitalised(i) or first and i in changes and unit.text[0].isupper():
                text = text[:1].upper() + text[1:]
            pieces.append((unit.gap if place else "") + text)
        return "".join(pieces)

    def _capitalised(self, i: int) -> bool:
        """Whether the sentence of unit i begins with a capital letter."""
        return self.units[self.sentence.index(self.sentence[i])].text[0].isupper()


@lru_cache(maxsize=PARSES_KEPT)
def parse(caption: str) -> Parse:
    """The units of the cleaned caption."""
    known = lexicon()
    text = clean(caption)
    pieces = _pieces(text)
    units: List[Unit] = []
    sentence: List[int] = []
    number, previous = 0, None
    for i, (gap, piece, phrase) in enumerate(pieces):
        following = pieces[i + 1][2] if i + 1 < len(pieces) else "."
        kind = _kind(phrase, previous, following, known.kinds)
        previous = Unit(gap, piece, phrase, kind, known.readings.get(phrase, ()))
        units.append(previous)
        sentence.append(number)
        if piece in ".?!":
            number += 1
    return Parse(text, tuple(units), tuple(sentence), _scope(units, sentence), _negation(units))


def _pieces(text: str) -> List[Tuple[str, str, str]]:
    """White space, text and lower-cased text of each word, longest known phrase, or mark."""
    known = lexicon()
    spans = [match.span() for match in _TOKEN.finditer(text)]
    lower = [text[start:stop].lower() for start, stop in spans]
    pieces = []
    position = end = 0
    while position < len(spans):
        start, stop = spans[position]
        phrase, length = lower[position], 1
        if phrase in known.lengths:
            length = known.phrase_at(lower, position)
            longest = " ".join(lower[position : position + length])
            if text[start : spans[position + length - 1][1]].lower() == longest:  # no punctuation inside
                phrase, stop = longest, spans[position + length - 1][1]
            else:
                length = 1
        pieces.append((text[end:start], text[start:stop], phrase))
        position, end = position + length, stop
    return pieces


def _scope(units: Sequence[Unit], sentence: Sequence[int]) -> Tuple[int, ...]:
    reaching = lexicon().closed["scope"]
    first: Dict[int, int] = {}
    for i, unit in enumerate(units):
        if unit.lower in reaching:
            first.setdefault(sentence[i], i)
    return tuple([first.get(number, len(units)) for number in sentence]) if first else (len(units),) * len(units)


def _negation(units: Sequence[Unit]) -> int:
    denying = lexicon().closed["negation"]
    for i, unit in enumerate(units):
        if unit.lower in denying:
            return 0 if units[0].kind == "question" else i
    return len(units)


def kind_at(units: Sequence[Unit], i: int) -> str:
    """The kind of unit i; beyond either end as if punctuation stood there."""
    return units[i].kind if 0 <= i < len(units) else PUNCTUATION


def _kind(phrase: str, previous: Optional[Unit], following: str, known: Mapping[str, Tuple[str, ...]]) -> str:
    """The kind of a unit between two others, of which the one before is known and the one behind is a phrase."""
    kinds = known.get(phrase)
    if kinds is None:
        return _kind_of_unknown(phrase)
    before = previous.kind if previous else PUNCTUATION
    if len(kinds) == 1:
        a_verb = kinds[0] == "noun" and (before == "pronoun" or previous and previous.lower in MODALS)
        return "link" if a_verb else kinds[0]  # "Where would you shop?"
    if "noun" not in kinds:
        return kinds[0]
    if kinds[0] in MODIFIERS or kinds[1] in MODIFIERS:
        attribute = next(kind for kind in kinds if kind in MODIFIERS)
        of_noun = "noun" in known.get(following, ("noun",)) and following[0].isalnum()
        return attribute if of_noun or before not in ("determiner", "preposition", "number") else "noun"
    acts = not {"verb", "action", "link"}.isdisjoint(kinds)
    return "noun" if acts and before in ("determiner", "many", "number", *MODIFIERS) else kinds[0]


def _kind_of_unknown(phrase: str) -> str:
    if not phrase[0].isalnum():
        return PUNCTUATION
    if phrase.endswith(("'s", "s'", "’s")):
        return "adjective"  # a possessive stands where an adjective does
    return "adverb" if phrase.endswith("ly") else "verb" if phrase.endswith(("ing", "ed")) else "word"


def content_words(text: str) -> Set[str]:
    """The words of a text that are about things: all but articles, prepositions and the like."""
    return set(words(text)) - lexicon().function_words


class Mentions(NamedTuple):
    """What captions name."""

    words: FrozenSet[str]  # hyphenated ones whole and in parts
    phrases: FrozenSet[str]  # the words, and runs of them as long as a known phrase
    implied: FrozenSet[str]  # all words that can be true of the things named
    scenes: FrozenSet[str]  # of the things named


@lru_cache(maxsize=PARSES_KEPT)
def mentions(caption: str) -> Mentions:
    """What one caption names."""
    known = lexicon()
    apart = words(caption.replace("-", " - "))
    named = {*words(caption), *apart}
    phrases = set(named)
    for position, word in enumerate(apart):
        for length in known.lengths.get(word, ()):
            phrases.add(" ".join(apart[position : position + length]))
    concepts = [concept for phrase in phrases for concept in known.concepts_of.get(phrase, ())]
    return Mentions(
        frozenset(named),
        frozenset(phrases),
        frozenset().union(*(concept.words for concept in concepts)),
        frozenset().union(*(concept.scenes for concept in concepts)),
    )


class Context:
    """What is known to be true of the image: its captions, and what they name.

    Args:
        captions: all captions of the image, the one at hand among them.
        max_words: of a joined text.
    """

    def __init__(self, captions: Sequence[str], max_words: int = 40):
        self.captions = tuple(captions)
        self.max_words = max_words
        every = zip(*map(mentions, self.captions))
        self.words, self.phrases, self.implied, self.scenes = (frozenset().union(*own) for own in every)

    def may_bring_in(self, substitute: str) -> bool:
        """Whether no caption mentions a word, nor one like it in meaning."""
        return self.phrases.isdisjoint(lexicon().alike.get(substitute, (substitute,)))

    def may_name(self, concept: Concept) -> bool:
        """Whether no caption names the concept, by any of its words, nor a thing of its scenes, and a photo that
        showed it would have it named."""
        return (
            not concept.common
            and self.phrases.isdisjoint(concept.words)
            and self.scenes.isdisjoint(concept.scenes)
            and concept.head not in self.implied
        )

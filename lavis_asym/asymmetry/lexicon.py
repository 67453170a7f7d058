"""The words that captions are about, read from `lexicon.yaml` once a process.

Tried before an own lexicon was written: spaCy's small English pipeline tags 1,300 to 1,600 captions a second on a core
(benchmarks/samples.py), where a draw has 200 microseconds, and its tags do not say that a plane is an airplane;
`lemminflect` inflects well, but imports spaCy and with it torch. `inflect` is light and keeps its data inside its
package: it makes our plurals and articles.
"""

from functools import lru_cache
from pathlib import Path
from typing import Dict, FrozenSet, Iterable, List, NamedTuple, Optional, Sequence, Set, Tuple

import inflect
import yaml

PATH = Path(__file__).with_name("lexicon.yaml")
SINGULAR, PLURAL, UNCOUNTABLE = "singular", "plural", "uncountable"
ATTRIBUTES = ("colour", "size", "material", "state")
FUNCTION_KINDS = "determiner preposition pronoun nobody negation question link conjunction clause".split()
# Where a word has several readings, the first of these that it has counts, unless its neighbours say otherwise.
PRIORITY = (
    "nobody question determiner many number relation preposition conjunction clause pronoun link "
    "colour size material action verb noun state adjective adverb particle"
).split()
SINGULAR_IN_S = "glass grass bus dress tennis gas class cactus compass circus canvas walrus citrus".split()
_inflect = inflect.engine()


class Concept(NamedTuple):
    """A thing, with all words that can be true of it."""

    head: str
    plural: str
    group: str  # its class, such as "animal"
    words: FrozenSet[str]
    scenes: FrozenSet[str]  # where it is to be expected
    prepositions: FrozenSet[str]  # of a place
    numbers: FrozenSet[str]  # SINGULAR, PLURAL, UNCOUNTABLE: in which it can stand
    common: bool  # too common or unclear to be put into a text

    def form(self, number: str) -> str:
        return self.plural if number == PLURAL else self.head

    def can_stand(self, number: str, preposition: str) -> bool:
        """Whether it may be put into a text in this number, behind this preposition ("" for any)."""
        return not self.common and number in self.numbers and (not preposition or preposition in self.prepositions)


class Reading(NamedTuple):
    """One way to understand a word or phrase."""

    kind: str  # "noun", one of ATTRIBUTES, "relation", "action", "many", "number", or a closed class of `lexicon.yaml`
    concept: Optional[Concept] = None  # of a noun; None for one that names a whole class
    group: str = ""  # the class of a noun
    number: str = ""  # of a noun
    substitutes: Tuple[str, ...] = ()  # what may stand in its place and then makes the text false


class Lexicon:
    """Readings of words and of phrases, and the concepts by class."""

    def __init__(self, path: Path = PATH):
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
        self._readings: Dict[str, List[Reading]] = {}
        self.groups: Dict[str, List[Concept]] = {}
        self.alike: Dict[str, FrozenSet[str]] = {}  # a substitute -> the words that mean (nearly) the same
        for group, section in data["nouns"].items():
            self._add_nouns(group, section)
        for kind in ATTRIBUTES:
            self._add_attributes(kind, data["attributes"][kind])
        self._add_contrasts("relation", data["relations"])
        self._add_actions(data["actions"])
        self._add_quantities(data["quantities"])
        self._add_genders(data["genders"])
        self.closed = {kind: frozenset(_phrases(text)) for kind, text in data["closed"].items()}
        for kind, members in self.closed.items():
            for phrase in members:
                if kind not in ("scope", "negation", "picture"):  # properties beside a word's reading
                    self._add(phrase, Reading(kind))
        self.readings = {phrase: tuple(own) for phrase, own in self._readings.items()}
        self.kinds = {phrase: _kinds(own) for phrase, own in self.readings.items()}  # the first in PRIORITY first
        self.function_words = frozenset(
            word for kind in FUNCTION_KINDS for phrase in self.closed[kind] for word in phrase.split()
        )
        self.lengths = _phrase_lengths(self.readings)  # first word of a phrase -> lengths of such phrases
        self.substitutes = {  # class, number, preposition or "" -> concepts
            (group, number, preposition): tuple(c for c in concepts if c.can_stand(number, preposition))
            for group, concepts in self.groups.items()
            for number in (SINGULAR, PLURAL, UNCOUNTABLE)
            for preposition in ("", "in", "on", "at")
        }
        self.concepts_of: Dict[str, Tuple[Concept, ...]] = {}
        for concepts in self.groups.values():
            for concept in concepts:
                for word in concept.words:
                    self.concepts_of[word] = (*self.concepts_of.get(word, ()), concept)

    def phrase_at(self, words: Sequence[str], start: int) -> int:
        """How many words from `start` on make up the longest phrase known; 1 where there is none."""
        for length in self.lengths.get(words[start], ()):
            if " ".join(words[start : start + length]) in self.readings and start + length <= len(words):
                return length
        return 1

    def _add(self, phrase: str, reading: Reading) -> None:
        self._readings.setdefault(phrase, []).append(reading)

    def _add_nouns(self, group: str, section: Dict[str, str]) -> None:
        concepts = [_concept(group, line) for line in section["members"].splitlines()]
        self.groups[group] = concepts
        for concept in concepts:
            for word in concept.words:
                self._add(word, Reading("noun", concept, group, _number(word, concept)))
        for word in section["general"].split():
            self._add(word, Reading("noun", None, group, PLURAL if _singular(word) else SINGULAR))

    def _add_attributes(self, kind: str, section) -> None:
        if "contrasts" in section:
            self._add_contrasts(kind, section["contrasts"])
            return
        near = [frozenset(pair.split()) for pair in section["near"]]
        poles = {}
        for line in section["poles"].splitlines():
            head, _, others = line.partition(":")
            poles[head] = frozenset([head, *_phrases(others)])
        for head, members in poles.items():
            close = {head} | {word for pair in near if head in pair for word in pair}
            substitutes = tuple(other for other in poles if other not in close)
            for word in members:
                self._add(word, Reading(kind, substitutes=substitutes))
            self.alike[head] = self.alike.get(head, frozenset()) | members

    def _add_contrasts(self, kind: str, lines: Sequence[str]) -> None:
        for line in lines:
            poles = [_phrases(pole) for pole in line.split("|")]
            for pole in poles:
                substitutes = tuple(other[0] for other in poles if other is not pole)
                for word in pole:
                    self._add(word, Reading(kind, substitutes=substitutes))
                self.alike[pole[0]] = self.alike.get(pole[0], frozenset()) | frozenset(pole)

    def _add_actions(self, lines: Sequence[str]) -> None:
        for line in lines:
            near, excluded = (_phrases(side) for side in line.split("|"))
            for word in near:
                self._add(word, Reading("action", substitutes=tuple(excluded)))
            self.alike[near[0]] = self.alike.get(near[0], frozenset()) | frozenset(near)

    def _add_quantities(self, section: Dict[str, str]) -> None:
        numbers = section["numbers"].split()
        for word in _phrases(section["many"]):
            self._add(word, Reading("many", substitutes=tuple(numbers[:4])))
        for place, number in enumerate(numbers):
            more = tuple(numbers[place + 1 : place + 6]) or tuple(numbers[:3])
            for word in (number, str(place + 2)):
                self._add(word, Reading("number", substitutes=more))
            self.alike[number] = frozenset([number, str(place + 2), *(["couple", "pair", "both"] if not place else [])])

    def _add_genders(self, pairs: Sequence[str]) -> None:
        self.female, self.male = {}, {}  # a gendered word -> its counterpart
        for pair in pairs:
            woman, man = pair.split()
            self.female.setdefault(woman, man)
            self.male.setdefault(man, woman)
        self.male["him"] = "her"


def _kinds(readings: Sequence[Reading]) -> Tuple[str, ...]:
    return tuple(sorted({reading.kind for reading in readings}, key=PRIORITY.index))


def _phrase_lengths(phrases: Iterable[str]) -> Dict[str, Tuple[int, ...]]:
    """The longest first."""
    lengths: Dict[str, Set[int]] = {}
    for phrase in phrases:
        first, *rest = phrase.split()
        if rest:
            lengths.setdefault(first, set()).add(len(rest) + 1)
    return {first: tuple(sorted(own, reverse=True)) for first, own in lengths.items()}


def plural(word: str) -> str:
    return _inflect.plural_noun(word)


@lru_cache(maxsize=None)
def article(word: str) -> str:
    """Either "a" or "an", as the word's sound wants it."""
    return _inflect.a(word).split()[0]


@lru_cache(maxsize=1)
def lexicon() -> Lexicon:
    """The lexicon of this process."""
    return Lexicon()


@lru_cache(maxsize=None)
def _singular(noun: str) -> Optional[str]:
    """The singular of a plural noun; None of any other word."""
    last = noun.split()[-1]
    return None if last in SINGULAR_IN_S else _inflect.singular_noun(last) or None


def _phrases(text: str) -> List[str]:
    return [word.replace("_", " ") for word in text.split()]


def _concept(group: str, line: str) -> Concept:
    head, _, rest = line.partition(":")
    head = head.replace("_", " ")
    fields = rest.split()
    marks = {field for field in fields if field[0] in "@/" or field in ("%", "+", "~")}
    others = [field.replace("_", " ") for field in fields if field not in marks]
    only_plural, uncountable = "+" in marks, "%" in marks
    many = head if only_plural or uncountable else plural(head)
    words = {head, many}
    for word in others:
        words |= {word} if uncountable or _singular(word) else {word, plural(word)}
    return Concept(
        head,
        many,
        group,
        frozenset(words),
        frozenset(mark[1:] for mark in marks if mark[0] == "@"),
        frozenset(mark[1:] for mark in marks if mark[0] == "/"),
        frozenset([PLURAL] if only_plural else [UNCOUNTABLE] if uncountable else [SINGULAR, PLURAL]),
        "~" in marks,
    )


def _number(word: str, concept: Concept) -> str:
    """The number of a concept's word; "" where the word does not tell ("sheep")."""
    if UNCOUNTABLE in concept.numbers:
        return UNCOUNTABLE
    if word == concept.head == concept.plural and SINGULAR in concept.numbers:
        return ""
    return PLURAL if word == concept.plural or word != concept.head and _singular(word) else SINGULAR

"""A description in English."""

import random
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Callable, List, Optional, Sequence, Set, Tuple

from lavis_asym.data.scenes.truth import Count, Description, Relation, Thing

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
    def of(cls, wording: int) -> "_Voice":
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


def _say_parts(things: Sequence[Thing], groups: Sequence[Count], voice: _Voice) -> List[str]:
    placed = [_article(_say_thing(thing, voice)) for thing in things if thing.place]
    counted = [_say_count(group, voice) for group in groups]
    return placed + counted + [_article(_say_thing(thing, voice)) for thing in things if not thing.place]


def _say_list(parts: Sequence[str]) -> str:
    return " and ".join(part for part in (", ".join(parts[:-1]), *parts[-1:]) if part)


def _say_thing(thing: Thing, voice: _Voice, number: int = 1) -> str:
    """The noun phrase without article or number word, plural unless `number` is 1."""
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
    named: Set[int] = set()

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


def _ends(relation: Relation) -> Tuple[int, int]:
    return relation.subject, relation.target

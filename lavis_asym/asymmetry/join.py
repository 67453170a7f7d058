"""Type III: texts that say more, by joining different captions of the image."""

import random
from functools import lru_cache
from typing import AbstractSet, FrozenSet, Optional, Tuple

from lavis_asym.asymmetry.lexicon import lexicon
from lavis_asym.asymmetry.parse import PARSES_KEPT, Context, content_words, parse
from lavis_asym.asymmetry.text import clean, words

NEAR_DUPLICATE = 0.8  # share of common content words (Jaccard) from which two captions say the same
THIRD = 0.25  # how often a third caption is joined
CONNECTORS = (". ", ", and ")


def join(caption: str, rng: random.Random, context: Context) -> Tuple[Optional[str], Tuple[str, ...]]:
    """The caption with one or two others that say something else, as two sentences or one, within `context.max_words`,
    and the captions that it was made from; None where there is no such other.

    Taken first are captions of which neither says all that the other says, then those that add something, then those
    that only say it in other words; near-duplicates are none of these.
    """
    sources, text = [caption], clean(caption)
    if not words(text):
        return None, (caption,)
    for _ in range(2 if rng.random() < THIRD else 1):
        room = context.max_words - len(words(text)) - 1
        others = [c for c in dict.fromkeys(context.captions) if c not in sources and 0 < len(words(c)) <= room]
        adding = [c for c in others if all(not content(c) <= content(source) for source in sources)]
        telling_apart = [c for c in adding if all(_tell_apart(content(c), content(source)) for source in sources)]
        fitting = telling_apart or adding
        if not fitting and len(sources) == 1:
            fitting = [c for c in others if not _overlap(content_words(c), content_words(caption))]
        if not fitting:
            break
        sources.append(rng.choice(fitting))
        text = _joined(text, sources[-1], rng)
    return text if len(sources) > 1 else None, tuple(sources)


def _tell_apart(one: FrozenSet[str], other: FrozenSet[str]) -> bool:
    return not one <= other and not other <= one and not _overlap(one, other)


def _overlap(one: AbstractSet[str], other: AbstractSet[str]) -> bool:
    return len(one & other) >= NEAR_DUPLICATE * len(one | other)


@lru_cache(maxsize=PARSES_KEPT)
def content(caption: str) -> FrozenSet[str]:
    """What a caption speaks of: its content words, each concept under one name."""
    known = lexicon()
    concepts = ((word, known.concepts_of.get(word)) for word in words(caption) if word not in known.function_words)
    return frozenset(own[0].head if own else word for word, own in concepts)


def _joined(text: str, other: str, rng: random.Random) -> str:
    other = clean(other)
    if text[-1] in "?!.":
        return f"{text} {_sentence(other)}"
    if any(mark in text + other for mark in "?!"):
        return f"{text}. {_sentence(other)}"
    connector = rng.choice(CONNECTORS)
    continued = _continued(other) if connector != ". " and _is_clause(text) == _is_clause(other) else None
    return f"{text}. {_sentence(other)}" if continued is None else f"{text}{connector}{continued}"


def _is_clause(text: str) -> bool:
    """Whether a text has a verb, so that it and another such text make one sentence."""
    return any(unit.kind == "link" for unit in parse(text).units)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _continued(text: str) -> Optional[str]:
    """The text as it goes on inside a sentence; None where it may begin with a name."""
    first = parse(text).units[0]
    if text[0].islower():
        return text
    known = first.kind != "word" and (text[1:2].islower() or len(words(text)[0]) == 1)
    return text[0].lower() + text[1:] if known else None

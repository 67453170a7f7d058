"""Text operators: `f(caption, rng, siblings) -> (text, sources) | None`; None means not applicable, never a silent copy.

`sources` are the captions whose truth makes the text true; a negative has none.
"""

import random
from typing import Callable, Dict, FrozenSet, Optional, Sequence, Tuple

from lavis_asym.asymmetry.text import clean, normalise, words

Outcome = Optional[Tuple[str, Tuple[str, ...]]]
Operator = Callable[[str, random.Random, Sequence[str]], Outcome]

WORD_CLASSES: Dict[str, FrozenSet[str]] = {
    name: frozenset(members.split())
    for name, members in {
        "colour": "red blue green yellow orange purple pink brown black white gray grey",
        "number": "one two three four five six seven eight nine ten",
        "size": "small large big tiny huge little",
        "side": "left right",
        "height": "above below",
        "edge": "top bottom",
        "person": "man woman boy girl",
        "pronoun": "his her",
        "shape": "circle square triangle star heart diamond cross ring",
    }.items()
}
SAME_MEANING = [frozenset({"gray", "grey"}), frozenset({"large", "big", "huge"}), frozenset({"small", "tiny", "little"})]


def truncate(caption: str, rng: random.Random, siblings: Sequence[str]) -> Outcome:
    """Type II: the first half of the words (the authors' operator)."""
    tokens = clean(caption).split()
    half = (len(tokens) + 1) // 2
    if half == len(tokens):
        return None
    return " ".join(tokens[:half]).rstrip(",;:"), (caption,)


def concatenate(caption: str, rng: random.Random, siblings: Sequence[str]) -> Outcome:
    """Type III: the caption joined with a different caption of the same image."""
    own = set(words(caption))
    others = [s for s in siblings if normalise(s) != normalise(caption) and set(words(s)) != own]
    if not others:
        return None
    other = rng.choice(others)
    return f"{clean(caption)}. {clean(other)}", (caption, other)


def replace_word(caption: str, rng: random.Random, siblings: Sequence[str]) -> Outcome:
    """Type I: one colour, number, size, side, ... replaced by another of its class that no sibling mentions."""
    tokens = caption.split()
    mentioned = {word for text in (caption, *siblings) for word in words(text)}
    mentioned |= {word for group in SAME_MEANING if group & mentioned for word in group}
    choices = [
        (position, bare, sorted(members - mentioned))
        for position, token in enumerate(tokens)
        for bare in words(token)[:1]
        for members in WORD_CLASSES.values()
        if bare in members and members - mentioned
    ]
    if not choices:
        return None
    position, bare, candidates = rng.choice(choices)
    replaced = rng.choice(candidates)
    tokens[position] = tokens[position].lower().replace(bare, replaced, 1)
    if position and tokens[position - 1].lower() in ("a", "an"):
        tokens[position - 1] = "an" if replaced[0] in "aeiou" and replaced != "one" else "a"
    return " ".join(tokens), ()


def swap_words(caption: str, rng: random.Random, siblings: Sequence[str]) -> Outcome:
    """Type I: two different words of one class exchanged."""
    tokens = caption.split()
    bare = [(words(token) or [""])[0] for token in tokens]
    pairs = [
        (i, j)
        for members in WORD_CLASSES.values()
        for i in range(len(tokens))
        for j in range(i)
        if bare[i] in members and bare[j] in members and bare[i] != bare[j]
    ]
    if not pairs:
        return None
    i, j = rng.choice(pairs)
    tokens[i] = tokens[i].lower().replace(bare[i], bare[j], 1)
    tokens[j] = tokens[j].lower().replace(bare[j], bare[i], 1)
    return " ".join(tokens), ()


def shuffle_words(caption: str, rng: random.Random, siblings: Sequence[str]) -> Outcome:
    """Type I: the words in another order, before encoding (the authors' operator)."""
    tokens = caption.split()
    shuffled = tokens[:]
    for _ in range(8):
        rng.shuffle(shuffled)
        if normalise(" ".join(shuffled)) != normalise(caption):
            return " ".join(shuffled), ()
    return None


def negate(caption: str, rng: random.Random, siblings: Sequence[str]) -> Outcome:
    """Type I: the last resort, applicable to every text."""
    return f"no {caption}", ()

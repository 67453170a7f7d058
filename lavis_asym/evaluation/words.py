"""Captions as words: a plain tokeniser, and the rules by which two captions say the same."""

import re
from typing import Callable, Dict, Hashable, List, Sequence

import numpy as np

WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)*")
SAYS_NOTHING = frozenset(
    "a an the this that these those some there here it is are was were be been being".split()
)  # articles, demonstratives and forms of "to be": no photo is told from another by them


def words_of(text: str) -> List[str]:
    """Lower-case runs of letters and digits, apostrophes inside them kept; punctuation, hyphens and spaces separate.

    Not the Penn Treebank tokeniser of the COCO caption tools, which needs Java: figures of the two differ slightly.
    """
    return WORD.findall(text.lower().replace("\u2019", "'"))


def identical(text: str) -> str:
    """What two texts share if they differ at most in case, punctuation and white space."""
    return " ".join(words_of(text)) or text.strip().lower()


def near_identical(text: str) -> str:
    """What two texts share if they hold the same words in the same order once articles, demonstratives, "there",
    "here", "it", "some" and forms of "to be" are left out: "There is a white airplane." and "the white airplane".

    An equality, so groups cannot chain. Any tolerance of a differing word, however small, would call "a red car" and "a
    blue car" the same, the very difference retrieval is to tell; order, numbers, plurals and prepositions stay apart
    too.
    """
    return " ".join(word for word in words_of(text) if word not in SAYS_NOTHING) or identical(text)


def groups_of(texts: Sequence[str], rule: Callable[[str], Hashable] = identical) -> np.ndarray:
    """Group numbers, M int64, counted from 0 in order of appearance: texts of equal number are the same by `rule`."""
    numbers: Dict[Hashable, int] = {}
    return np.array([numbers.setdefault(rule(text), len(numbers)) for text in texts], dtype=np.int64)

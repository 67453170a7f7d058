"""Captions as words: the form in which texts are compared."""

import re
from difflib import SequenceMatcher
from functools import lru_cache
from typing import Callable, List, Sequence, Tuple

_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
_TOKEN = re.compile(r"\s*(?:[^\W_]+(?:['’-][^\W_]+)*|[\W_])")
KEPT = 8192  # captions whose words are remembered


@lru_cache(maxsize=KEPT)
def clean(caption: str) -> str:
    """White space folded, space before punctuation and the closing full stop removed; nothing else changed."""
    text = " ".join(caption.split())
    text = re.sub(r"\s+([.,;:!?])", r"\1", text)
    return text.rstrip(".").rstrip() or text


@lru_cache(maxsize=KEPT)
def words(text: str) -> Tuple[str, ...]:
    """Lower-cased words, punctuation dropped."""
    return tuple(_WORD.findall(text.lower()))


@lru_cache(maxsize=KEPT)
def normalise(text: str) -> str:
    """The form under which two texts count as the same: they differ at most in case, punctuation, hyphens among it, and
    white space. `evaluation.words.identical`, by which a report counts texts that say the same, is the same form."""
    return " ".join(words(text.replace("’", "'").replace("-", " "))) or text.strip().lower()


def in_case(word: str, like: str) -> str:
    """The word with a capital where `like` begins with one."""
    return word[:1].upper() + word[1:] if like[:1].isupper() else word


def diff(before: str, after: str) -> Tuple[Tuple[str, str], ...]:
    """Two texts side by side, as (old piece, new piece), each with its white space: equal where the texts agree, one of
    them "" where words were added or dropped."""
    if after.startswith(before):
        return ((before, before), ("", after[len(before) :]))
    old, new = _TOKEN.findall(before), _TOKEN.findall(after)
    steps = SequenceMatcher(None, old, new, autojunk=False).get_opcodes()
    return tuple(("".join(old[a:b]), "".join(new[c:d])) for _, a, b, c, d in steps)


def marked(before: str, after: str, marks: Sequence[str], escape: Callable[[str], str] = str) -> str:
    """`after`, with the words that `before` alone has, and those that came in, in their marks: two formats with {}."""
    pieces: List[str] = []
    for pair in diff(before, after):
        if pair[0] == pair[1]:
            pieces.append(escape(pair[0]))
        else:
            pieces += [" " + mark.format(escape(piece.strip())) for mark, piece in zip(marks, pair) if piece]
    return "".join(pieces).strip()

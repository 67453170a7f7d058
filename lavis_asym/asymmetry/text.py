"""Captions as words: the form in which texts are compared."""

import re
from typing import List

_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")


def clean(caption: str) -> str:
    """White space folded, space before punctuation and the closing full stop removed; nothing else changed."""
    text = " ".join(caption.split())
    text = re.sub(r"\s+([.,;:!?])", r"\1", text)
    return text.rstrip(".").rstrip() or text


def words(text: str) -> List[str]:
    """Lower-cased words, punctuation dropped."""
    return _WORD.findall(text.lower())


def normalise(text: str) -> str:
    """The form under which two texts count as the same: lower-cased words joined by one space."""
    return " ".join(words(text)) or text.strip().lower()

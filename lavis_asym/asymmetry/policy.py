"""Which operators draw the samples, how often, and how many: `policy.yaml` and what overrides it."""

from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Any, Dict, Mapping, NamedTuple, Optional, Tuple

import yaml

PATH = Path(__file__).with_name("policy.yaml")
TYPES = ("I", "II", "III")


class Policy(NamedTuple):
    """A checked policy; operators and types of weight 0 are left out."""

    types: Dict[str, float]
    positives: int
    negatives: int
    max_words: int
    operators: Dict[str, Dict[str, float]]  # type -> operator -> weight


def read_policy(given: Optional[Mapping[str, Any]] = None) -> Policy:
    """The default policy with the given keys over it.

    Raises:
        ValueError: an unknown key or operator, a negative weight or count, or a type without an operator.
    """
    merged = _merged(_default(), {} if given is None else given, "policy")
    types = {kind: float(weight) for kind, weight in merged["types"].items() if weight > 0}
    operators = {kind: {name: float(w) for name, w in merged[kind].items() if w > 0} for kind in types}
    for kind, weights in operators.items():
        if not weights:
            raise ValueError(f"policy.{kind}: every operator has weight 0; set policy.types.{kind} to 0 instead")
    count = merged["count"]
    return Policy(types, count["positives"], count["negatives"], merged["max_words"], operators)


def operators(kind: str) -> Tuple[str, ...]:
    """All operators of a type, those of weight 0 among them."""
    return tuple(_default()[kind])


@lru_cache(maxsize=1)
def _default() -> Dict[str, Any]:
    return yaml.safe_load(PATH.read_text(encoding="utf-8"))


def _merged(default: Mapping[str, Any], given: Mapping[str, Any], path: str) -> Dict[str, Any]:
    if not isinstance(given, Mapping):
        raise ValueError(f"{path}: expected a mapping with keys of {', '.join(default)}, got {given!r}")
    merged = dict(default)
    for key, value in given.items():
        where = f"{path}.{key}"
        if key not in default:
            close = get_close_matches(str(key), default, n=2)
            hint = f"did you mean {' or '.join(close)}?" if close else f"known: {', '.join(default)}"
            raise ValueError(f"{where}: unknown key; {hint}")
        if isinstance(default[key], Mapping):
            merged[key] = _merged(default[key], value, where)
        else:
            allowed = (int,) if isinstance(default[key], int) else (int, float)
            if isinstance(value, bool) or not isinstance(value, allowed) or value < 0:
                raise ValueError(
                    f"{where}: expected {'an integer' if allowed == (int,) else 'a number'} >= 0, got {value!r}"
                )
            merged[key] = value
    return merged

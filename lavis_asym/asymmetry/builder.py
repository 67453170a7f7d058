"""Draws the generated positives and negatives of a caption, reproducibly and with their provenance."""

import random
from typing import Dict, List, Mapping, NamedTuple, Optional, Sequence, Set, Tuple

from lavis_asym.asymmetry import operators
from lavis_asym.asymmetry.text import clean, normalise

TYPE_OF_OPERATOR = {
    "truncate": "II", "concatenate": "III",
    "replace_word": "I", "swap_words": "I", "shuffle_words": "I", "negate": "I",
}  # fmt: skip
DEFAULT_POLICY = {
    "positives": {"truncate": 1.0, "concatenate": 1.0},
    "negatives": {"replace_word": 2.0, "swap_words": 1.0, "shuffle_words": 1.0},
}


class Sample(NamedTuple):
    """A generated text and where it comes from."""

    text: str
    type: str  # "I" says something false, "II" says less, "III" says more; "copy" where no operator applied
    operator: str
    sources: Tuple[str, ...]  # captions whose truth makes the text true; empty for a negative


class AsymmetrySamples(NamedTuple):
    """Samples of one caption; `positive_negatives[k]` is the generated negative of `positives[k]`."""

    positives: Tuple[Sample, ...]
    negatives: Tuple[Sample, ...]
    positive_negatives: Tuple[Sample, ...]


class SampleBuilder:
    """Draws one positive, one negative, and the positive's own negative for a caption.

    An operator is drawn by weight; where it is not applicable, or its negative equals a caption of the image, the next
    is drawn from the rest. When none is left a positive falls back on the caption itself (type "copy") and a negative
    on `negate`, so a batch always has the same shape.

    Args:
        policy: `{"positives": {operator: weight}, "negatives": {operator: weight}}`; None is DEFAULT_POLICY.
        seed: the same (seed, epoch, key, caption) gives the same samples in any process; the next epoch gives others.
    Raises:
        ValueError: an unknown operator, or one of the other side.
    """

    def __init__(self, policy: Optional[Mapping[str, Mapping[str, float]]] = None, seed: int = 0):
        policy = DEFAULT_POLICY if policy is None else policy
        for side in policy:
            if side not in DEFAULT_POLICY:
                raise ValueError(f"policy: unknown key {side!r}, expected 'positives' and 'negatives'")
        self.seed = seed
        self.positives = _checked("positives", policy.get("positives", {}), {"II", "III"})
        self.negatives = _checked("negatives", policy.get("negatives", {}), {"I"})

    def build(self, caption: str, siblings: Sequence[str], key: str, epoch: int = 0) -> AsymmetrySamples:
        """Samples of a caption.

        Args:
            caption: any text.
            siblings: all captions of the same image; whether the caption is among them does not matter.
            key: names the image.
            epoch: >= 0.
        """
        rng = random.Random(f"{self.seed}/{epoch}/{key}/{caption}")
        siblings = [s for s in siblings if normalise(s) != normalise(caption)]
        true = {normalise(text) for text in (caption, *siblings)}
        positive = self._positive(caption, siblings, rng)
        negative = self._negative(caption, siblings, true, rng)
        positive_negative = self._negative(positive.text, [caption, *siblings], true | {normalise(positive.text)}, rng)
        return AsymmetrySamples((positive,), (negative,), (positive_negative,))

    def _positive(self, caption: str, siblings: List[str], rng: random.Random) -> Sample:
        for name in _draw(self.positives, rng):
            outcome = getattr(operators, name)(caption, rng, siblings)
            if outcome is not None:
                return Sample(outcome[0], TYPE_OF_OPERATOR[name], name, outcome[1])
        return Sample(clean(caption), "copy", "copy", (caption,))

    def _negative(self, text: str, siblings: List[str], true: Set[str], rng: random.Random) -> Sample:
        for name in _draw(self.negatives, rng):
            outcome = getattr(operators, name)(clean(text), rng, siblings)
            if outcome is not None and normalise(outcome[0]) not in true:
                return Sample(outcome[0], "I", name, ())
        return Sample(operators.negate(clean(text), rng, siblings)[0], "I", "negate", ())


def _draw(weights: Dict[str, float], rng: random.Random) -> List[str]:
    """Operator names in a random order, the heavier the earlier (weighted draws without replacement)."""
    return sorted(weights, key=lambda name: rng.random() ** (1 / weights[name]), reverse=True)


def _checked(side: str, weights: Mapping[str, float], types: Set[str]) -> Dict[str, float]:
    allowed = sorted(name for name, kind in TYPE_OF_OPERATOR.items() if kind in types)
    for name, weight in weights.items():
        if name not in allowed:
            raise ValueError(f"policy.{side}: unknown operator {name!r}, expected one of {', '.join(allowed)}")
        if weight < 0:
            raise ValueError(f"policy.{side}.{name}: expected a weight >= 0, got {weight}")
    return {name: float(weight) for name, weight in weights.items() if weight > 0}

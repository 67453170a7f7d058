"""Draws the generated positives and negatives of a caption, reproducibly and with their provenance."""

import random
from typing import Any, List, Mapping, NamedTuple, Optional, Sequence, Set, Tuple

from lavis_asym.asymmetry import join, rearrange, replace, shorten
from lavis_asym.asymmetry.draws import by_weight, shuffled
from lavis_asym.asymmetry.parse import Context, content_words
from lavis_asym.asymmetry.policy import read_policy
from lavis_asym.asymmetry.text import clean, normalise, words

TEXT_OPERATORS = {
    function.__name__: function
    for function in (
        replace.replace_object, replace.replace_colour, replace.replace_number, replace.replace_size,
        replace.replace_material, replace.replace_state, replace.replace_gender, replace.replace_action,
        replace.replace_relation, replace.replace_answer, rearrange.swap_objects, rearrange.swap_attributes,
        rearrange.add_object, rearrange.shuffle_words, rearrange.negate, shorten.first_half, shorten.cut_at_phrase,
        shorten.drop_modifiers, shorten.drop_phrase, shorten.drop_conjunct, shorten.keep_phrase, join.join,
    )
}  # fmt: skip
EMBEDDING_OPERATORS = ("gaussian_noise", "dropout", "zero_token", "zero_channel")  # see embedding.py
GIVEN, COPY, NO_WORDS = "given", "copy", "this"


class Sample(NamedTuple):
    """A generated text and where it comes from."""

    text: str
    type: str  # "I" says something false, "II" says less, "III" says more; "copy" where no operator applied
    operator: str  # "given" where people wrote the text
    sources: Tuple[str, ...]  # the captions that it was made from; a positive is true where all of them are
    base: str = ""  # the text that the operator changed


class AsymmetrySamples(NamedTuple):
    """Samples of one caption; `positive_negatives[k]` is the generated negative of `positives[k]`."""

    positives: Tuple[Sample, ...]
    negatives: Tuple[Sample, ...]
    positive_negatives: Tuple[Sample, ...]


class SampleBuilder:
    """Draws positives and negatives of a caption, as many as the policy says whatever the caption.

    Samples that people gave come first. Then an operator is drawn by weight; where it is not applicable, or its text
    breaks a rule, the next is drawn from the rest. Positives draw type II or III first, and go over to the other
    when no operator of the drawn one applies. A positive that keeps more than half of the caption's content words goes
    before one that does not. When none is left, a positive falls back on the caption itself (type
    "copy"; a given or drawn text is taken once), a negative on `negate`, so a batch always has the same shape.

    The rules: a negative equals no caption of the image after `normalise`, and no content word that it brings in stands
    in any of them; a positive has no content word that stands in none of them.

    Args:
        policy: overrides of `policy.yaml`, key by key.
        seed: the same (seed, epoch, key, caption) gives the same samples in any process; the next epoch gives others.
    Raises:
        ValueError: see `policy.read_policy`.
    """

    def __init__(self, policy: Optional[Mapping[str, Any]] = None, seed: int = 0):
        self.policy = read_policy(policy)
        self.seed = seed

    def build(
        self,
        caption: str,
        siblings: Sequence[str],
        key: str,
        epoch: int = 0,
        given_positives: Sequence[str] = (),
        given_negatives: Sequence[str] = (),
    ) -> AsymmetrySamples:
        """Samples of a caption.

        Args:
            caption: any text.
            siblings: all captions of the same image; whether the caption is among them does not matter.
            key: names the image.
            epoch: >= 0.
            given_positives, given_negatives: texts that people wrote for this caption; those that say no more than a
                caption of the image (a negative) or than this one (a positive) are passed over.
        """
        context = Context((caption, *(s for s in siblings if s != caption)), self.policy.max_words)
        draw = f"{self.seed}/{epoch}/{key}/{caption}"
        positives = self._positives(caption, context, given_positives, random.Random(f"+{draw}"))
        rng = random.Random(f"-{draw}")
        negatives = positive_negatives = ()
        if "I" in self.policy.types:
            true = {normalise(text) for text in context.captions}
            negatives = self._negatives(caption, (caption,), self.policy.negatives, context, true, given_negatives, rng)
            true |= {normalise(positive.text) for positive in positives}
            positive_negatives = tuple(
                self._negatives(positive.text, positive.sources, 1, context, true, (), rng)[0] for positive in positives
            )
        return AsymmetrySamples(positives, tuple(negatives), positive_negatives)

    def _positives(
        self, caption: str, context: Context, given: Sequence[str], rng: random.Random
    ) -> Tuple[Sample, ...]:
        wanted = self.policy.positives if {"II", "III"} & set(self.policy.types) else 0
        base, taken = clean(caption), {normalise(caption)}
        samples: List[Sample] = []
        for text in shuffled(tuple(given), rng):
            if len(samples) < wanted and words(text) and normalise(text) not in taken:
                kind = "III" if len(words(text)) > len(words(caption)) else "II"
                samples.append(Sample(clean(text), kind, GIVEN, (text,), base))
                taken.add(normalise(text))
        while len(samples) < wanted:
            samples.append(self._positive(caption, base, context, taken, rng))
            taken.add(normalise(samples[-1].text))
        return tuple(samples)

    def _positive(self, caption: str, base: str, context: Context, taken: Set[str], rng: random.Random) -> Sample:
        kinds = {kind: weight for kind, weight in self.policy.types.items() if kind != "I"}
        telling = len(content_words(caption)) / 2
        poor = None  # the first that leaves half of the content words or less: many an image fits it
        for kind in by_weight(kinds, rng):
            for name in by_weight(self.policy.operators[kind], rng):
                made = TEXT_OPERATORS[name](caption, rng, context)
                text, sources = made if kind == "III" else (made, (caption,))
                if text and normalise(text) not in taken and content_words(text) <= context.words:
                    sample = Sample(text, kind, name, sources, base)
                    if len(content_words(text)) > telling:
                        return sample
                    poor = poor or sample
        if poor:
            return poor
        text = next((clean(known) for known in (caption, *context.captions) if words(known)), NO_WORDS)
        return Sample(text, COPY, COPY, (caption,), base)

    def _negatives(
        self,
        caption: str,
        sources: Tuple[str, ...],
        wanted: int,
        context: Context,
        true: Set[str],
        given: Sequence[str],
        rng: random.Random,
    ) -> Tuple[Sample, ...]:
        base, taken = clean(caption), set(true)
        samples: List[Sample] = []
        for text in shuffled(tuple(given), rng):
            if len(samples) < wanted and words(text) and normalise(text) not in taken:
                samples.append(Sample(clean(text), "I", GIVEN, sources, base))
                taken.add(normalise(text))
        while len(samples) < wanted:
            name, text = self._negative(caption, base, context, taken, rng)
            samples.append(Sample(text, "I", name, sources, base))
            if name not in EMBEDDING_OPERATORS:
                taken.add(normalise(text))
        return tuple(samples)

    def _negative(
        self, caption: str, base: str, context: Context, taken: Set[str], rng: random.Random
    ) -> Tuple[str, str]:
        for name in by_weight(self.policy.operators["I"], rng):
            if name in EMBEDDING_OPERATORS:
                return name, base
            text = TEXT_OPERATORS[name](caption, rng, context)
            if text and normalise(text) not in taken and brings_in_only_new(text, base, context):
                return name, text
        text = rearrange.negate(caption, rng, context) or f"no {base}".strip()
        while normalise(text) in taken:
            text = f"not {text}"
        return rearrange.negate.__name__, text


def brings_in_only_new(text: str, base: str, context: Context) -> bool:
    """Whether no content word that `text` has beyond `base` stands in any caption of the image."""
    brought_in = content_words(text) - set(words(base))
    return brought_in.isdisjoint(context.words)

"""The probe's texts: type II and III queries, and type I negatives, of captions drawn by seed."""

import random
from typing import Dict, FrozenSet, Iterator, List, NamedTuple, Sequence, Set, Tuple

from lavis_asym.asymmetry import SampleBuilder, normalise
from lavis_asym.asymmetry.builder import TEXT_OPERATORS, brings_in_only_new
from lavis_asym.asymmetry.parse import Context, content_words
from lavis_asym.asymmetry.policy import TYPES, operators
from lavis_asym.asymmetry.text import clean, words
from lavis_asym.probe.operators import own_operators

# Family -> type and operators of its queries.
FAMILIES = {
    "cut": ("II", ("first_half", "cut_at_phrase", "keep_phrase")),
    "shortened": ("II", ("drop_phrase", "drop_modifiers", "drop_conjunct")),
    "joined": ("III", ("join",)),
}


class Drawn(NamedTuple):
    """A caption that the probe makes texts of."""

    image: int
    caption: str


class Query(NamedTuple):
    """A text that says less or more, and the photo that it is true of."""

    image: int
    text: str
    sources: Tuple[str, ...]  # the cleaned captions that it was made from


class Item(NamedTuple):
    """A text that is true of a photo, and others that are not."""

    image: int
    true: str
    wrong: Tuple[str, ...]


def draw_captions(captions: Sequence[Sequence[str]], limit: int, seed: int) -> List[Drawn]:
    """At most `limit` of all captions; of those that say the same of the same image, one."""
    different = []
    for image, own in enumerate(captions):
        by_form = {normalise(caption): caption for caption in own if words(caption)}
        different += [Drawn(image, caption) for caption in by_form.values()]
    return sorted(random.Random(seed).sample(different, limit)) if len(different) > limit else different


def queries(
    family: str, drawn: Sequence[Drawn], images: Sequence[str], captions: Sequence[Sequence[str]], seed: int
) -> List[Query]:
    """One query of this family for each drawn caption that one can be made of.

    Args:
        family: one of FAMILIES.
        drawn: of these captions.
        images: N names; they, the captions and the seed settle the draw.
        captions: N lists, all captions of each image.
    """
    kind, names = FAMILIES[family]
    policy = {
        "types": {other: float(other == kind) for other in TYPES},
        kind: {name: float(name in names) for name in operators(kind)},
    }
    builder, made = SampleBuilder(policy, seed), []
    for image, caption in drawn:
        sample = builder.build(caption, captions[image], images[image]).positives[0]
        if sample.type == kind:
            made.append(Query(image, sample.text, tuple(map(clean, sample.sources))))
    return made


def ambiguous(made: Sequence[Query], captions: Sequence[Sequence[str]]) -> List[bool]:
    """For each query, whether it fits another photo too: the captions of one other image say all its content words.

    Errs on the side of "fits": neither order nor who does what is compared.
    """
    said: Dict[str, Set[int]] = {}
    for image, own in enumerate(captions):
        for word in frozenset().union(*map(content_words, own)):
            said.setdefault(word, set()).add(image)
    everywhere = set(range(len(captions)))
    return [
        len(everywhere.intersection(*(said.get(word, set()) for word in content_words(query.text)))) > 1
        for query in made
    ]


def negatives(
    drawn: Sequence[Drawn], images: Sequence[str], captions: Sequence[Sequence[str]], seed: int
) -> Iterator[Tuple[str, List[Item]]]:
    """Each type I operator, those of `asymmetry` and the probe's own, with one negative of each caption it applies to.

    The rules are those of `asymmetry`: a negative equals no caption of the image, and no content word that it brings in
    stands in any of them.
    """
    every = {name: TEXT_OPERATORS[name] for name in operators("I") if name in TEXT_OPERATORS}
    every.update(own_operators([caption for own in captions for caption in own]))
    true: Dict[int, FrozenSet[str]] = {}
    for name, operator in every.items():
        items = []
        for image, caption in drawn:
            context = Context((caption, *captions[image]))
            known = true.setdefault(image, frozenset(map(normalise, captions[image])))
            text = operator(caption, random.Random(f"{seed}/{name}/{images[image]}/{caption}"), context)
            if text and normalise(text) not in known and brings_in_only_new(text, clean(caption), context):
                items.append(Item(image, clean(caption), (text,)))
        yield name, items

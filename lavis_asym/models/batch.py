"""The texts of a training batch, one by one: strings as the processor joined them -> what the loss asks of each text.

Nothing here depends on how many texts an image has or on their order, so the texts of several processes are one list.
"""

from collections import defaultdict
from itertools import cycle, repeat
from typing import Dict, FrozenSet, List, NamedTuple, Optional, Sequence, Tuple, Union

import torch
from torch import Tensor

from lavis_asym.asymmetry import normalise
from lavis_asym.asymmetry.embedding import EMBEDDING_OPERATORS
from lavis_asym.joined import GROUP_SEPARATOR, SEPARATOR
from lavis_asym.losses.contrastive import GENERATED_NEGATIVE

TERMS = {"caption": "negative", "positive": "positive_negative"}  # of the loss, each with its negatives


class BatchText(NamedTuple):
    """A text of a batch."""

    text: str
    term: str  # in TERMS: where it is a column
    text_id: int  # the id of the image it was made for, or GENERATED_NEGATIVE
    operator: str  # in EMBEDDING_OPERATORS, or "" where its words say what is true or false
    sources: FrozenSet[str]  # normalised captions; the text is true of whatever image has them all

    @property
    def is_caption(self) -> bool:
        """Not generated."""
        return self.term == "caption" and self.text_id != GENERATED_NEGATIVE


def read_texts(text_input: Union[Dict[str, List[str]], Sequence[str]], image_ids: Sequence[int]) -> List[BatchText]:
    """The texts of N images: captions, negatives, positives and their negatives, of each the first of all images first.

    Args:
        text_input: N captions, or the dict of lists that `processors.AsymCaptionProcessor` makes of them.
        image_ids: N.
    """
    fields = _fields(text_input)
    texts = []
    for term, negative in TERMS.items():
        for kind in (term, negative):
            if kind not in fields:
                continue
            columns = _columns(fields[kind])
            operators = _columns(fields[f"{kind}_operator"]) if f"{kind}_operator" in fields else repeat("")
            sources = _columns(fields["sources"], GROUP_SEPARATOR) if kind == "positive" else columns
            ids = cycle(image_ids) if kind == term else repeat(GENERATED_NEGATIVE)
            texts += [
                BatchText(text, term, text_id, operator if operator in EMBEDDING_OPERATORS else "", _captions(own))
                for text, text_id, operator, own in zip(columns, ids, operators, sources)
            ]
    return texts


def read_captions(
    text_input: Union[Dict[str, List[str]], Sequence[str]], siblings: Optional[Sequence[str]] = None
) -> List[FrozenSet[str]]:
    """All normalised captions of each image, as far as the batch tells.

    Args:
        text_input: as in `read_texts`.
        siblings: each image's captions joined, for captions that come without samples.
    """
    fields = _fields(text_input)
    known = fields["siblings"] if siblings is None or isinstance(text_input, dict) else siblings
    return [_captions(own) for own in known]


def known_pairs(captions: Sequence[FrozenSet[str]], image_ids: Sequence[int], texts: Sequence[BatchText]) -> Tensor:
    """N x M bool: the text of column j is known to be true of image i.

    True where the text equals one of the image's captions, or a positive of the batch that was made of them, or is such
    a positive by its sources. What is false on its token vectors only, and a caption still by its words, is known of no
    image.

    Args:
        captions, image_ids: of N images.
        texts: M.
    """
    owners, images = defaultdict(set), defaultdict(set)  # images by id, and by a text that is true of them
    for image, (own, image_id) in enumerate(zip(captions, image_ids)):
        owners[image_id].add(image)
        for caption in own:
            images[caption].add(image)
    for text in texts:
        if not text.operator and text.text_id != GENERATED_NEGATIVE:
            images[normalise(text.text)] |= owners[text.text_id]
    pairs = [
        (image, column)
        for column, text in enumerate(texts)
        if not text.operator
        for image in images[normalise(text.text)] | set.intersection(*(images[source] for source in text.sources))
    ]
    known = torch.zeros(len(captions), len(texts), dtype=torch.bool)
    known[torch.tensor(pairs, dtype=torch.int64).view(-1, 2).unbind(1)] = True
    return known


def term_columns(
    term: str, texts: Sequence[BatchText], scores: Tensor, known: Tensor
) -> Optional[Tuple[Tensor, Tensor, Tensor]]:
    """Scores, text ids and known pairs of a term's texts, as `losses.ascl_loss` takes them; None if there are none."""
    columns = [column for column, text in enumerate(texts) if text.term == term]
    if not columns:
        return None
    ids = torch.tensor([texts[column].text_id for column in columns], device=scores.device)
    return scores[:, columns], ids, known[:, columns]


def _fields(text_input: Union[Dict[str, List[str]], Sequence[str]]) -> Dict[str, List[str]]:
    if isinstance(text_input, dict):
        return text_input
    texts = [" ".join(text.split()) for text in text_input]
    return {"caption": texts, "siblings": texts}


def _columns(joined: Sequence[str], separator: str = SEPARATOR) -> List[str]:
    """N times K texts joined -> K N texts, the first of each image first."""
    return [text for column in zip(*(own.split(separator) for own in joined)) for text in column]


def _captions(joined: str) -> FrozenSet[str]:
    return frozenset(map(normalise, joined.split(SEPARATOR)))

"""The galleries in which the literature ranks, and the line that says which one a table is about.

flickr30k_1k   the 1,000 test images of Flickr30K
coco_5k        the 5,000 test images of COCO (Karpathy)
coco_1k        the mean over five folds of 1,000 consecutive images of these 5,000, each fold with its own texts alone
custom         any gallery, whole
"""

from typing import Any, Dict, Iterator, List, Mapping, NamedTuple, Optional, Union

import numpy as np

from lavis_asym.evaluation.metrics import check_shapes, metrics_of_ranks
from lavis_asym.evaluation.ranks import Ranks, rank_both
from lavis_asym.evaluation.truth import Truth

TIES_IN_WORDS = {"against": "against the model", "expected": "expected value"}


class Protocol(NamedTuple):
    """A gallery of a known number of images (None: any), whole or in folds of so many consecutive images."""

    name: str
    images: Optional[int] = None
    fold: Optional[int] = None


PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol("flickr30k_1k", 1000),
        Protocol("coco_5k", 5000),
        Protocol("coco_1k", 5000, 1000),
        Protocol("custom"),
    )
}


class Gallery(NamedTuple):
    """What is ranked together: indices of images and texts in the whole, and what is right among them alone."""

    images: slice
    texts: Union[slice, np.ndarray]
    truth: Truth


class RankedGallery(NamedTuple):
    """The ranks of every query under a protocol: in its own fold where there are folds.

    Attributes:
        i2t: ranks of the N images as queries. t2i: ranks of the M texts.
        owner: int64 M, the image to which each text belongs.
        fold: consecutive images in a fold; None: one gallery.
    """

    i2t: Ranks
    t2i: Ranks
    owner: np.ndarray
    fold: Optional[int] = None

    def parts(self) -> Iterator["RankedGallery"]:
        """One gallery a fold, its images numbered from 0."""
        if self.fold is None:
            yield self
            return
        images = np.arange(len(self.i2t.ahead))
        for start in range(0, len(images), self.fold):
            texts = np.flatnonzero(self.owner // self.fold == start // self.fold)
            own = self.i2t.take(images[start : start + self.fold])
            yield RankedGallery(own, self.t2i.take(texts), self.owner[texts] - start)

    def metrics(self, ties: str = "against") -> Dict[str, float]:
        """The figures of `retrieval_metrics`; of folds the mean of each figure, medians too."""
        parts = [metrics_of_ranks(part.i2t, part.t2i, ties) for part in self.parts()]
        return {name: sum(part[name] for part in parts) / len(parts) for name in parts[0]}


def galleries(protocol: Protocol, truth: Truth) -> Iterator[Gallery]:
    """What the protocol ranks together, one after another.

    Args:
        truth: of the whole, each text with one image.
    Raises:
        ValueError: the whole has not the protocol's number of images, or cannot be cut into its folds.
    """
    images = len(truth.texts)
    if protocol.images not in (None, images):
        raise ValueError(f"protocol {protocol.name} is defined on {protocol.images} images, this gallery has {images}")
    fold = protocol.fold or images
    if images % fold:
        raise ValueError(f"protocol {protocol.name} needs folds of {fold} images, but {images} are no multiple of that")
    if (truth.images.counts() != 1).any():
        raise ValueError("a protocol needs the one image of each text; give texts that say the same as `groups`")
    for start in range(0, images, fold):
        part, texts = truth.of_images(np.arange(start, start + fold))
        consecutive = texts[-1] - texts[0] + 1 == len(texts)
        yield Gallery(slice(start, start + fold), slice(texts[0], texts[-1] + 1) if consecutive else texts, part)


def rank_gallery(
    scores_i2t: np.ndarray,
    scores_t2i: np.ndarray,
    truth: Truth,
    protocol: Protocol = PROTOCOLS["custom"],
    groups: Optional[np.ndarray] = None,
) -> RankedGallery:
    """Rank every image and every text under a protocol. Copies at most one fold's scores.

    Args:
        scores_i2t, scores_t2i: N x M and M x N.
        truth: of the whole, each text with one image.
        groups: M int64, texts that say the same (see `Truth.with_groups`); made right fold by fold.
    Raises:
        ValueError: see `galleries` and `rank_both`.
    """
    check_shapes(scores_i2t, scores_t2i)
    i2t, t2i = (Ranks(*np.empty((3, queries), dtype=np.int64)) for queries in scores_i2t.shape)
    for images, texts, part in galleries(protocol, truth):
        right = part if groups is None else part.with_groups(groups[texts])
        both = rank_both(scores_i2t[images][:, texts], scores_t2i[texts, images], right)
        for whole, queries, found in zip((i2t, t2i), (images, texts), both):
            for to, values in zip(whole, found):
                to[queries] = values
    return RankedGallery(i2t, t2i, truth.images.values, protocol.fold)


def protocol_line(protocol: Mapping[str, Any]) -> str:
    """The "protocol" section of a result file as one line of text; what it does not say is left out."""

    known = {key: value for key, value in protocol.items() if value is not None}
    if known.get("ties") in TIES_IN_WORDS:
        known["ties"] = TIES_IN_WORDS[known["ties"]]

    def say(template: str, *keys: str) -> List[str]:
        return [template.format(*(known[key] for key in keys))] if known.keys() >= set(keys) else []

    said = [
        " ".join(say("{}", "data") + say("{}", "split")),
        *say("protocol {}", "name"),
        *say("{:,} images", "images"),
        *(say("{:,} captions ({:,} distinct)", "captions", "distinct_captions") or say("{:,} captions", "captions")),
        *say("ties {}", "ties"),
        *(say("k {}", "k_test") if known.get("k_test") else say("every pair scored", "k_test")),
        *say("{}", "precision"),
        *say("{}", "model"),
        *say("weights {}", "weights"),
        *say("epoch {}", "epoch"),
        *say("selected by {}", "selection"),
        *say("seed {}", "seed"),
        *say("commit {}", "commit"),
    ]
    return ", ".join(filter(None, said))

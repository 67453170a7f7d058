"""LAVIS processors: captions to asymmetry samples, images to pixels."""

from typing import Any, Dict, Mapping, Optional, Sequence, Union

import torch
from lavis.processors.base_processor import BaseProcessor
from omegaconf import OmegaConf
from PIL import Image

from lavis_asym.asymmetry import SampleBuilder
from lavis_asym.asymmetry.text import clean
from lavis_asym.encoders import VISION_ENCODERS
from lavis_asym.errors import UserError, near_matches

SEPARATOR = "\n"  # lists of captions travel as one string: LAVIS's collate stacks only what has one shape
NO_CONFIG = OmegaConf.create()


class AsymImageProcessor(BaseProcessor):
    """A PIL image -> the normalised pixels that a vision encoder expects, 3 x S x S float32.

    Args:
        encoder: a name in `encoders.VISION_ENCODERS`.
    """

    def __init__(self, encoder: str = "efficientnet_lite0"):
        if encoder not in VISION_ENCODERS:
            raise UserError(f"vis_processor.encoder: unknown {encoder!r}; {near_matches(encoder, VISION_ENCODERS)}")
        self.transform = VISION_ENCODERS[encoder].transform()

    def __call__(self, image: Image.Image) -> torch.Tensor:
        return self.transform(image.convert("RGB"))

    @classmethod
    def from_config(cls, cfg=None):
        return cls(**_arguments(cfg))


class AsymCaptionProcessor(BaseProcessor):
    """A caption -> the cleaned caption or, for training, the caption with its generated samples.

    Args:
        samples: whether to generate samples.
        policy: see `asymmetry.SampleBuilder`.
        seed: see `asymmetry.SampleBuilder`.
    """

    def __init__(self, samples: bool = False, policy: Optional[Mapping] = None, seed: int = 0):
        try:
            self.builder = SampleBuilder(policy, seed) if samples else None
        except ValueError as error:
            raise UserError(f"text_processor.train: {error}") from None

    def __call__(
        self, caption: str, siblings: Sequence[str] = (), key: str = "", epoch: Optional[int] = None
    ) -> Union[str, Dict[str, str]]:
        """
        Args:
            caption: any text.
            siblings: all captions of the image; LAVIS's own data sets give none, and then there is no type III.
            key: names the image.
            epoch: the pass over the data; None draws one from torch's generator, which LAVIS's loaders seed.
        Returns:
            The cleaned caption; or a dict of `caption`, `negative`, `positive`, `positive_negative` (texts),
            `siblings` (all captions known to be true of the image) and `sources` (the captions that the positive was
            made from), the last two joined by SEPARATOR.
        """
        if self.builder is None:
            return clean(caption)
        if epoch is None:
            epoch = int(torch.randint(2**31, ()))
        drawn = self.builder.build(caption, siblings, key or caption, epoch)
        return {
            "caption": clean(caption),
            "negative": drawn.negatives[0].text,
            "positive": drawn.positives[0].text,
            "positive_negative": drawn.positive_negatives[0].text,
            "siblings": SEPARATOR.join({clean(text): None for text in (caption, *siblings)}),
            "sources": SEPARATOR.join(map(clean, drawn.positives[0].sources)),
        }

    @classmethod
    def from_config(cls, cfg=None):
        return cls(**_arguments(cfg))


def _arguments(cfg: Any) -> Dict[str, Any]:
    arguments = OmegaConf.to_container(OmegaConf.merge(NO_CONFIG, cfg or {}), resolve=True)
    arguments.pop("name", None)
    return arguments

"""LAVIS processors: captions to asymmetry samples, images to pixels."""

import logging
from inspect import signature
from typing import Any, Dict, Mapping, Optional, Sequence, Type, Union

import torch
from lavis.processors.base_processor import BaseProcessor
from omegaconf import OmegaConf
from PIL import Image
from torch.utils.data import get_worker_info

from lavis_asym.asymmetry import SampleBuilder
from lavis_asym.asymmetry.text import clean
from lavis_asym.encoders import VISION_ENCODERS
from lavis_asym.errors import UserError, near_matches
from lavis_asym.images import upright_rgb
from lavis_asym.joined import GROUP_SEPARATOR, SEPARATOR

NO_CONFIG = OmegaConf.create()


class AsymImageProcessor(BaseProcessor):
    """A PIL image -> the normalised pixels that a vision encoder expects, 3 x S x S float32; `size` is (S, S).

    Args:
        encoder: a name in `encoders.VISION_ENCODERS`; in a run it is `model.vision_encoder`.
    Raises:
        UserError: another name.
    """

    def __init__(self, encoder: str = "efficientnet_lite0"):
        if encoder not in VISION_ENCODERS:
            raise UserError(f"encoder: unknown {encoder!r}; {near_matches(encoder, VISION_ENCODERS)}")
        side = VISION_ENCODERS[encoder].image_size
        self.transform, self.size = VISION_ENCODERS[encoder].transform(), side and (side, side)

    def __call__(self, image: Image.Image) -> torch.Tensor:
        return self.transform(upright_rgb(image))

    @classmethod
    def from_config(cls, cfg=None):
        return cls(**_arguments(cls, cfg))


class AsymCaptionProcessor(BaseProcessor):
    """A caption -> the cleaned caption or, for training, the caption with its samples.

    Args:
        samples: whether to draw samples.
        policy: what differs from asymmetry/policy.yaml, see `asymmetry.SampleBuilder`.
        seed: see `asymmetry.SampleBuilder`.
    Raises:
        UserError: what is wrong with the policy.
    """

    def __init__(self, samples: bool = False, policy: Optional[Mapping] = None, seed: int = 0):
        try:
            self.builder = SampleBuilder(policy, seed) if samples else None
        except ValueError as error:
            raise UserError(str(error)) from None
        self._has_said_no_siblings = False

    def __call__(
        self,
        caption: str,
        siblings: Sequence[str] = (),
        key: str = "",
        epoch: Optional[int] = None,
        positives: Sequence[str] = (),
        negatives: Sequence[str] = (),
    ) -> Union[str, Dict[str, str]]:
        """
        Args:
            caption: any text.
            siblings: all captions of the image; LAVIS's own data sets give none, and then there is no type III.
            key: names the image.
            epoch: the pass over the data; None draws one from torch's generator, which LAVIS's loaders seed.
            positives, negatives: samples of this caption that people wrote.
        Returns:
            The cleaned caption; or a dict of texts, lists joined by SEPARATOR:
                caption
                negative: its K negatives; negative_operator: how they were made
                positive: its P positives; sources: the captions each was made from, lists joined by GROUP_SEPARATOR
                positive_negative: one negative of each positive; positive_negative_operator
                siblings: all texts known to be true of the image
            What the policy switches off is left out.
        """
        if self.builder is None:
            return clean(caption)
        if not siblings:
            self._say_no_siblings()
        if epoch is None:
            epoch = int(torch.randint(2**31, ()))
        drawn = self.builder.build(caption, siblings, key or caption, epoch, positives, negatives)
        known = (clean(text) for text in (caption, *siblings, *positives))
        fields = {"caption": clean(caption), "siblings": SEPARATOR.join(dict.fromkeys(known))}
        for name, samples in (("negative", drawn.negatives), ("positive_negative", drawn.positive_negatives)):
            if samples:
                fields[name] = SEPARATOR.join(sample.text for sample in samples)
                fields[f"{name}_operator"] = SEPARATOR.join(sample.operator for sample in samples)
        if drawn.positives:
            fields["positive"] = SEPARATOR.join(sample.text for sample in drawn.positives)
            sources = (SEPARATOR.join(map(clean, sample.sources)) for sample in drawn.positives)
            fields["sources"] = GROUP_SEPARATOR.join(sources)
        return fields

    def _say_no_siblings(self) -> None:
        """Once, and in one worker."""
        worker = get_worker_info()
        if not self._has_said_no_siblings and "III" in self.builder.policy.types and (worker is None or worker.id == 0):
            logging.info("asym_caption: this data set gives one caption at a time, so no type III samples are drawn")
        self._has_said_no_siblings = True

    @classmethod
    def from_config(cls, cfg=None):
        return cls(**_arguments(cls, cfg))


def _arguments(cls: Type[BaseProcessor], cfg: Any) -> Dict[str, Any]:
    arguments = OmegaConf.to_container(OmegaConf.merge(NO_CONFIG, cfg or {}), resolve=True)
    name, known = arguments.pop("name", cls.__name__), signature(cls).parameters
    for key in arguments:
        if key not in known:
            raise UserError(f"{key}: unknown key of {name}; {near_matches(key, known)}")
    return arguments

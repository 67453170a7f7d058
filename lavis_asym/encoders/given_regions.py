"""Stands where an encoder would, for models of region features that were made elsewhere."""

from typing import Any, Callable, Dict, NoReturn, Optional

from torch import Tensor

from lavis_asym.encoders.base import VisionEncoder
from lavis_asym.errors import UserError


def _refuse_images(_: Any) -> NoReturn:
    raise UserError(
        "the model takes region features, no images (model.vision_encoder is regions); give shards of the features "
        "that it was trained on, as lavis-asym features --npy, --h5 or --scan writes them"
    )


class GivenRegions(VisionEncoder):
    """Encodes nothing: batches bring their features, from shards that `lavis-asym features --npy`, ... wrote.

    Args:
        features: what the shards' index says of them.
    """

    name = "regions"
    image_size = None

    def __init__(self, features: Optional[Dict[str, Any]]):
        super().__init__()
        if features is None:
            raise UserError(
                "model.features: not set; with model.vision_encoder=regions a run takes it from its shards, and its "
                "checkpoint keeps it"
            )
        self.n_regions, self.width = features["regions"]
        self.fingerprint = features["fingerprint"]

    @classmethod
    def transform(cls) -> Callable:
        return _refuse_images

    def forward(self, pixels: Tensor) -> NoReturn:
        _refuse_images(pixels)

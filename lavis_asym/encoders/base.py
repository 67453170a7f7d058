"""The two interfaces that every backbone fulfils, and how packaged weights are found and checked."""

import hashlib
from abc import ABC, abstractmethod
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Tuple, Type, Union

from torch import Tensor, nn
from torchvision import transforms

from lavis_asym.errors import UserError


class VisionFeatures(NamedTuple):
    """B images: global vectors B x D and regions B x R x D."""

    vectors: Tensor
    regions: Tensor


class TextFeatures(NamedTuple):
    """B texts: tokens B x L x D and their mask B x L (bool, True on real tokens)."""

    tokens: Tensor
    mask: Tensor


class VisionEncoder(nn.Module, ABC):
    """Images to features. `fingerprint` changes whenever the features of an image would."""

    name: str
    width: int  # D of vectors and regions
    n_regions: int
    image_size: Optional[int]  # None where there are no images
    mean: Tuple[float, float, float]  # of the pixels' channels, in [0, 1]
    std: Tuple[float, float, float]
    fingerprint: str

    @classmethod
    def transform(cls) -> Callable:
        """RGB PIL image -> 3 x image_size x image_size float32; the whole image is squeezed into the square."""
        size = (cls.image_size, cls.image_size)
        return transforms.Compose(
            [
                transforms.Resize(size, interpolation=transforms.InterpolationMode.BICUBIC),
                transforms.ToTensor(),
                transforms.Normalize(cls.mean, cls.std),
            ]
        )

    @abstractmethod
    def forward(self, pixels: Tensor) -> VisionFeatures:
        """B x 3 x image_size x image_size float32, normalised -> features."""


def features_header(encoder: Union[VisionEncoder, Type[VisionEncoder]]) -> Dict[str, Any]:
    """What the index of an encoder's features says of them; `fingerprint` is of encoder, weights and preprocessing."""
    return {
        "encoder": encoder.name,
        "fingerprint": encoder.fingerprint,
        "vector": [encoder.width],
        "regions": [encoder.n_regions, encoder.width],
    }


def check_features(where: object, features: Dict[str, Any], expected: Dict[str, Any]) -> None:
    """Raise UserError unless the features of some data are those that a model is of.

    Args:
        where: the folder of the data, or the model's checkpoint.
        features, expected: as `features_header` gives them, or a shards' index.
    """
    if features == expected:
        return
    encoder = features.get("encoder")
    if encoder != expected["encoder"]:
        mend = f"train and evaluate on the former with --options model.vision_encoder={encoder}"
    elif features["regions"] != expected["regions"]:
        mend = "train on the former"
    elif encoder == "regions":
        name = expected["fingerprint"].partition("/")[2]
        mend = f"if one extractor made both, pack the former again with lavis-asym features --extractor {name}"
    else:
        mend = "run lavis-asym features again with the model's type"
    own, other = (
        f"{header['fingerprint']} ({' x '.join(map(str, header['regions']))})" for header in (features, expected)
    )
    raise UserError(
        f"{where}: the data's features are {own}, the model's {other}; give shards of the latter "
        f"(datasets.NAME.shards, --shards), or {mend}"
    )


class TextEncoder(nn.Module, ABC):
    """Texts to features; tokenises by itself."""

    width: int
    max_tokens: int  # longer texts are cut
    tokenizer: Any  # a fast tokenizer, whose tokens those of `forward` are, but for special ones

    @abstractmethod
    def forward(self, texts: List[str]) -> TextFeatures:
        """Any texts -> features; B = len(texts), L = tokens of the longest."""


def freeze(module: nn.Module) -> nn.Module:
    """Eval mode and no gradients."""
    return module.eval().requires_grad_(False)


def packaged_file(package: str, relative: str, sha256: str) -> Path:
    """A weight file inside an installed package, found without running the package, its content checked.

    Raises:
        UserError: the package is not installed, or the file is not the published one.
    """
    spec = find_spec(package)
    path = Path(spec.origin).parent / relative if spec and spec.origin else None
    if path is None or not path.is_file():
        raise UserError(
            f"the embedded encoders need the package {package!r} with {relative}: pip install 'lavis-asym[embedded]'"
        )
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != sha256:
        raise UserError(f"{path}: sha256 is {found}, expected {sha256}; reinstall the package {package!r}")
    return path

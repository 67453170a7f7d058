"""A sample's bytes to values: captions, images, arrays. Bytes may come from anyone: no pickle, and sizes are capped.

A sample is `<key>.json` and the image's own bytes (`<key>.jpg`, `.png` or `.webp`) or, in shards of features,
`<key>.global.npy` and `<key>.local.npy`, float16. The key is the sample's number in its split, nine digits.
"""

import hashlib
import io
import json
import warnings
from typing import Any, Dict, NamedTuple, Optional, Sequence, Tuple

import numpy as np
from PIL import Image

from lavis_asym.data.layout import GIVEN, Record
from lavis_asym.data.tar import Damage, RawSample
from lavis_asym.images import upright_rgb

EXTENSION_OF_FORMAT = {"JPEG": "jpg", "MPO": "jpg", "PNG": "png", "WEBP": "webp"}
IMAGE_EXTENSIONS = ("jpg", "png", "webp")
FORMATS = ("JPEG", "PNG", "WEBP")
MAX_PIXELS = 2**26
ARRAYS = ("global.npy", "local.npy")
KINDS = ("images", "features")


class Text(NamedTuple):
    """What a sample's json says: its record and its number in the split."""

    record: Record
    number: int


def encode_sample(record: Record, number: int, fields: Dict[str, bytes]) -> RawSample:
    """A sample of an image's or its features' fields; its json is sealed with a sha256 of all of it."""
    text = {**record._asdict(), "number": number}
    sample = RawSample(sample_key(number), fields)
    content = json.dumps({**text, "sha256": _seal(text, sample)}).encode()
    return RawSample(sample.key, {"json": content, **fields})


def content_hash(sample: RawSample) -> str:
    """Of the image or features alone, whatever the captions."""
    content = hashlib.sha256()
    for extension in sorted(set(sample.fields) - {"json"}):
        content.update(sample.fields[extension])
    return content.hexdigest()


def check_seal(sample: RawSample) -> None:
    """Raise Damage if a sample, whose json can be read, is not as it was written."""
    text = json.loads(sample.fields["json"])
    if text.pop("sha256", None) != _seal(text, sample):
        raise Damage("was changed after it was written (its own sha256 is another)")


def _seal(text: Dict[str, Any], sample: RawSample) -> str:
    return hashlib.sha256((content_hash(sample) + json.dumps(text, sort_keys=True)).encode()).hexdigest()


def sample_key(number: int) -> str:
    return f"{number:09d}"


def decode_text(sample: RawSample, number: int) -> Text:
    """The sample's record. Raises Damage unless it is whole and the sample the `number`-th of its split."""
    if sample.fault:
        raise Damage(sample.fault)
    if "json" not in sample.fields:
        raise Damage(f"has no json, only {', '.join(sample.fields)}")
    try:
        text = json.loads(sample.fields["json"].decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise Damage(f"its json cannot be read ({error})") from None
    if not isinstance(text, dict):
        raise Damage(f"its json is a {type(text).__name__}, expected an object")
    for name in ("image", "image_id"):
        if not isinstance(text.get(name), str) or not text[name]:
            raise Damage(f"{name!r} in its json must be a text, got {text.get(name)!r}")
    captions = text.get("captions")
    if not isinstance(captions, list) or not captions:
        raise Damage(f"'captions' in its json must be a non-empty list, got {captions!r}")
    if not all(isinstance(caption, str) and caption.strip() for caption in captions):
        raise Damage(f"a caption is empty or no text: {captions!r}")
    given = {side: _given(text, side, len(captions)) for side in GIVEN}
    if text.get("number") != number or isinstance(text["number"], bool) or sample.key != sample_key(number):
        raise Damage(
            f"stands where sample {sample_key(number)} belongs (its json says number {text.get('number')!r}): "
            "samples are missing, doubled or out of order"
        )
    return Text(Record(text["image"], tuple(captions), text["image_id"], **given), number)


def _given(text: Dict[str, Any], side: str, count: int) -> Tuple[Tuple[str, ...], ...]:
    rows = text.get(side, [])
    whole = isinstance(rows, list) and all(
        isinstance(row, list) and all(isinstance(own, str) and own.strip() for own in row) for row in rows
    )
    if not whole or len(rows) not in (0, count):
        raise Damage(f"{side!r} in its json must hold a list of texts for each of {count} captions, got {rows!r}")
    return tuple(tuple(row) for row in rows)


def image_field(sample: RawSample) -> Tuple[str, bytes]:
    """Extension and bytes of a sample's image. Raises Damage unless it has one, and nothing else but its json."""
    found = [(extension, sample.fields[extension]) for extension in IMAGE_EXTENSIONS if extension in sample.fields]
    if len(found) != 1 or len(sample.fields) > 2:
        raise Damage(f"expected one image, found {', '.join(sample.fields)}")
    return found[0]


def open_image(content: bytes, extension: Optional[str] = None) -> Image.Image:
    """An image whose header was read and whose size is within MAX_PIXELS; not decoded yet.

    Args:
        extension: expected of its content, if given.
    Raises:
        Damage: empty, no image, too large, or of another format.
    """
    if not content:
        raise Damage("its image is empty")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the cap below is lower
            image = Image.open(io.BytesIO(content))
    except Exception as error:  # Pillow's plugins raise what they like on damaged bytes
        raise Damage(f"cannot be decoded ({_brief(error)})") from None
    if image.format not in EXTENSION_OF_FORMAT:
        raise Damage(f"is {image.format}, expected one of {', '.join(FORMATS)}")
    if extension not in (None, EXTENSION_OF_FORMAT[image.format]):
        raise Damage(f"is {image.format}, but its name ends in .{extension}")
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise Damage(f"its image has {width} x {height} pixels, at most {MAX_PIXELS} are decoded")
    return image


def decode_image(
    content: bytes, extension: Optional[str] = None, size: Optional[Tuple[int, int]] = None
) -> Image.Image:
    """The image as `upright_rgb` gives it. Raises Damage.

    Args:
        size: a JPEG may come at 1/2, 1/4 or 1/8 of its own size, but not below this one.
    """
    image = open_image(content, extension)
    try:
        if size:
            image.draft("RGB", size)
        return upright_rgb(image)
    except Exception as error:
        raise Damage(f"cannot be decoded ({_brief(error)})") from None


def encode_array(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=False)
    return stream.getvalue()


def decode_array(sample: RawSample, extension: str, shape: Sequence[int]) -> np.ndarray:
    """A finite float16 array of that very shape (writable). Raises Damage for any other, before memory is taken."""
    if extension not in sample.fields:
        raise Damage(f"has no {extension}, only {', '.join(sample.fields)}")
    content = sample.fields[extension]
    stream = io.BytesIO(content)
    try:
        if np.lib.format.read_magic(stream) != (1, 0):
            raise ValueError("npy version 1.0 expected")
        found, fortran, dtype = np.lib.format.read_array_header_1_0(stream)
    except Exception as error:  # numpy evaluates the header as a literal
        raise Damage(f"{extension} cannot be read ({_brief(error)})") from None
    if dtype != np.float16 or fortran or list(found) != list(shape):
        raise Damage(f"{extension} is {dtype} {tuple(found)}, expected float16 {tuple(shape)}")
    if len(content) - stream.tell() != 2 * int(np.prod(shape)):
        raise Damage(f"{extension} has {len(content)} bytes, more or less than its shape needs")
    array = np.frombuffer(content, np.float16, offset=stream.tell()).reshape(shape)
    if not np.isfinite(array).all():
        raise Damage(f"{extension} has numbers that are not finite")
    return array.copy()


def feature_arrays(sample: RawSample, features: Dict[str, Any]) -> Tuple[np.ndarray, np.ndarray]:
    """Vector D and regions R x D of a sample, as the index's `features` says. Raises Damage as `decode_array`."""
    if set(sample.fields) - {"json", *ARRAYS}:
        raise Damage(f"expected features, found {', '.join(sample.fields)}")
    vector, regions = (decode_array(sample, name, features[key]) for name, key in zip(ARRAYS, ("vector", "regions")))
    return vector, regions


def check_content(sample: RawSample, features: Optional[Dict[str, Any]], deep: bool) -> None:
    """Raise Damage unless the image's header is good (`deep`: all of it can be decoded), or the arrays are.

    Args:
        features: `vector` and `regions` of the index, shapes; None for shards of images.
    """
    if features is None:
        extension, content = image_field(sample)
        decode_image(content, extension) if deep else open_image(content, extension)
        return
    feature_arrays(sample, features)


def _brief(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".split(" <_io")[0][:200]

"""Any image as the RGB that people see: training, evaluation and reports look at the same."""

import numpy as np
from PIL import Image, ImageOps

ORIENTATION = 0x0112  # in EXIF
WITH_ALPHA = ("RGBA", "LA", "PA")


def upright_rgb(image: Image.Image) -> Image.Image:
    """A copy, turned as its EXIF says; 16 bits become 8, transparent parts white; of several frames the first.

    Raises:
        Exception: whatever Pillow raises on damaged content. A damaged EXIF is passed over.
    """
    image.load()
    try:
        turned = image.getexif().get(ORIENTATION, 1) != 1
        image = ImageOps.exif_transpose(image) if turned else image
    except Exception:  # the pixels are whole
        pass
    if image.mode.startswith("I"):
        image = Image.fromarray((np.asarray(image).clip(0, 2**16 - 1) >> 8).astype(np.uint8))
    if image.mode in WITH_ALPHA or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")

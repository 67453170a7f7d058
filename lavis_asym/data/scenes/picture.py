"""A scene as an image."""

from functools import lru_cache
from typing import Mapping, Tuple

from PIL import Image, ImageDraw, ImageFilter

from lavis_asym.data.scenes.truth import BACKGROUNDS, COLOURS, IMAGE_SIDE, Scene

_OUTLINE = (70, 70, 70)
_SUPERSAMPLING = 4
_UNIT = 1000

# Outlines in thousandths of the box side, x to the right and y down.
_POLYGONS: Mapping[str, Tuple[Tuple[int, int], ...]] = {
    "square": ((50, 50), (950, 50), (950, 950), (50, 950)),
    "triangle": ((500, 30), (1000, 930), (0, 930)),
    "diamond": ((500, 0), (870, 500), (500, 1000), (130, 500)),
    "arrow": ((0, 340), (500, 340), (500, 80), (1000, 500), (500, 920), (500, 660), (0, 660)),
    "cross": (
        *((330, 0), (670, 0), (670, 330), (1000, 330), (1000, 670), (670, 670)),
        *((670, 1000), (330, 1000), (330, 670), (0, 670), (0, 330), (330, 330)),
    ),
    "star": (
        *((500, 0), (639, 334), (999, 363), (725, 598), (809, 950)),
        *((500, 761), (191, 950), (275, 598), (1, 363), (361, 334)),
    ),
    "heart": ((75, 491), (268, 320), (732, 320), (925, 491), (500, 970)),
}
# Discs as (centre x, centre y, radius, 255 to add or 0 to take away), drawn after the polygon.
_DISCS: Mapping[str, Tuple[Tuple[int, int, int, int], ...]] = {
    "circle": ((500, 500, 500, 255),),
    "ring": ((500, 500, 500, 255), (500, 500, 255, 0)),
    "crescent": ((500, 500, 500, 255), (720, 500, 400, 0)),
    "heart": ((268, 320, 258, 255), (732, 320, 258, 255)),
}


def render(scene: Scene) -> Image.Image:
    """The scene as an RGB image, 224 by 224, every object in its flat colour with a thin grey outline."""
    image = Image.new("RGB", (IMAGE_SIDE, IMAGE_SIDE), BACKGROUNDS[scene.background])
    for obj in scene.objects:
        whole, inside = _masks(obj.shape, obj.box[2] - obj.box[0])
        image.paste(_OUTLINE, obj.box, whole)
        image.paste(COLOURS[obj.colour], obj.box, inside)
    return image


@lru_cache(maxsize=None)
def _masks(shape: str, side: int) -> Tuple[Image.Image, Image.Image]:
    """Coverage (mode L) of the shape in a box of `side` pixels, and of what lies within its outline.

    Drawn at whole supersampled pixels and averaged in integers, so that the platform's rounding plays no part.
    """
    fine = side * _SUPERSAMPLING
    mask = Image.new("L", (fine, fine), 0)
    draw = ImageDraw.Draw(mask)
    if shape in _POLYGONS:
        draw.polygon([(x * fine // _UNIT, y * fine // _UNIT) for x, y in _POLYGONS[shape]], fill=255)
    for x, y, radius, fill in _DISCS.get(shape, ()):
        corners = ((x - radius, y - radius), (x + radius, y + radius))
        draw.ellipse([(a * fine // _UNIT, b * fine // _UNIT) for a, b in corners], fill=fill)
    return mask.reduce(_SUPERSAMPLING), _eroded(mask).reduce(_SUPERSAMPLING)


def _eroded(mask: Image.Image) -> Image.Image:
    """The mask less about one and a half final pixels all round, the box's edge included."""
    width = 6
    framed = Image.new("L", (mask.width + 2 * width, mask.height + 2 * width), 0)
    framed.paste(mask, (width, width))
    for _ in range(width // 2):
        framed = framed.filter(ImageFilter.MinFilter(5))
    return framed.crop((width, width, width + mask.width, width + mask.height))

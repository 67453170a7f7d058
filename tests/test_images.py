"""What is in a file is what people see, whoever opens it."""

import io

import numpy as np
import pytest
from PIL import Image

from lavis_asym.data.fields import decode_image
from lavis_asym.images import ORIENTATION, upright_rgb

PIXELS = np.random.default_rng(0).integers(0, 256, (3, 2, 3), dtype=np.uint8)
# EXIF's orientation -> what was done to the upright pixels before they were stored
STORED = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a),
    7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
    8: lambda a: np.rot90(a, -1),
}


def saved(image, image_format="PNG", **options):
    content = io.BytesIO()
    image.save(content, image_format, **options)
    return content.getvalue()


def pixel(content):
    image = decode_image(content)
    assert image.mode == "RGB"
    return image.getpixel((0, 0))


@pytest.mark.parametrize("orientation", STORED)
def test_a_photo_stands_upright_and_is_not_turned_again(orientation):
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    content = saved(Image.fromarray(np.ascontiguousarray(STORED[orientation](PIXELS))), exif=exif)
    image = decode_image(content)
    np.testing.assert_array_equal(np.asarray(image), PIXELS)
    for opened in (image, Image.open(io.BytesIO(content)), Image.open(io.BytesIO(content)).convert("RGB")):
        np.testing.assert_array_equal(np.asarray(upright_rgb(opened)), PIXELS)


def test_a_phones_photo_is_scored_and_shown_as_it_is_seen(model, tmp_path):
    from lavis_asym.scorers import photo_of

    exif = Image.Exif()
    exif[ORIENTATION] = 6
    half = Image.new("RGB", (80, 60), "white")
    half.paste("red", (0, 0, 80, 20))
    half.save(tmp_path / "upright.png")
    half.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "phone.png", exif=exif)
    upright, phone = model.similarity([str(tmp_path / f"{name}.png") for name in ("upright", "phone")], ["a star"])
    assert upright == phone

    class Stock:
        vis_root, image = str(tmp_path), ["phone.png"]

    assert photo_of(Stock, 0).tobytes() == half.tobytes()


def test_16_bits_become_8():
    grey = np.array([[0, 257 * 100, 65535]], dtype=np.uint16)
    assert np.asarray(decode_image(saved(Image.fromarray(grey))))[0, :, 0].tolist() == [0, 100, 255]
    assert np.asarray(upright_rgb(Image.fromarray(grey.astype(np.int32))))[0, :, 0].tolist() == [0, 100, 255]


def test_transparent_parts_are_white():
    assert pixel(saved(Image.new("RGBA", (4, 4), (9, 9, 9, 0)))) == (255, 255, 255)
    assert pixel(saved(Image.new("RGBA", (4, 4), (9, 9, 9, 0)), "WEBP", lossless=True)) == (255, 255, 255)
    assert pixel(saved(Image.new("RGBA", (4, 4), (9, 9, 9, 255)))) == (9, 9, 9)
    assert pixel(saved(Image.new("LA", (4, 4), (9, 0)))) == (255, 255, 255)
    palette = Image.new("P", (4, 4), 1)
    palette.putpalette([0, 0, 0, 200, 10, 10])
    assert pixel(saved(palette)) == (200, 10, 10)
    assert pixel(saved(palette, transparency=1)) == (255, 255, 255)
    assert pixel(saved(palette, transparency=0)) == (200, 10, 10)


def test_other_colours_and_the_first_frame():
    red = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    assert np.abs(np.subtract(pixel(saved(red, "JPEG")), (255, 0, 0))).max() <= 3
    assert pixel(saved(Image.new("1", (4, 4), 1))) == (255, 255, 255)
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("blue", "red")]
    for image_format in ("PNG", "WEBP"):
        content = saved(frames[0], image_format, save_all=True, append_images=frames[1:], lossless=True)
        assert Image.open(io.BytesIO(content)).n_frames == 2 and pixel(content) == (0, 0, 255)


def test_a_damaged_exif_costs_no_image():
    for exif in (b"Exif\0\0MM\0*garbage", b"Exif\0\0II*\0\x08\0\0\0\xff\xff\x12\x01"):
        assert decode_image(saved(Image.fromarray(PIXELS), "JPEG", exif=exif)).size == (2, 3)

"""Damaged image files of every format: they are read, or refused in one line; nothing else happens."""

import io
import time
import warnings

import numpy as np
import pytest
from conftest import smooth_photo
from PIL import Image, features

from restore_env import ImageError, read_image

EXIF = Image.Exif()
EXIF[0x0112] = 3  # upside down

FORMATS = {
    "png": [("PNG", mode, {}) for mode in ("1", "L", "LA", "P", "RGB", "RGBA")],
    "jpg": [
        ("JPEG", "L", {}),
        ("JPEG", "RGB", {"progressive": True}),
        ("JPEG", "RGB", {"subsampling": 2, "exif": EXIF}),
        ("JPEG", "CMYK", {}),
    ],
    "webp": [("WEBP", "RGB", {"lossless": True}), ("WEBP", "RGBA", {"quality": 50})],
    "tif": [("TIFF", mode, {"compression": kind}) for mode, kind in (("RGB", "tiff_lzw"), ("L", None), ("CMYK", None))],
    "bmp": [("BMP", mode, {}) for mode in ("1", "L", "P", "RGB")],
    "gif": [("GIF", "P", {})],
    "ppm": [("PPM", "RGB", {}), ("PPM", "L", {})],
    "ico": [("ICO", "RGBA", {"sizes": [(16, 16)]})],
    **({"avif": [("AVIF", "RGB", {})]} if features.check("avif") else {}),
}
"""How each file of the corpus is written: Pillow's format, mode and options, by the file's ending."""


def corpus() -> list[tuple[str, bytes]]:
    """Small files of every format: their ending and their bytes."""
    photo, found = Image.fromarray(smooth_photo(0, 20, 31)), []
    for ending, kinds in FORMATS.items():
        for name, mode, options in kinds:
            file = io.BytesIO()
            photo.convert(mode).save(file, name, **options)
            found.append((ending, file.getvalue()))
    animation, deep = io.BytesIO(), io.BytesIO()
    photo.save(animation, "PNG", save_all=True, append_images=[photo.rotate(90)])
    Image.fromarray(np.arange(600, dtype=np.uint16).reshape(20, 30) * 100).save(deep, "PNG")
    return [*found, ("png", animation.getvalue()), ("png", deep.getvalue())]


def damaged(data: bytes, others: list[bytes], rng: np.random.Generator) -> bytes:
    """Flip, overwrite, delete, insert or repeat bytes, cut the end off, or put in a part of another file."""
    result = bytearray(data)
    for _ in range(int(rng.integers(1, 4))):
        place, length = int(rng.integers(len(result) + 1)), int(2 ** rng.uniform(0, 6))
        kind = rng.integers(7)
        if kind == 0 and result:
            result[min(place, len(result) - 1)] ^= 1 << int(rng.integers(8))
        elif kind == 1:
            result[place : place + length] = rng.bytes(len(result[place : place + length]))
        elif kind == 2:
            del result[place : place + length]
        elif kind == 3:
            result[place:place] = rng.bytes(length)
        elif kind == 4:
            result[place:place] = result[place : place + length]
        elif kind == 5:
            del result[place:]
        else:
            other = others[int(rng.integers(len(others)))]
            result[place : place + length] = other[place : place + length]
    return bytes(result)


@pytest.mark.parametrize("first", [0, pytest.param(200, marks=pytest.mark.slow)])
def test_a_damaged_image_is_read_or_refused(first, tmp_path):
    files, cases = corpus(), 200 if first == 0 else 1800
    refused = 0
    for number in range(first, first + cases):
        rng = np.random.default_rng([7, number])
        ending, data = files[number % len(files)]
        path = tmp_path / f"case.{ending}"
        path.write_bytes(damaged(data, [other for _, other in files], rng))
        started = time.monotonic()
        try:
            with warnings.catch_warnings(action="ignore"):  # Pillow warns of what it finds in damaged files
                image = read_image(path)
        except ImageError as error:
            refused += 1
            assert str(error).startswith(f"{path}: ") and "\n" not in str(error), number
        else:
            assert image.dtype in (np.uint8, np.uint16) and image.ndim in (2, 3) and image.size, number
        assert time.monotonic() - started < 20, number
    assert cases * 0.2 < refused < cases * 0.95  # else the damage is too small or too large to tell anything


def test_the_corpus_itself_is_read(tmp_path):
    for number, (ending, data) in enumerate(corpus()):
        path = tmp_path / f"{number}.{ending}"
        path.write_bytes(data)
        assert read_image(path).shape[:2] in {(20, 31), (20, 30), (16, 16), (10, 16)}, (number, ending)

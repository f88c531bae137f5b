"""Reading and writing images, and where clean photos come from."""

import os
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from restore_env.errors import ImageError
from restore_env.utils.files import replacing
from restore_env.utils.tensors import ByteImage

AnyImage = NDArray[Any]

EXTENSIONS: Final = frozenset(
    (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".ppm", ".pgm", ".pnm", ".gif", ".jp2", ".avif")
)
"""Endings of the files that count as images in a folder."""

WRITTEN: Final = frozenset((".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp"))
"""Endings of the files that can be written."""


_WRITTEN_16_BIT: Final = frozenset((".png", ".tif", ".tiff"))
_WRITTEN_ALPHA: Final = frozenset((".png", ".tif", ".tiff", ".webp"))

# For each EXIF orientation: quarter turns counter-clockwise, then whether to mirror left to right.
_ORIENTATIONS: Final = {
    2: (0, True),
    3: (2, False),
    4: (2, True),
    5: (3, True),
    6: (3, False),
    7: (1, True),
    8: (1, False),
}
_ORIENTATION_TAG: Final = 0x0112


def read_image(path: str | os.PathLike[str]) -> AnyImage:
    """Read an image upright, with all it has.

    Args:
        path: a file in any usual format.

    Returns:
        uint8 or uint16, (h, w) grey, (h, w, 2) grey and alpha, (h, w, 3) RGB or (h, w, 4) RGB and alpha.

    Raises:
        ImageError: if the file is missing, empty, truncated, or no image.
    """
    try:
        data = Path(path).read_bytes()
        orientation, pixels = _verify(Path(path))
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except Exception as error:  # Pillow raises almost anything for a damaged file
        raise ImageError(f"{path}: {_reason(error, Path(path))}") from error
    if image is None or image.dtype not in (np.uint8, np.uint16) or image.ndim not in (2, 3):
        raise ImageError(f"{path}: not an image of 8 or 16 bits a channel")
    # Of 8 bits with alpha Pillow's pixels: OpenCV repeats the grey channel and multiplies the colours of a TIFF.
    decoded = pixels if pixels is not None and image.dtype == np.uint8 else _rgb(np.asarray(image))
    return np.ascontiguousarray(_upright(decoded, orientation))


def write_image(path: str | os.PathLike[str], image: AnyImage) -> None:
    """Write an image, complete or not at all.

    Args:
        path: where to; the ending chooses the format. JPEG is written at quality 95, WebP without loss.
        image: uint8 or uint16, in one of the shapes that `read_image` returns.

    Raises:
        TypeError: if `image` is not uint8 or uint16.
        ValueError: if the format cannot hold the image.
        OSError: if the file cannot be written.
    """
    check_writable(path, image)
    suffix = Path(path).suffix.lower()
    options = {".webp": [cv2.IMWRITE_WEBP_QUALITY, 101]}.get(suffix, [cv2.IMWRITE_JPEG_QUALITY, 95])
    if image.ndim == 3 and image.shape[2] == 2:
        image = np.concatenate([image[..., :1]] * 3 + [image[..., 1:]], axis=2)
    bgr = image[..., [2, 1, 0, 3][: image.shape[2]]] if image.ndim == 3 else image
    done, data = cv2.imencode(
        suffix, np.ascontiguousarray(bgr), options if suffix in (".webp", ".jpg", ".jpeg") else []
    )
    if not done:
        raise ValueError(f"path={str(path)!r}: the image cannot be written as {suffix}")
    with replacing(path) as temporary:
        temporary.write_bytes(data.tobytes())


def check_writable(path: str | os.PathLike[str], image: AnyImage) -> None:
    """Raise a `ValueError` if `write_image` could not keep all of `image` in the format that `path` asks for."""
    check_image(image, fewest_channels=2)
    suffix = Path(path).suffix.lower()
    if suffix not in WRITTEN:
        raise ValueError(f"path={str(path)!r} does not end in one of {', '.join(sorted(WRITTEN))}")
    if image.dtype == np.uint16 and suffix not in _WRITTEN_16_BIT:
        raise ValueError(f"path={str(path)!r}: {suffix} does not hold 16 bits a channel; .png and .tif do")
    if image.ndim == 3 and image.shape[2] in (2, 4) and suffix not in _WRITTEN_ALPHA:
        raise ValueError(f"path={str(path)!r}: {suffix} does not hold transparency; .png, .webp and .tif do")


def check_image(image: object, fewest_channels: int) -> None:
    """Raise a `TypeError` or `ValueError` if `image` is not uint8 or uint16, (h, w) or (h, w, channels) of up to 4."""
    if not isinstance(image, np.ndarray) or image.dtype not in (np.uint8, np.uint16):
        raise TypeError(f"image is {_kind(image)}; a uint8 or uint16 array is needed")
    flat = image.ndim == 2
    if 0 in image.shape or not (flat or (image.ndim == 3 and fewest_channels <= image.shape[2] <= 4)):
        shapes = f"(h, w) or (h, w, channels) of {fewest_channels} to 4 channels"
        raise ValueError(f"image has the shape {image.shape}; {shapes} is needed")


def as_rgb_bytes(image: AnyImage) -> ByteImage:
    """Drop alpha, repeat grey, reduce 16 bits to 8: anything that `read_image` returns as uint8 (h, w, 3)."""
    colour = image[..., None] if image.ndim == 2 else image[..., : 1 if image.shape[2] == 2 else 3]
    if colour.dtype == np.uint16:
        colour = np.rint(colour / 257)
    return np.ascontiguousarray(np.broadcast_to(colour, (*colour.shape[:2], 3)), dtype=np.uint8)


def image_files(folder: str | os.PathLike[str]) -> list[Path]:
    """The image files directly in a folder, sorted by name.

    Raises:
        ImageError: if `folder` is not a folder.
    """
    if not Path(folder).is_dir():
        raise ImageError(f"{folder}: no such folder")
    return sorted(path for path in Path(folder).iterdir() if path.suffix.lower() in EXTENSIONS and path.is_file())


def warn_skipped(reason: object) -> None:
    """Warn, in one line, that an image is left out."""
    warnings.warn(f"skipped {reason}", stacklevel=3)


def check_bytes(name: str, image: object) -> ByteImage:
    """Return `image` if it is a uint8 (h, w, 3) array, else raise a `TypeError` or `ValueError` that names it."""
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8:
        raise TypeError(f"{name} is {_kind(image)}; a uint8 array (h, w, 3) in RGB order is needed")
    if image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise ValueError(f"{name} has the shape {image.shape}; (h, w, 3) in RGB order is needed")
    return image


def check_all_bytes(name: str, images: Iterable[object]) -> None:
    """`check_bytes` for each image of a sequence."""
    for index, image in enumerate(images):
        check_bytes(f"{name}[{index}]", image)


def _kind(image: object) -> str:
    return f"an array of {image.dtype}" if isinstance(image, np.ndarray) else type(image).__name__


def _verify(path: Path) -> tuple[int, AnyImage | None]:
    """Decode with Pillow, which unlike OpenCV refuses a truncated file.

    Returns:
        The EXIF orientation, and if there is alpha the pixels, in RGB order and reduced to 8 bits.
    """
    with Image.open(path) as image:
        image.load()
        pixels = np.asarray(image) if image.mode in ("LA", "RGBA") else None
        return int(image.getexif().get(_ORIENTATION_TAG, 1)), pixels


def _reason(error: Exception, path: Path) -> str:
    if not path.exists():
        return "no such file"
    if path.is_dir():
        return "is a folder, not an image"
    if path.stat().st_size == 0:
        return "the file is empty"
    if isinstance(error, UnidentifiedImageError):
        return "not an image, or in a format that is not supported"
    return f"cannot be read ({getattr(error, 'strerror', None) or str(error) or type(error).__name__})"


def _rgb(image: AnyImage) -> AnyImage:
    """OpenCV's channel order to RGB; an alpha channel stays last."""
    if image.ndim == 2:
        return image
    return image[..., [2, 1, 0, 3][: image.shape[2]]] if image.shape[2] > 2 else image


def _upright(image: AnyImage, orientation: int) -> AnyImage:
    turns, mirrored = _ORIENTATIONS.get(orientation, (0, False))
    turned = np.rot90(image, turns)
    return turned[:, ::-1] if mirrored else turned

"""Read, write and check images."""

import logging
import os
import warnings
import zlib
from collections.abc import Iterable
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import IO, Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageFile, UnidentifiedImageError
from PIL.TiffImagePlugin import BITSPERSAMPLE, PHOTOMETRIC_INTERPRETATION, PLANAR_CONFIGURATION

from restore_env.data.photo_metadata import ORIENTATION, UPRIGHT, XMP_TAG, PhotoMetadata, metadata_of
from restore_env.errors import ImageError
from restore_env.utils.checks import check_whole
from restore_env.utils.files import check_regular, is_temporary, replacing
from restore_env.utils.tensors import ByteImage

AnyImage = NDArray[Any]
"""An image, uint8 or uint16: (h, w) grey, (h, w, 2) grey and alpha, (h, w, 3) RGB, or (h, w, 4) RGB and alpha."""

EXTENSIONS: Final = frozenset(
    (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".ppm", ".pgm", ".pnm", ".gif", ".jp2", ".avif")
    + (".heic", ".heif")
)
"""File endings that count as images in a folder."""

_PILLOW_NAMES: Final = {
    **{".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP", ".avif": "AVIF"},
    **{".tif": "TIFF", ".tiff": "TIFF", ".bmp": "BMP"},
}

WRITTEN: Final = frozenset(_PILLOW_NAMES)
"""File endings that `write_image` can write."""

JPEG_QUALITY: Final = 95
"""Quality at which JPEG and AVIF are written, at least."""

FORMATS: Final = ("PNG", "JPEG", "MPO", "WEBP", "TIFF", "BMP", "DIB", "ICO", "PPM", "GIF", "JPEG2000", "AVIF")
"""Formats that are read, by Pillow's names. Pillow gives files of some others to programs: PostScript to Ghostscript.

The content of a file tells its format, whatever its name. HEIC needs the extra `heif`.
"""

_HEIF_BRANDS: Final = frozenset((b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"))
"""What the header of a HEIC file says it is."""

_WRITTEN_16_BIT: Final = frozenset((".png", ".tif", ".tiff"))
_WRITTEN_ALPHA: Final = frozenset((".png", ".tif", ".tiff", ".webp", ".avif"))
_JPEG: Final = frozenset((".jpg", ".jpeg"))
_TIFF: Final = frozenset((".tif", ".tiff"))
_LOSSY: Final = _JPEG | {".webp", ".avif"}
_PNG_HEADER: Final = 8 + 25
"""Bytes of a PNG before what follows its first chunk."""

_PNG_END: Final = b"\0\0\0\0IEND\xaeB`\x82"

# For each EXIF orientation: the quarter turns counter-clockwise, then whether to mirror left to right.
_ORIENTATIONS: Final = {
    2: (0, True),
    3: (2, False),
    4: (2, True),
    5: (3, True),
    6: (3, False),
    7: (1, True),
    8: (1, False),
}

# Modes of Pillow: grey, grey of more than 8 bits, and those in which 16 bits a channel may have become 8.
_GREY_MODES: Final = frozenset(("1", "L", "LA", "La"))
_DEEP_MODES: Final = frozenset(("I", "I;16", "I;16L", "I;16B", "I;16N"))
_REDUCED_MODES: Final = frozenset(("LA", "RGB", "RGBA"))
_OTHER_COLOURS: Final = frozenset(("CMYK", "YCbCr", "LAB", "HSV"))
_PLANES: Final = "planes"


def read_image(path: str | os.PathLike[str]) -> AnyImage:
    """Read an image upright, with all its channels and bits.

    Args:
        path: a file in any usual format.

    Returns:
        uint8 or uint16: (h, w) grey, (h, w, 2) grey and alpha, (h, w, 3) RGB, or (h, w, 4) RGB and alpha.

    Raises:
        ImageError: if the file is missing, empty, truncated, or not an image of 8 or 16 bits a channel.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     write_image(f"{folder}/grey.png", np.zeros((2, 4), np.uint16))
        ...     image = read_image(f"{folder}/grey.png")
        >>> image.shape, image.dtype.name
        ((2, 4), 'uint16')
    """
    return read_photo(path)[0]


def read_photo(path: str | os.PathLike[str]) -> tuple[AnyImage, PhotoMetadata]:
    """Read an image as `read_image` does, and what the file holds besides.

    Args:
        path: a file in any usual format.

    Returns:
        The image, and its metadata, which `write_image` takes. CMYK and other colours are converted to RGB.

    Raises:
        ImageError: as `read_image` does.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     write_image(f"{folder}/grey.png", np.zeros((2, 4), np.uint8), PhotoMetadata(dpi=(300, 300)))
        ...     image, metadata = read_photo(f"{folder}/grey.png")
        >>> round(metadata.dpi[0])
        300
    """
    try:
        orientation, decoded, metadata = _decode(Path(path))
    except ImageError as error:
        raise ImageError(f"{path}: {error}") from error
    except Exception as error:  # Pillow raises almost anything for a damaged file
        raise ImageError(f"{path}: {why_unreadable(error, Path(path))}") from error
    turns, mirrored = _ORIENTATIONS.get(orientation, (0, False))
    upright = np.rot90(decoded, turns)
    return np.ascontiguousarray(upright[:, ::-1] if mirrored else upright), metadata


def write_image(
    path: str | os.PathLike[str],
    image: AnyImage,
    metadata: PhotoMetadata | None = None,
    quality: int | None = None,
) -> None:
    """Write an image, either completely or not at all.

    JPEG is written at quality 95, or at that of the file that the metadata are of if that is higher, with that file's
    chroma subsampling. WebP is written without loss, AVIF at quality 95.

    Args:
        path: where to write; the file extension chooses the format.
        image: uint8 or uint16, in one of the shapes that `read_image` returns.
        metadata: colour profile and the like, which the file gets too; BMP has none but the resolution.
        quality: quality of JPEG, AVIF or WebP, 1 to 100, instead of the above.

    Raises:
        TypeError: if `image` is not uint8 or uint16.
        ValueError: if the format cannot hold the image, or has no such quality.
        OSError: if the file cannot be written.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     write_image(f"{folder}/red.png", np.full((2, 4, 3), (255, 0, 0), np.uint8))
        ...     read_image(f"{folder}/red.png")[0, 0].tolist()
        [255, 0, 0]
    """
    check_writable(path, image, quality)
    suffix, known = Path(path).suffix.lower(), metadata or PhotoMetadata()
    write = _write_16_bits if image.dtype == np.uint16 and image.ndim == 3 else _write
    with replacing(path) as temporary, temporary.open("w+b") as file:  # encoders write as they go: a photo may be large
        write(file, suffix, np.ascontiguousarray(image), known, quality)


def open_image(path: str | os.PathLike[str]) -> ImageFile.ImageFile:
    """Open an image of one of `FORMATS` or HEIC, and read its header.

    Raises:
        ImageError: if it is HEIC, and pi-heif is not installed.
        Exception: almost anything, if the file is damaged or of another format.
    """
    check_regular(Path(path))
    Image.init()
    formats: list[str] = [name for name in FORMATS if name in Image.OPEN]
    with Path(path).open("rb") as file:
        header = file.read(64)
    if header[4:8] == b"ftyp" and header[8:12] in _HEIF_BRANDS and b"avif" not in header:
        try:
            import pi_heif  # noqa: PLC0415  # an extra
        except ImportError:
            raise ImageError("a HEIC photo; reading it needs: pip install 'restore-env[heif]'") from None
        pi_heif.register_heif_opener()
        formats = ["HEIF"]
    return Image.open(path, formats=formats)


def check_writable(path: str | os.PathLike[str], image: AnyImage, quality: int | None = None) -> None:
    """Raise a `ValueError` if the format that `path` asks for cannot hold an image, or has no quality."""
    check_image(image, fewest_channels=2)
    suffix = Path(path).suffix.lower()
    if quality is not None:
        check_whole("quality", quality, 1, 100)
        if suffix not in _LOSSY:
            raise ValueError(f"quality={quality}: {suffix} has no quality; .jpg, .webp and .avif do")
    if suffix not in WRITTEN:
        raise ValueError(f"path={str(path)!r} does not end in one of {', '.join(sorted(WRITTEN))}")
    if image.dtype == np.uint16 and suffix not in _WRITTEN_16_BIT:
        raise ValueError(f"path={str(path)!r}: {suffix} does not hold 16 bits a channel; .png and .tif do")
    if image.ndim == 3 and image.shape[2] in (2, 4) and suffix not in _WRITTEN_ALPHA:
        raise ValueError(f"path={str(path)!r}: {suffix} does not hold transparency; .png, .webp, .avif and .tif do")


def check_image(image: object, fewest_channels: int) -> None:
    """Check that an image is uint8 or uint16, (h, w) or (h, w, channels).

    Args:
        image: what to check.
        fewest_channels: the smallest number of channels that is accepted; the largest is 4.

    Raises:
        TypeError: if it is not an array of that dtype.
        ValueError: if it has another shape.
    """
    if not isinstance(image, np.ndarray) or image.dtype not in (np.uint8, np.uint16):
        raise TypeError(f"image is {_kind(image)}; a uint8 or uint16 array is needed")
    flat = image.ndim == 2
    if 0 in image.shape or not (flat or (image.ndim == 3 and fewest_channels <= image.shape[2] <= 4)):
        shapes = f"(h, w) or (h, w, channels) of {fewest_channels} to 4 channels"
        raise ValueError(f"image has the shape {image.shape}; {shapes} is needed")


def check_bytes(name: str, image: object) -> ByteImage:
    """Return an image if it is uint8 (h, w, 3).

    Args:
        name: what to call the image in messages.
        image: what to check.

    Raises:
        TypeError: if it is not a uint8 array.
        ValueError: if it has another shape.
    """
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8:
        raise TypeError(f"{name} is {_kind(image)}; a uint8 array (h, w, 3) in RGB order is needed")
    if image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise ValueError(f"{name} has the shape {image.shape}; (h, w, 3) in RGB order is needed")
    return image


def check_all_bytes(name: str, images: Iterable[object]) -> None:
    """Apply `check_bytes` to each image of a sequence."""
    for index, image in enumerate(images):
        check_bytes(f"{name}[{index}]", image)


def as_rgb_bytes(image: AnyImage) -> ByteImage:
    """Convert what `read_image` returns to uint8 (h, w, 3): drop alpha, repeat grey, reduce 16 bits to 8.

    Example:
        >>> as_rgb_bytes(np.array([[0, 65535]], np.uint16)).tolist()
        [[[0, 0, 0], [255, 255, 255]]]
    """
    # (h, w) -> (h, w, 1); otherwise all channels but alpha
    colour = image[..., None] if image.ndim == 2 else image[..., : 1 if image.shape[2] == 2 else 3]
    if colour.dtype == np.uint16:
        colour = np.rint(colour / 257)
    return np.ascontiguousarray(np.broadcast_to(colour, (*colour.shape[:2], 3)), dtype=np.uint8)


def image_files(folder: str | os.PathLike[str]) -> list[Path]:
    """Return the image files directly in a folder, sorted by name. What a killed program left is none of them.

    Raises:
        ImageError: if `folder` is not a folder.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     for name in ("b.png", "a.jpg", "notes.txt"):
        ...         Path(folder, name).touch()
        ...     [path.name for path in image_files(folder)]
        ['a.jpg', 'b.png']
    """
    if not Path(folder).is_dir():
        raise ImageError(f"{folder}: no such folder")
    return sorted(
        path
        for path in Path(folder).iterdir()
        if path.suffix.lower() in EXTENSIONS and path.is_file() and not is_temporary(path)
    )


def warn_skipped(reason: object) -> None:
    """Warn in one line that an image is skipped."""
    warnings.warn(f"skipped {reason}", stacklevel=3)


def why_unreadable(error: Exception, path: Path) -> str:
    """Return a short reason why an image cannot be read.

    Args:
        error: the error that reading it raised.
        path: the file.
    """
    if not path.exists():
        return "no such file"
    if path.is_dir():
        return "is a folder, not an image"
    if not path.is_file():
        return "a pipe or a device, not an image"
    if path.stat().st_size == 0:
        return "the file is empty"
    if isinstance(error, UnidentifiedImageError):
        return "not an image, or in a format that is not supported"
    return f"cannot be read ({getattr(error, 'strerror', None) or str(error) or type(error).__name__})"


def _kind(image: object) -> str:
    """Return words for what an image is, for messages."""
    return f"an array of {image.dtype}" if isinstance(image, np.ndarray) else type(image).__name__


def _decode(path: Path) -> tuple[int, AnyImage, PhotoMetadata]:
    """Return the EXIF orientation, the pixels and the metadata of an image.

    Pillow decodes, because its decoders withstand damaged files. It reduces 16 bits of colour to 8. Only such a file
    goes to OpenCV or tifffile, after Pillow has decoded all of it.
    """
    with open_image(path) as image:
        image.filename = ""  # else Pillow maps the file into memory, and mixes up the pixels of a turned grey TIFF
        raw_mode, stored = _raw_mode_of_16_bits(image), _orientation(image)
        image.load()
        orientation, metadata = _orientation(image), metadata_of(image)  # Pillow itself has turned a TIFF
        if image.mode in _DEEP_MODES:
            return orientation, _as_16_bits(image), metadata
        if image.mode in _REDUCED_MODES and raw_mode == _PLANES:
            return stored, _decode_planes(path), metadata
        if image.mode in _REDUCED_MODES and raw_mode:
            return orientation, _decode_16_bits(path, image, raw_mode), metadata
        target = _target_mode(image)
        converted = image if image.mode == target else image.convert(target)
        if image.mode in _OTHER_COLOURS:
            converted, metadata = _to_rgb(image, converted, metadata)
        return orientation, np.asarray(converted), metadata


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation."""
    return int(image.getexif().get(ORIENTATION, UPRIGHT))


def _to_rgb(image: Image.Image, converted: Image.Image, metadata: PhotoMetadata) -> tuple[Image.Image, PhotoMetadata]:
    """Return an image of other colours in sRGB, by its profile if it has one, and metadata without the profile."""
    if metadata.icc_profile:
        try:
            profile = ImageCms.ImageCmsProfile(BytesIO(metadata.icc_profile))
            found = ImageCms.profileToProfile(image, profile, ImageCms.createProfile("sRGB"), outputMode="RGB")
            converted = converted if found is None else found
        except (ImageCms.PyCMSError, OSError):  # a damaged profile
            pass
    return converted, replace(metadata, icc_profile=None).with_remark(f"is converted from {image.mode} to RGB")


def _write(file: IO[bytes], suffix: str, image: AnyImage, metadata: PhotoMetadata, quality: int | None) -> None:
    """Write an image of 8 bits a channel, or of 16 bits and grey."""
    options = metadata.saved_with(suffix)
    if suffix in _JPEG:
        options["quality"] = quality or max(JPEG_QUALITY, metadata.jpeg_quality or 0)
        if metadata.jpeg_subsampling is not None and image.ndim == 3:
            options["subsampling"] = metadata.jpeg_subsampling
    elif suffix == ".webp":  # `exact` keeps the colours of transparent pixels
        options |= {"quality": quality} if quality else {"lossless": True, "exact": True}
    elif suffix == ".avif":
        options |= {"quality": quality or JPEG_QUALITY}
    elif suffix in _TIFF:
        options["compression"] = "tiff_lzw"
    Image.fromarray(image).save(file, _PILLOW_NAMES[suffix], **options)


def _write_16_bits(file: IO[bytes], suffix: str, image: AnyImage, metadata: PhotoMetadata, _: int | None) -> None:
    """Write an image of 16 bits a channel with several channels, which Pillow cannot write."""
    if image.shape[2] == 2:  # no library writes and reads 16 bits of grey and alpha
        image = np.concatenate([image[..., :1]] * 3 + [image[..., 1:]], axis=2)
    if suffix in _TIFF:
        _write_tiff_16_bits(file, image, metadata)
        return
    _, data = cv2.imencode(suffix, np.ascontiguousarray(_swap_red_and_blue(image)))
    # A small PNG of Pillow has the metadata; they follow the header, which is 8 + 25 bytes long in both.
    small = BytesIO()
    _write(small, suffix, np.zeros((1, 1, 3), np.uint8), metadata, None)
    chunks = small.getvalue()[_PNG_HEADER : small.getvalue().index(b"IDAT") - 4]
    for part in (data.data[:_PNG_HEADER], chunks, data.data[_PNG_HEADER:]):
        file.write(part)


def _write_tiff_16_bits(file: IO[bytes], image: AnyImage, metadata: PhotoMetadata) -> None:
    """Write a TIFF of 16 bits a channel, RGB or RGB and alpha, by tifffile."""
    import tifffile  # noqa: PLC0415  # it takes a while

    extra = [(XMP_TAG, 1, len(metadata.xmp), metadata.xmp, True)] if metadata.xmp else []
    tifffile.imwrite(
        file,
        image,
        photometric="rgb",
        planarconfig="contig",
        extrasamples=["unassalpha"] if image.shape[2] == 4 else None,
        compression="zlib",
        iccprofile=metadata.icc_profile,
        resolution=metadata.dpi,
        resolutionunit="INCH" if metadata.dpi else None,
        metadata=None,
        extratags=extra,
    )


def _target_mode(image: Image.Image) -> str:
    """Return the mode to convert an image to: grey or RGB, with alpha if it is transparent anywhere."""
    if image.mode == "F":
        raise ImageError("not an image of 8 or 16 bits a channel")
    if image.mode in _GREY_MODES:
        return "LA" if image.has_transparency_data else "L"
    return "RGBA" if image.has_transparency_data else "RGB"


def _raw_mode_of_16_bits(image: ImageFile.ImageFile) -> str:
    """Return how the file holds 16 bits a channel that Pillow will reduce to 8, else ""; call it before decoding."""
    raw_modes = [str(tile[3]) for tile in image.tile]
    if image.format == "TIFF" and len(image.getbands()) > 1 and max(_tags(image).get(BITSPERSAMPLE, (8,))) > 8:
        return _PLANES if _tags(image).get(PLANAR_CONFIGURATION) == 2 else raw_modes[0]
    if image.format == "PPM":  # each value is scaled by the largest one, which only then is all 16 bits
        return next((mode for mode in raw_modes if mode == "('RGB', 65535)"), "")
    return next((mode for mode in raw_modes if ";16" in mode and "BGR" not in mode), "")  # "BGR;16": 16 bits a pixel


def _tags(image: Image.Image) -> dict[int, Any]:
    """Return the tags of a TIFF; an image of another format has none."""
    return dict(getattr(image, "tag_v2", {}))


def _decode_16_bits(path: Path, image: Image.Image, raw_mode: str) -> AnyImage:
    """Return an image of 16 bits a channel, decoded by OpenCV.

    Args:
        path: the file.
        image: the same, decoded by Pillow.
        raw_mode: how the file holds its channels.
    """
    content = path.read_bytes()
    data = _pixels_of_png(content) if image.format == "PNG" else content
    found = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if found is None or found.dtype != np.uint16:
        raise ImageError("not an image of 8 or 16 bits a channel")
    pixels = _swap_red_and_blue(np.asarray(found))
    if pixels.ndim == 3 and not image.has_transparency_data:
        pixels = pixels[..., :3]  # a fourth channel without a meaning
    return _without_alpha_in_colours(pixels) if "RGBa" in raw_mode else pixels


def _pixels_of_png(content: bytes) -> bytes:
    """Return a PNG that Pillow has decoded, with nothing that OpenCV would print warnings about.

    It has the chunks that make the pixels, right checksums and an end; Pillow does without them. A chunk that is longer
    than the file makes OpenCV hang.

    Raises:
        ImageError: if the file ends within a chunk.
    """
    kept, place = [content[:8]], 8
    while place < len(content):
        end = place + 8 + int.from_bytes(content[place : place + 4], "big")
        if end + 4 > len(content):
            raise ImageError("cannot be read (the file is cut off)")
        if content[place + 4 : place + 8] in (b"IHDR", b"tRNS", b"IDAT"):
            kept += [content[place:end], zlib.crc32(content[place + 4 : end]).to_bytes(4, "big")]
        place = end + 4
    return b"".join([*kept, _PNG_END])


def _without_alpha_in_colours(pixels: AnyImage) -> AnyImage:
    """Return uint16 (h, w, 4) whose colours are no longer multiplied by alpha."""
    colours, alpha = pixels[..., :3], pixels[..., 3:]
    whole = np.where(alpha > 0, np.rint(colours * (65535 / np.maximum(alpha, 1))), colours)
    return np.concatenate([np.minimum(whole, 65535).astype(np.uint16), alpha], axis=2)


def _decode_planes(path: Path) -> AnyImage:
    """Return a TIFF of 16 bits whose channels lie apart, decoded by tifffile; Pillow and OpenCV mix them up."""
    import tifffile  # noqa: PLC0415  # it takes a while

    logging.getLogger("tifffile").addHandler(logging.NullHandler())  # else what it logs of damaged files is printed
    with tifffile.TiffFile(path) as file:
        planes = np.asarray(file.pages[0].asarray())  # (channels, h, w)
    if planes.dtype != np.uint16 or planes.ndim != 3 or planes.shape[0] not in (3, 4):
        raise ImageError("not an image of 8 or 16 bits a channel")
    return np.moveaxis(planes, 0, 2)


def _as_16_bits(image: Image.Image) -> AnyImage:
    """Return grey pixels as uint16, with alpha if the file names a transparent grey."""
    pixels = np.asarray(image)
    if pixels.min() < 0 or pixels.max() > np.iinfo(np.uint16).max:
        raise ImageError("not an image of 8 or 16 bits a channel")
    deep = pixels.astype(np.uint16)
    if _tags(image).get(PHOTOMETRIC_INTERPRETATION) == 0:  # white is 0; Pillow inverts only 8 bits
        deep = np.iinfo(np.uint16).max - deep
    clear = image.info.get("transparency")
    if clear is None:
        return deep
    return np.stack([deep, np.where(deep == clear, 0, np.iinfo(np.uint16).max).astype(np.uint16)], axis=2)


def _swap_red_and_blue(image: AnyImage) -> AnyImage:
    """Convert between RGB and OpenCV's BGR; alpha stays last."""
    return image[..., [2, 1, 0, 3][: image.shape[2]]] if image.ndim == 3 and image.shape[2] > 2 else image

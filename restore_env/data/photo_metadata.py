"""What an image file holds besides its pixels: colour profile, EXIF, XMP, resolution, and how JPEG compressed it."""

import re
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from PIL import ExifTags, Image, JpegImagePlugin, PngImagePlugin

ORIENTATION: Final = ExifTags.Base.Orientation
UPRIGHT: Final = 1
SIZES: Final = (ExifTags.Base.ExifImageWidth, ExifTags.Base.ExifImageHeight)
TURNED: Final = frozenset((5, 6, 7, 8))
"""EXIF orientations that exchange width and height."""

XMP_IN_PNG: Final = "XML:com.adobe.xmp"
XMP_TAG: Final = 700
"""Tag of XMP in TIFF files."""

_DESCRIPTIVE: Final = frozenset(
    (270, 271, 272, int(ORIENTATION), 305, 306, 315, 316, 33432, int(ExifTags.IFD.Exif), int(ExifTags.IFD.GPSInfo))
)
"""EXIF tags of a TIFF that describe the photo; the others say where its pixels lie."""

_XMP_ORIENTATION: Final = re.compile(rb"""(tiff:Orientation(?:=["']|>))[1-8]""")

# Annex K of the JPEG standard: the table of luminance for quality 50; only its scaled sum is compared.
_LUMINANCE: Final = np.array(
    [16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29]
    + [51, 87, 80, 62, 18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92, 49, 64, 78, 87, 103, 121]
    + [120, 101, 72, 92, 95, 98, 112, 100, 103, 99]
)


@dataclass(frozen=True)
class PhotoMetadata:
    """What an image file holds besides its pixels.

    Attributes:
        icc_profile: the colour profile, None if there is none.
        exif: EXIF of an upright image, b"" if there is none.
        xmp: XMP of an upright image, b"" if there is none.
        dpi: resolution in pixels per inch, horizontal and vertical; None if unknown.
        jpeg_quality: quality of libjpeg, 1 to 100, that the file was compressed with; None if it is no JPEG.
        jpeg_subsampling: chroma subsampling as Pillow numbers it: 0 none, 1 horizontal, 2 both ways; None if unknown.
        remarks: what was converted or left out, in words.

    Example:
        >>> PhotoMetadata(dpi=(300, 300)).saved_with(".png")
        {'dpi': (300, 300)}
    """

    icc_profile: bytes | None = None
    exif: bytes = b""
    xmp: bytes = b""
    dpi: tuple[float, float] | None = None
    jpeg_quality: int | None = None
    jpeg_subsampling: int | None = None
    remarks: tuple[str, ...] = ()

    def saved_with(self, suffix: str) -> dict[str, Any]:
        """Return the options with which Pillow writes this metadata into a file.

        Args:
            suffix: ending of the file's name, in small letters.
        """
        options: dict[str, Any] = {"icc_profile": self.icc_profile, "exif": self.exif, "dpi": self.dpi}
        if suffix == ".png" and self.xmp:
            options["pnginfo"] = PngImagePlugin.PngInfo()
            options["pnginfo"].add_itxt(XMP_IN_PNG, self.xmp.decode("utf-8", "replace"))
        elif suffix in (".tif", ".tiff"):  # Pillow takes either EXIF or tags
            options["tiffinfo"] = Image.Exif()
            options["tiffinfo"].load(options.pop("exif"))
            options["tiffinfo"].update({XMP_TAG: self.xmp} if self.xmp else {})
        elif self.xmp:
            options["xmp"] = self.xmp
        return {name: value for name, value in options.items() if value}

    def with_remark(self, remark: str) -> "PhotoMetadata":
        """Return the metadata with another remark."""
        return replace(self, remarks=(*self.remarks, remark))


def metadata_of(image: Image.Image) -> PhotoMetadata:
    """Return the metadata of an image that Pillow has decoded; damaged parts are left out, with a remark.

    Args:
        image: the image, as the file has it: not yet upright.
    """
    remarks = []
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format != "MPO":  # further images of a camera's JPEG are previews
        remarks.append(f"has {frames} frames or pages; only the first is read")
    try:
        exif, xmp = _upright_exif(image), _upright_xmp(image)
    except Exception:  # Pillow raises almost anything for damaged metadata
        exif, xmp = b"", b""
        remarks.append("has damaged EXIF or XMP, which is left out")
    return PhotoMetadata(
        icc_profile=image.info.get("icc_profile") or None,
        exif=exif,
        xmp=xmp,
        dpi=_dpi(image.info.get("dpi")),
        jpeg_quality=_jpeg_quality(image),
        jpeg_subsampling=_jpeg_subsampling(image),
        remarks=tuple(remarks),
    )


def _upright_exif(image: Image.Image) -> bytes:
    """Return EXIF as it is for the upright image."""
    exif = image.getexif()
    if not exif:
        return b""
    orientation = exif.get(ORIENTATION, UPRIGHT)
    if ORIENTATION in exif:
        exif[ORIENTATION] = UPRIGHT
    if image.format == "TIFF":
        for tag in set(exif) - _DESCRIPTIVE:
            del exif[tag]
    details = exif.get_ifd(ExifTags.IFD.Exif) if ExifTags.IFD.Exif in exif else {}
    if orientation in TURNED and all(tag in details for tag in SIZES):
        details[SIZES[0]], details[SIZES[1]] = details[SIZES[1]], details[SIZES[0]]
    return exif.tobytes() if exif else b""


def _upright_xmp(image: Image.Image) -> bytes:
    """Return XMP as it is for the upright image."""
    found = image.info.get("xmp") or image.info.get(XMP_IN_PNG) or b""
    data = found.encode() if isinstance(found, str) else bytes(found)
    return _XMP_ORIENTATION.sub(rb"\g<1>1", data)


def _dpi(found: Any) -> tuple[float, float] | None:
    """Return a resolution that makes sense, or None."""
    try:
        across, down = (float(value) for value in found)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return (across, down) if 1 < across < 1e6 and 1 < down < 1e6 else None  # 1 stands for no unit


def _jpeg_quality(image: Image.Image) -> int | None:
    """Return the quality whose standard table of luminance is nearest to that of a JPEG."""
    tables = getattr(image, "quantization", None)
    if not tables:
        return None
    total = sum(next(iter(tables.values())))
    qualities = np.arange(1, 101)
    scales = np.where(qualities < 50, 5000 / qualities, 200 - 2 * qualities)
    sums = np.clip((np.outer(scales, _LUMINANCE) + 50) // 100, 1, 255).sum(1)  # (100,) x (64,) -> (100, 64) -> (100,)
    return int(qualities[np.abs(sums - total).argmin()])


def _jpeg_subsampling(image: Image.Image) -> int | None:
    """Return the chroma subsampling of a JPEG of three channels."""
    if not isinstance(image, JpegImagePlugin.JpegImageFile) or image.mode not in ("RGB", "YCbCr"):
        return None
    found = JpegImagePlugin.get_sampling(image)
    return found if found >= 0 else None

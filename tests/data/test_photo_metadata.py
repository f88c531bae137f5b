"""What files hold besides pixels is kept, as it is for the upright image."""

import sys

import numpy as np
import pytest
from conftest import SHARED
from PIL import ExifTags, Image, ImageCms, JpegImagePlugin

from restore_env.data.image_io import read_image, read_photo, write_image
from restore_env.data.photo_metadata import PhotoMetadata
from restore_env.errors import ImageError

PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf tiff:Orientation="%d" dc:title="B\xc3\xa4ume"/></x:xmpmeta>'
BASE, EXIF = ExifTags.Base, ExifTags.IFD.Exif


def exif_of(orientation, width=0, height=0):
    exif = Image.Exif()
    exif[BASE.Orientation], exif[BASE.Artist] = orientation, "Ansel"
    if width:
        details = exif.get_ifd(EXIF)
        details[BASE.ExifImageWidth], details[BASE.ExifImageHeight] = width, height
    return exif


ALL = PhotoMetadata(PROFILE, exif_of(1).tobytes(), XMP % 1, (300.0, 300.0))


@pytest.mark.parametrize(
    ("suffix", "dtype", "channels"),
    [
        *((suffix, np.uint8, 3) for suffix in (".png", ".jpg", ".jpeg", ".webp", ".avif", ".tif")),
        *((".png", np.uint16, channels) for channels in (0, 3, 4)),
        *((".tif", np.uint16, channels) for channels in (0, 3, 4)),
    ],
)
def test_all_is_kept(suffix, dtype, channels, tmp_path):
    shape = (20, 30, channels) if channels else (20, 30)
    image = np.random.default_rng(0).integers(np.iinfo(dtype).max, size=shape, dtype=dtype)
    write_image(tmp_path / f"photo{suffix}", image, ALL)
    pixels, found = read_photo(tmp_path / f"photo{suffix}")
    assert found.icc_profile == PROFILE and found.remarks == ()
    assert found.xmp.rstrip(b"\0") == ALL.xmp
    if suffix not in (".webp", ".avif"):  # which have no resolution but in EXIF
        assert found.dpi == pytest.approx((300, 300), abs=0.01)
    if (suffix, dtype) != (".tif", np.uint16) or not channels:  # tifffile writes no EXIF
        exif = Image.Exif()
        exif.load(found.exif)
        assert exif[BASE.Artist] == "Ansel"
    assert pixels.dtype == dtype and pixels.shape == shape
    if suffix in (".png", ".tif"):
        assert np.array_equal(pixels, image)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
def test_a_turned_photo_is_upright_in_all_that_is_kept(suffix, photos, tmp_path):
    height, width = photos[0].shape[:2]
    exif = exif_of(6, width, height)
    options = PhotoMetadata(xmp=XMP % 6).saved_with(suffix)
    Image.fromarray(photos[0]).save(tmp_path / f"turned{suffix}", exif=exif, **options)
    image, metadata = read_photo(tmp_path / f"turned{suffix}")
    assert image.shape[:2] == (width, height)
    write_image(tmp_path / f"upright{suffix}", image, metadata)
    again, found = read_photo(tmp_path / f"upright{suffix}")
    assert again.shape == image.shape and b'Orientation="1"' in found.xmp
    read = Image.Exif()
    read.load(found.exif)
    details = read.get_ifd(EXIF)
    assert read[BASE.Orientation] == 1 and read[BASE.Artist] == "Ansel"
    assert (details[BASE.ExifImageWidth], details[BASE.ExifImageHeight]) == (height, width)


@pytest.mark.parametrize("quality", [5, 20, 50, 75, 90, 92, 95, 98, 100])
@pytest.mark.parametrize("subsampling", [0, 1, 2])
def test_how_a_jpeg_was_compressed_is_known(quality, subsampling, photos, tmp_path):
    Image.fromarray(photos[0]).save(tmp_path / "photo.jpg", quality=quality, subsampling=subsampling)
    image, metadata = read_photo(tmp_path / "photo.jpg")
    assert (metadata.jpeg_quality, metadata.jpeg_subsampling) == (quality, subsampling)
    write_image(tmp_path / "again.jpg", image, metadata)
    again = read_photo(tmp_path / "again.jpg")[1]
    assert (again.jpeg_quality, again.jpeg_subsampling) == (max(95, quality), subsampling)
    write_image(tmp_path / "small.jpg", image, metadata, quality=40)
    assert read_photo(tmp_path / "small.jpg")[1].jpeg_quality == 40


def test_grey_has_no_subsampling(photos, tmp_path):
    write_image(tmp_path / "grey.jpg", photos[0][..., 0], PhotoMetadata(jpeg_subsampling=2))
    image, metadata = read_photo(tmp_path / "grey.jpg")
    assert image.ndim == 2 and metadata.jpeg_subsampling is None


@pytest.mark.parametrize("suffix", [".webp", ".avif"])
def test_a_lower_quality_makes_smaller_files(suffix, photos, tmp_path):
    for quality in (None, 30):
        write_image(tmp_path / f"{quality}{suffix}", photos[0], quality=quality)
    assert (tmp_path / f"30{suffix}").stat().st_size < (tmp_path / f"None{suffix}").stat().st_size / 2


@pytest.mark.parametrize(
    ("name", "quality", "message"),
    [
        ("photo.png", 90, "quality=90: .png has no quality; .jpg, .webp and .avif do"),
        ("photo.jpg", 0, "quality=0"),
        ("photo.jpg", 101, "quality=101"),
    ],
)
def test_a_wrong_quality_is_refused(name, quality, message, photos, tmp_path):
    with pytest.raises(ValueError, match=message):
        write_image(tmp_path / name, photos[0], quality=quality)
    assert not list(tmp_path.iterdir())


def test_cmyk_becomes_rgb_with_a_remark(photos, tmp_path):
    Image.fromarray(photos[0]).convert("CMYK").save(tmp_path / "cmyk.tif", icc_profile=b"none")
    image, metadata = read_photo(tmp_path / "cmyk.tif")
    assert metadata.remarks == ("is converted from CMYK to RGB",) and metadata.icc_profile is None
    assert np.abs(image.astype(int) - photos[0]).mean() < 2


def test_a_photo_in_lab_is_converted_by_its_profile(photos, tmp_path):
    colours = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    lab = ImageCms.profileToProfile(Image.fromarray(photos[0]), *colours, outputMode="LAB")
    profile = ImageCms.ImageCmsProfile(colours[1]).tobytes()
    lab.save(tmp_path / "lab.tif", icc_profile=profile)
    image, metadata = read_photo(tmp_path / "lab.tif")
    assert metadata.remarks == ("is converted from LAB to RGB",)
    assert np.abs(image.astype(int) - photos[0]).mean() < 5


@pytest.mark.parametrize("suffix", [".gif", ".tif", ".png", ".webp"])
def test_further_frames_are_remarked(suffix, photos, tmp_path):
    first, second = (Image.fromarray(photo).convert("L") for photo in photos[:2])
    first.save(tmp_path / f"two{suffix}", save_all=True, append_images=[second])
    assert read_photo(tmp_path / f"two{suffix}")[1].remarks == ("has 2 frames or pages; only the first is read",)


def test_damaged_exif_is_left_out_with_a_remark(photos, tmp_path, monkeypatch):
    Image.fromarray(photos[0]).save(tmp_path / "photo.jpg", exif=exif_of(1, 3, 4))

    def fail(*_):
        raise OSError("damaged")

    monkeypatch.setattr(Image.Exif, "get_ifd", fail)
    image, metadata = read_photo(tmp_path / "photo.jpg")
    assert image.shape == photos[0].shape and metadata.exif == b""
    assert metadata.remarks == ("has damaged EXIF or XMP, which is left out",)


def test_what_a_tiff_says_of_its_pixels_is_not_copied(photos, tmp_path):
    """Tags such as the width belong to the file that they are in."""
    Image.fromarray(photos[0]).save(tmp_path / "photo.tif", tiffinfo={270: "A tree", 315: "Ansel"})
    image, metadata = read_photo(tmp_path / "photo.tif")
    write_image(tmp_path / "half.jpg", image[::2, ::2], metadata)
    with Image.open(tmp_path / "half.jpg") as found:
        assert set(found.getexif()) == {270, 315}


def test_a_heic_photo_without_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pi_heif", None)
    (tmp_path / "photo.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(100))
    with pytest.raises(
        ImageError, match=r"photo\.heic: a HEIC photo; reading it needs: pip install 'restore-env\[heif\]'"
    ):
        read_image(tmp_path / "photo.heic")


def test_damaged_heic_is_refused(tmp_path):
    pytest.importorskip("pi_heif")
    (tmp_path / "photo.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(100))
    with pytest.raises(ImageError, match=r"photo\.heic"):
        read_image(tmp_path / "photo.heic")


@pytest.mark.skipif(not (SHARED / "cases").is_dir(), reason="needs the example files beside the checkout")
class TestExamples:
    def test_heic(self):
        pytest.importorskip("pi_heif")
        assert read_image(SHARED / "cases" / "photo.heic").shape == (120, 160, 3)

    def test_profile_exif_and_resolution(self, tmp_path):
        image, metadata = read_photo(SHARED / "cases" / "icc-exif.jpg")
        write_image(tmp_path / "again.jpg", image, metadata)
        with Image.open(SHARED / "cases" / "icc-exif.jpg") as one, Image.open(tmp_path / "again.jpg") as other:
            assert one.info["icc_profile"] == other.info["icc_profile"] and one.info["dpi"] == other.info["dpi"]
            assert set(one.getexif()) == set(other.getexif())
            assert JpegImagePlugin.get_sampling(one) == JpegImagePlugin.get_sampling(other)

    @pytest.mark.parametrize(
        "name", ["bmp-rgb555.bmp", "bmp-rgb565-v3.bmp", "os2-palette-4bit.bmp", "os2-palette-8bit.bmp"]
    )
    def test_bitmaps_have_the_colours_that_pillow_reads(self, name):
        with Image.open(SHARED / "cases" / name) as image:
            expected = np.asarray(image.convert("RGB"))
        assert np.array_equal(read_image(SHARED / "cases" / name), expected)
        if name == "bmp-rgb555.bmp":
            assert expected.max() == 255  # white is not 248
        assert (expected != expected[..., :1]).any() or name == "bmp-rgb565-v3.bmp"  # not grey

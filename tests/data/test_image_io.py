"""Reading and writing images: nothing is lost, nothing is half written, and every failure is one clear line."""

import subprocess

import numpy as np
import pytest
from conftest import SHARED
from PIL import Image, ImageOps

from restore_env.data.image_io import (
    as_rgb_bytes,
    check_all_bytes,
    check_bytes,
    check_writable,
    image_files,
    read_image,
    write_image,
)
from restore_env.data.photos import FolderPhotos, embedded_photos
from restore_env.errors import ImageError

GREY, GREY_ALPHA, RGB, RGBA = None, 2, 3, 4


def random_image(channels=RGB, dtype=np.uint8, height=23, width=34):
    shape = (height, width) if channels is None else (height, width, channels)
    return np.random.default_rng(0).integers(np.iinfo(dtype).max + 1, size=shape).astype(dtype)


@pytest.fixture
def photo(photos):
    return photos[0]


class TestRoundTrip:
    @pytest.mark.parametrize(
        ("suffix", "dtype", "channels"),
        [
            (suffix, dtype, channels)
            for suffix, dtypes, kinds in [
                (".png", (np.uint8, np.uint16), (GREY, RGB, RGBA)),
                (".tif", (np.uint8, np.uint16), (GREY, RGB, RGBA)),
                (".webp", (np.uint8,), (RGB,)),
                (".bmp", (np.uint8,), (GREY, RGB)),
                (".PNG", (np.uint8,), (RGB,)),
            ]
            for dtype in dtypes
            for channels in kinds
        ],
    )
    def test_nothing_is_lost(self, tmp_path, suffix, dtype, channels):
        image = random_image(channels, dtype)
        write_image(tmp_path / f"image{suffix}", image)
        back = read_image(tmp_path / f"image{suffix}")
        assert back.dtype == dtype
        np.testing.assert_array_equal(back, image)

    def test_webp_keeps_all_that_can_be_seen(self, tmp_path):
        image = random_image(RGBA)
        write_image(tmp_path / "image.webp", image)
        back, visible = read_image(tmp_path / "image.webp"), image[..., 3] > 0
        np.testing.assert_array_equal(back[..., 3], image[..., 3])
        np.testing.assert_array_equal(back[visible], image[visible])

    @pytest.mark.parametrize("suffix", [".png", ".tif"])
    def test_grey_and_alpha_of_16_bits_are_written_as_colour_and_alpha(self, tmp_path, suffix):
        image = random_image(GREY_ALPHA, np.uint16)
        write_image(tmp_path / f"image{suffix}", image)
        np.testing.assert_array_equal(read_image(tmp_path / f"image{suffix}"), image[..., [0, 0, 0, 1]])

    @pytest.mark.parametrize("suffix", [".png", ".tif"])
    def test_grey_and_alpha_of_8_bits_are_kept(self, tmp_path, suffix):
        image = random_image(GREY_ALPHA)
        write_image(tmp_path / f"image{suffix}", image)
        np.testing.assert_array_equal(read_image(tmp_path / f"image{suffix}"), image)

    @pytest.mark.parametrize("suffix", [".jpg", ".jpeg"])
    @pytest.mark.parametrize("channels", [GREY, RGB])
    def test_lossy_formats_stay_close(self, tmp_path, photo, suffix, channels):
        image = photo if channels == RGB else photo[..., 1]
        write_image(tmp_path / f"image{suffix}", image)
        back = as_rgb_bytes(read_image(tmp_path / f"image{suffix}")).astype(float)
        assert np.abs(back - as_rgb_bytes(image)).mean() < 6
        # Red and blue are not swapped.
        assert np.abs(back[..., ::-1] - photo).mean() > 20

    @pytest.mark.parametrize(("suffix", "channels"), [(".ppm", RGB), (".pgm", GREY), (".pnm", RGB), (".jp2", RGB)])
    def test_formats_that_are_only_read(self, tmp_path, suffix, channels):
        image = random_image(channels, height=80, width=90)
        Image.fromarray(image).save(tmp_path / f"image{suffix}")
        np.testing.assert_array_equal(read_image(tmp_path / f"image{suffix}"), image)
        with pytest.raises(ValueError, match="does not end in"):
            write_image(tmp_path / f"image{suffix}", image)

    def test_palette(self, tmp_path, photo):
        picture = Image.fromarray(photo).quantize(32)
        picture.save(tmp_path / "image.png")
        picture.save(tmp_path / "image.gif")
        for name in ("image.png", "image.gif"):
            np.testing.assert_array_equal(read_image(tmp_path / name)[..., :3], np.asarray(picture.convert("RGB")))

    def test_path_as_a_string_with_odd_characters(self, tmp_path):
        path = str(tmp_path / "schöne Bilder %d.png")
        write_image(path, random_image())
        np.testing.assert_array_equal(read_image(path), random_image())

    def test_view_that_is_not_contiguous(self, tmp_path):
        image = random_image(height=40)[::-2, ::-1]
        write_image(tmp_path / "image.png", image)
        np.testing.assert_array_equal(read_image(tmp_path / "image.png"), image)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(tmp_path, photo, orientation, suffix):
    path = tmp_path / f"image{suffix}"
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(photo).save(path, exif=exif, lossless=True)
    with Image.open(path) as image:
        upright = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    np.testing.assert_array_equal(read_image(path), upright)
    # The oracle itself turned what it had to turn: from 5 on, height and width change places.
    assert upright.shape[:2] == (photo.shape[:2] if orientation < 5 else photo.shape[1::-1])


class TestUnreadable:
    @staticmethod
    def one_line(path):
        with pytest.raises(ImageError) as caught:
            read_image(path)
        message = str(caught.value)
        assert message.startswith(f"{path}: ") and "\n" not in message
        return message.removeprefix(f"{path}: ")

    @pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif", ".gif", ".bmp", ".ppm"])
    @pytest.mark.parametrize("share", [0.02, 0.5, 0.95])
    def test_truncated(self, tmp_path, photo, suffix, share):
        path = tmp_path / f"image{suffix}"
        Image.fromarray(photo).save(path)
        data = path.read_bytes()
        path.write_bytes(data[: int(share * len(data))])
        self.one_line(path)

    def test_empty(self, tmp_path):
        (tmp_path / "image.png").touch()
        assert self.one_line(tmp_path / "image.png") == "the file is empty"

    def test_text(self, tmp_path):
        (tmp_path / "image.png").write_text("no image at all")
        assert self.one_line(tmp_path / "image.png").startswith("not an image")

    def test_missing(self, tmp_path):
        assert self.one_line(tmp_path / "image.png") == "no such file"

    def test_folder(self, tmp_path):
        assert self.one_line(tmp_path) == "is a folder, not an image"

    def test_floating_point(self, tmp_path):
        Image.fromarray(np.zeros((8, 8), np.float32)).save(tmp_path / "image.tif")
        assert "8 or 16 bits" in self.one_line(tmp_path / "image.tif")

    def test_damaged_header(self, tmp_path):
        """Pillow answers this one with a plain ValueError."""
        (tmp_path / "image.ppm").write_bytes(b"P6\n5x 4\n255\n" + bytes(60))
        self.one_line(tmp_path / "image.ppm")

    def test_claims_to_be_huge(self, tmp_path):
        """Pillow refuses what may be a decompression bomb with an error that is not an OSError."""
        (tmp_path / "image.ppm").write_bytes(b"P6\n100000 100000\n255\n" + bytes(60))
        assert "exceeds limit" in self.one_line(tmp_path / "image.ppm")


class TestWrite:
    def test_failing_write_leaves_the_old_file_and_nothing_else(self, tmp_path, monkeypatch, photo):
        path = tmp_path / "image.png"
        write_image(path, photo)

        def full(self, file, *_, **__):
            file.write(bytes(100))
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("PIL.Image.Image.save", full)
        with pytest.raises(OSError, match="No space left on the disk"):
            write_image(path, 255 - photo)
        np.testing.assert_array_equal(read_image(path), photo)
        assert list(tmp_path.iterdir()) == [path]

    def test_missing_folder(self, tmp_path, photo):
        with pytest.raises(FileNotFoundError):
            write_image(tmp_path / "nowhere" / "image.png", photo)

    @pytest.mark.parametrize(
        ("name", "channels", "dtype", "message"),
        [
            ("image", RGB, np.uint8, "does not end in"),
            ("image.txt", RGB, np.uint8, "does not end in"),
            ("image.gif", RGB, np.uint8, "does not end in"),
            ("image.jpg", RGB, np.uint16, ".jpg does not hold 16 bits a channel"),
            ("image.webp", RGB, np.uint16, ".webp does not hold 16 bits a channel"),
            ("image.jpg", RGBA, np.uint8, ".jpg does not hold transparency"),
            ("image.bmp", GREY_ALPHA, np.uint8, ".bmp does not hold transparency"),
        ],
    )
    def test_format_that_cannot_hold_the_image(self, tmp_path, name, channels, dtype, message):
        for attempt in (write_image, check_writable):
            with pytest.raises(ValueError, match=message) as caught:
                attempt(tmp_path / name, random_image(channels, dtype))
            assert repr(str(tmp_path / name)) in str(caught.value)
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize(
        "image", [np.zeros((4, 5, 3), np.float32), np.zeros((4, 5), bool), np.zeros((4, 5), np.int64), [[1, 2]], None]
    )
    def test_what_is_not_8_or_16_bits_is_refused(self, tmp_path, image):
        with pytest.raises(TypeError, match="a uint8 or uint16 array is needed"):
            write_image(tmp_path / "image.png", image)

    @pytest.mark.parametrize("shape", [(4,), (0, 4, 3), (4, 0), (4, 5, 1), (4, 5, 5), (2, 4, 5, 3)])
    def test_wrong_shape_is_refused(self, tmp_path, shape):
        with pytest.raises(ValueError, match=r"image has the shape"):
            write_image(tmp_path / "image.png", np.zeros(shape, np.uint8))


class TestAsRGBBytes:
    def test_colours_of_every_kind(self):
        grey, rgb = random_image(GREY), random_image(RGB)
        repeated = np.repeat(grey[..., None], 3, axis=2)
        alpha = random_image(GREY)[..., None]
        np.testing.assert_array_equal(as_rgb_bytes(grey), repeated)
        np.testing.assert_array_equal(as_rgb_bytes(np.concatenate([grey[..., None], alpha], axis=2)), repeated)
        np.testing.assert_array_equal(as_rgb_bytes(rgb), rgb)
        np.testing.assert_array_equal(as_rgb_bytes(np.concatenate([rgb, alpha], axis=2)), rgb)

    def test_16_bits(self):
        levels = np.array([[0, 128, 129, 257 * 100, 65535 - 129, 65535]], np.uint16)
        assert as_rgb_bytes(levels)[0, :, 0].tolist() == [0, 0, 1, 100, 254, 255]
        rgb = random_image(RGB)
        np.testing.assert_array_equal(as_rgb_bytes(rgb.astype(np.uint16) * 257), rgb)


class TestFolder:
    def test_photos_in_the_order_of_their_names(self, tmp_path, photos):
        for name, photo in zip(("c.png", "a.PNG", "b.tif"), photos, strict=True):
            write_image(tmp_path / name, photo)
        (tmp_path / "notes.txt").write_text("no photo")
        (tmp_path / "folder.png").mkdir()
        assert [path.name for path in image_files(tmp_path)] == ["a.PNG", "b.tif", "c.png"]
        folder = FolderPhotos(tmp_path)
        assert len(folder) == 3
        for read, photo in zip(folder, [photos[1], photos[2], photos[0]], strict=True):
            np.testing.assert_array_equal(read, photo)
        np.testing.assert_array_equal(folder[-1], photos[0])
        assert [photo.shape for photo in folder[1:]] == [photos[0].shape] * 2

    def test_all_kinds_come_as_rgb_bytes(self, tmp_path):
        for channels in (GREY, GREY_ALPHA, RGB, RGBA):
            write_image(tmp_path / f"{channels}.png", random_image(channels, np.uint16))
        assert {(photo.shape, photo.dtype.name) for photo in FolderPhotos(tmp_path)} == {((23, 34, 3), "uint8")}

    @pytest.mark.parametrize("content", [b"", b"no image", b"P6\n5x 4\n255\n"])
    def test_unreadable_file_is_named_in_one_warning(self, photo_folder, content):
        (photo_folder / "bad.ppm").write_bytes(content)
        with pytest.warns(UserWarning, match="skipped") as record:
            folder = FolderPhotos(photo_folder)
        assert len(record) == 1
        assert str(photo_folder / "bad.ppm") in str(record[0].message)
        assert len(folder) == 3

    def test_folder_without_images(self, tmp_path):
        (tmp_path / "notes.txt").write_text("no photo")
        with pytest.raises(ImageError, match="no usable image") as caught:
            FolderPhotos(tmp_path)
        assert str(tmp_path) in str(caught.value)

    def test_folder_of_unreadable_images(self, tmp_path):
        (tmp_path / "bad.png").write_bytes(b"no image")
        with pytest.warns(UserWarning, match="bad.png"), pytest.raises(ImageError, match="no usable image"):
            FolderPhotos(tmp_path)

    def test_what_is_no_folder(self, tmp_path):
        (tmp_path / "file").touch()
        for name in ("file", "missing"):
            with pytest.raises(ImageError, match=f"{name}: no such folder"):
                FolderPhotos(tmp_path / name)


class TestCheckBytes:
    def test_right_images_pass(self, photos):
        assert check_bytes("image", photos[0]) is photos[0]
        check_all_bytes("images", np.stack(photos))

    @pytest.mark.parametrize("image", [None, [[[0, 0, 0]]], np.zeros((4, 4, 3)), np.zeros((4, 4, 3), np.uint16)])
    def test_wrong_type(self, image):
        with pytest.raises(TypeError, match="distorted is .*; a uint8 array"):
            check_bytes("distorted", image)

    @pytest.mark.parametrize("shape", [(4, 4), (4, 4, 1), (4, 4, 4), (0, 4, 3), (1, 4, 4, 3)])
    def test_wrong_shape(self, shape):
        with pytest.raises(ValueError, match="distorted has the shape .*; .* is needed"):
            check_bytes("distorted", np.zeros(shape, np.uint8))

    def test_names_the_image_of_a_sequence(self, photos):
        with pytest.raises(TypeError, match=r"images\[1\] is an array of float64"):
            check_all_bytes("images", [photos[0], photos[1] / 255])


def test_embedded_photos_are_large_colour_photos():
    photos = embedded_photos()
    assert len(photos) >= 4
    for photo in photos:
        assert check_bytes("photo", photo).shape[0] >= 256 and photo.shape[1] >= 256
        assert np.any(photo[..., 0] != photo[..., 2])


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_colours_of_transparent_pixels_are_kept(tmp_path, mode):
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, len(mode)), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.tif")
    np.testing.assert_array_equal(read_image(tmp_path / "photo.tif"), pixels)


class TestOtherModes:
    """Pillow decodes; whatever its mode, the colours are those that Pillow shows."""

    @pytest.mark.parametrize(("mode", "suffix"), [("1", ".tif"), ("P", ".png"), ("CMYK", ".tif"), ("YCbCr", ".tif")])
    def test_modes_that_files_have_besides_grey_and_colour(self, mode, suffix, tmp_path, photo):
        image, file = Image.fromarray(photo).convert(mode), tmp_path / f"image{suffix}"
        image.save(file)
        expected = np.asarray(image.convert("L" if mode == "1" else "RGB"))
        np.testing.assert_allclose(read_image(file), expected, atol=2 if mode == "YCbCr" else 0)

    def test_a_palette_with_transparency_keeps_it(self, tmp_path):
        image = Image.new("P", (4, 3), 1)
        image.putpalette([0, 0, 0, 250, 100, 50])
        image.putpixel((0, 0), 0)
        image.save(tmp_path / "image.png", transparency=0)
        found = read_image(tmp_path / "image.png")
        assert found[0, 0].tolist() == [0, 0, 0, 0] and found[1, 1].tolist() == [250, 100, 50, 255]

    def test_grey_of_16_bits_and_an_animation(self, tmp_path):
        deep = np.arange(12, dtype=np.uint16).reshape(3, 4) * 5000
        Image.fromarray(deep).save(tmp_path / "deep.tif")
        np.testing.assert_array_equal(read_image(tmp_path / "deep.tif"), deep)
        frames = [Image.new("RGB", (5, 4), colour) for colour in ("red", "blue")]
        frames[0].save(tmp_path / "two.png", save_all=True, append_images=frames[1:])
        assert read_image(tmp_path / "two.png")[0, 0, :3].tolist() == [255, 0, 0]

    def test_numbers_that_are_no_levels_are_refused(self, tmp_path):
        Image.fromarray(np.full((3, 4), 0.5, np.float32)).save(tmp_path / "float.tif")
        Image.fromarray(np.full((3, 4), 70_000, np.int32)).save(tmp_path / "large.tif")
        for name in ("float.tif", "large.tif"):
            with pytest.raises(ImageError, match=f"{name}: not an image of 8 or 16 bits a channel"):
                read_image(tmp_path / name)

    @pytest.mark.parametrize(
        ("name", "brightest"),
        [
            ("segfault-apng.png", [255, 0, 0, 255]),  # OpenCV's decoder ends the process
            ("os2-palette-4bit.bmp", [255, 255, 255]),
            ("os2-palette-8bit.bmp", [255, 255, 255]),
            ("bmp-rgb555.bmp", [255, 255, 255]),
            ("bmp-rgb565-v3.bmp", [255, 255, 255]),
            ("smile.ico", [255, 255, 0, 255]),
        ],
    )
    def test_files_that_other_decoders_fail_on(self, name, brightest):
        file = SHARED / "cases" / name
        if not file.is_file():
            pytest.skip("the cases that others found (../shared/cases) are not on this machine")
        image = read_image(file)
        assert image.reshape(-1, image.shape[2]).max(0).tolist() == brightest
        assert np.ptp(image[..., :3].astype(int), axis=2).max() > 0 or "rgb565" in name  # they have colours


POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 80 80\n%%EndComments\n{} loop\n%%EOF\n"


def test_no_program_is_started_for_a_file(tmp_path, monkeypatch):
    path, started = tmp_path / "photo.png", []
    path.write_bytes(POSTSCRIPT)
    monkeypatch.setattr(subprocess, "Popen", lambda *words, **_: started.append(words))
    with pytest.raises(ImageError, match="not an image, or in a format that is not supported"):
        read_image(path)
    with pytest.raises(ImageError), pytest.warns(UserWarning, match="format that is not supported"):
        FolderPhotos(tmp_path)
    assert not started

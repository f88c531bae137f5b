"""Image files of every kind have the colours that Pillow reads; damaged ones are read or refused in one line."""

import json
import os
import re
import subprocess
import sys
from collections import Counter
from functools import cache
from io import BytesIO

import numpy as np
import pytest
from photo_files import PhotoFile, chunk, damaged, deep_pixels, photo_files, png, saved, tiff, turned
from PIL import Image, ImageOps

from restore_env import ImageError, read_image
from restore_env.data.image_io import read_photo, write_image

FUZZED, SAMPLE = 3_000, 150
SECONDS, MEGABYTES = 20, 1_500
"""What a damaged file may take; the memory is that of the program, of which PyTorch takes a few hundred."""

ENDINGS = {"jpg", "png", "tif", "bmp", "gif", "webp", "pgm", "ppm", "pbm", "ico", "jp2"}
GREYS = {"1", "L", "LA", "La"}
DEEP = {"I", "I;16", "I;16B", "I;16L"}

LIBTIFF = re.compile(
    "TIFF|JPEGLib|Decode|Fax|Strip|scanline|samples per pixel|[Cc]ompression|MissingRequired|Using code|tempfile.tif"
    "|Not enough data"
)
"""What Pillow's libtiff prints of damaged files; Pillow cannot silence it."""

READER = """
import faulthandler, json, sys, time, warnings
from pathlib import Path
from restore_env import ImageError, read_image
warnings.filterwarnings("ignore", module="PIL\\\\.")  # as the command line does
def peak_megabytes():  # getrusage would include the memory of the process that started this one
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024
for path in sorted(Path(sys.argv[1]).iterdir()):
    print(json.dumps(path.name), end="", flush=True)
    faulthandler.dump_traceback_later(60, exit=True)
    started = time.monotonic()
    try:
        image = read_image(path)
        outcome = f"{image.dtype} {image.ndim}"
    except ImageError as error:
        outcome = str(error)
    faulthandler.cancel_dump_traceback_later()
    print("", json.dumps([outcome, time.monotonic() - started, peak_megabytes()]))
"""


@cache
def whole_files() -> list[PhotoFile]:
    return photo_files()


def pillow_reads(data: bytes) -> np.ndarray:
    """Return what Pillow shows: upright, grey or RGB, with alpha if anything is transparent."""
    with Image.open(BytesIO(data)) as image:
        upright = ImageOps.exif_transpose(image)
    if upright.mode in DEEP:
        return np.asarray(upright).astype(np.uint16)
    mode = ("L", "LA", "RGB", "RGBA")[2 * (upright.mode not in GREYS) + upright.has_transparency_data]
    return np.asarray(upright.convert(mode))


def read(data: bytes, path) -> np.ndarray:
    path.write_bytes(data)
    return read_image(path)


def test_there_are_files_of_every_kind():
    files = whole_files()
    assert len(files) >= 300 and ENDINGS <= {file.name.rpartition(".")[2] for file in files}


@pytest.mark.parametrize(
    "first", [pytest.param(number, marks=[pytest.mark.slow] * (number > 0)) for number in range(4)]
)
def test_colours_are_those_that_pillow_reads(first, tmp_path):
    for number, file in enumerate(whole_files()[first::4]):
        found = read(file.data, tmp_path / f"{number}-{file.name}")
        expected = pillow_reads(file.data) if file.deep is None else file.deep
        if expected.ndim == 3 and expected.shape[2] == 1:
            expected = expected[..., 0]
        assert found.dtype == expected.dtype, file.name
        np.testing.assert_array_equal(found, expected, file.name)


def check_damaged(numbers: range, folder) -> None:
    """Read damaged files in a program of its own, which may neither crash, hang, print, nor use much memory."""
    for number in numbers:
        file = damaged(number, whole_files())
        (folder / f"{number:04}-{file.name}").write_bytes(file.data)
    environment = os.environ | {"OPENCV_LOG_LEVEL": "SILENT", "OMP_NUM_THREADS": "1"}  # the command line sets the first
    command = [sys.executable, "-c", READER, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, env=environment)
    lines = done.stdout.splitlines()
    assert done.returncode == 0, f"{lines[-1:]}: {done.returncode}, {done.stderr}"
    printed = [line for line in done.stderr.splitlines() if not LIBTIFF.search(line)]
    assert not printed, printed
    kinds = Counter()
    for line in lines:
        name, _, rest = line.partition('" ')
        outcome, seconds, megabytes = json.loads(rest)
        path = folder / json.loads(f'{name}"')
        refused = outcome.startswith(f"{path}: ") and "\n" not in outcome and len(outcome) < len(str(path)) + 300
        assert refused or outcome in {"uint8 2", "uint8 3", "uint16 2", "uint16 3"}, (name, outcome)
        assert seconds < SECONDS and megabytes < MEGABYTES, (name, outcome, seconds, megabytes)
        kinds[refused] += 1
    assert kinds.total() == len(numbers)
    assert 0.2 < kinds[True] / kinds.total() < 0.95  # else the damage is too small or too large to tell anything


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no module `resource`")
class TestDamaged:
    def test_a_damaged_file_is_read_or_refused(self, tmp_path):
        check_damaged(range(SAMPLE), tmp_path)

    @pytest.mark.slow
    @pytest.mark.parametrize("first", range(SAMPLE, FUZZED, 570))
    def test_more_damaged_files_are_read_or_refused(self, first, tmp_path):
        check_damaged(range(first, min(FUZZED, first + 570)), tmp_path)


PIXELS = deep_pixels(7, 4)


class TestRightValues:
    """What was read wrongly before."""

    @pytest.mark.parametrize("kind", [0, 2])
    @pytest.mark.parametrize("depth", [8, 16])
    def test_a_transparent_colour_of_a_png_becomes_alpha(self, kind, depth, tmp_path):
        levels = np.array([[[1, 2, 3], [4, 5, 6]]], np.uint16)[..., : 1 if kind == 0 else 3]
        clear = chunk(b"tRNS", levels[0, 1].astype(">u2").tobytes())
        found = read(png(levels, depth, kind, clear), tmp_path / "photo.png")
        full = 2**depth - 1
        assert found.dtype == (np.uint16 if depth == 16 else np.uint8)
        assert found.tolist() == [[[*levels[0, 0], full], [*levels[0, 1], 0]]]

    @pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
    @pytest.mark.parametrize("compression", [None, "zlib"])
    def test_channels_of_a_tiff_that_lie_apart(self, dtype, compression, tmp_path):
        for channels in (3, 4):
            pixels = PIXELS[..., :channels].astype(dtype)
            file = tiff("", pixels, planarconfig="separate", compression=compression, extratags=[(274, 3, 1, 6, True)])
            np.testing.assert_array_equal(read(file.data, tmp_path / "photo.tif"), np.rot90(pixels, 3))

    @pytest.mark.parametrize(("orientation", "turns"), [(3, 2), (6, 3), (8, 1)])
    @pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
    def test_a_turned_grey_tiff(self, orientation, turns, dtype, tmp_path):
        pixels = PIXELS[..., :1].astype(dtype)
        file = tiff("", pixels, extratags=[(274, 3, 1, orientation, True)])
        np.testing.assert_array_equal(read(file.data, tmp_path / "photo.tif"), np.rot90(pixels[..., 0], turns))

    def test_all_16_bits_of_a_tiff_with_several_pages(self, tmp_path):
        found = read(tiff("", PIXELS[..., :3], pages=2).data, tmp_path / "photo.tif")
        np.testing.assert_array_equal(found, PIXELS[..., :3])

    def test_a_deep_tiff_whose_white_is_0(self, tmp_path):
        file = tiff("", PIXELS[..., :1], photometric="miniswhite")
        np.testing.assert_array_equal(read(file.data, tmp_path / "photo.tif"), 65535 - PIXELS[..., 0])

    def test_a_fourth_channel_without_a_meaning_is_no_alpha(self, tmp_path):
        file = tiff("", PIXELS, extrasamples=["unspecified"])
        np.testing.assert_array_equal(read(file.data, tmp_path / "photo.tif"), PIXELS[..., :3])

    def test_deep_colours_that_are_multiplied_by_alpha(self, tmp_path):
        alpha = np.array([65535, 32768, 0], np.uint16)
        multiplied = np.array([[[50000, 600, 7, alpha[0]], [20000, 300, 0, alpha[1]], [0, 0, 0, alpha[2]]]], np.uint16)
        found = read(tiff("", multiplied, extrasamples=["assocalpha"]).data, tmp_path / "photo.tif")
        assert found.tolist() == [[[50000, 600, 7, 65535], [39999, 600, 0, 32768], [0, 0, 0, 0]]]

    def test_all_16_bits_of_a_ppm(self, tmp_path):
        data = b"P6 31 20 65535\n" + PIXELS[..., :3].astype(">u2").tobytes()
        np.testing.assert_array_equal(read(data, tmp_path / "photo.ppm"), PIXELS[..., :3])


def test_a_wrong_profile_of_a_deep_png_prints_nothing(tmp_path, capfd):
    """The decoder of OpenCV would print a line; it gets the pixels alone."""
    profile = chunk(b"iCCP", b"x\0\0" + b"no profile")
    assert read(png(PIXELS[..., :3], 16, 2, profile), tmp_path / "photo.png").dtype == np.uint16
    assert capfd.readouterr() == ("", "")


def test_a_deep_png_with_a_chunk_longer_than_the_file_is_refused(tmp_path):
    """The decoder of OpenCV would hang."""
    data = png(PIXELS[..., :3], 16, 2).replace(chunk(b"IEND", b""), b"")
    place = data.index(b"IDAT") - 4
    longer = data[:place] + b"\xff\xff\xff\x1a" + data[place + 4 :]
    with pytest.raises(ImageError, match="cannot be read .the file is cut off"):
        read(longer, tmp_path / "photo.png")


def test_a_bomb_is_refused_in_one_line(tmp_path):
    small = saved(Image.new("1", (8, 8)), "PNG")
    bomb = small.replace(b"\0\0\0\x08\0\0\0\x08", b"\0\0\xff\xff\0\0\xff\xff")
    (tmp_path / "bomb.png").write_bytes(bomb[:29] + chunk(b"IHDR", bomb[16:29])[-4:] + bomb[33:])
    with pytest.raises(ImageError, match=r"bomb\.png: cannot be read \(.*4294836225 pixels.*exceeds limit"):
        read_image(tmp_path / "bomb.png")


def test_what_was_a_turned_tiff_is_written_upright_once(tmp_path):
    """Pillow turns TIFF files itself; neither pixels nor flag may turn a second time."""
    picture = Image.fromarray(PIXELS.astype(np.uint8)[..., :3])
    picture.save(tmp_path / "photo.tif", exif=turned(6))
    pixels, metadata = read_photo(tmp_path / "photo.tif")
    write_image(tmp_path / "again.tif", pixels, metadata)
    np.testing.assert_array_equal(read_image(tmp_path / "again.tif"), np.rot90(np.asarray(picture), 3))

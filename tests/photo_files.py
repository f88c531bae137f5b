"""Image files of every kind, made from the variants of their formats, and the same files damaged."""

import struct
import zlib
from collections.abc import Iterator
from io import BytesIO
from itertools import product
from typing import NamedTuple

import cv2
import numpy as np
import tifffile
from conftest import smooth_photo
from PIL import Image, ImageCms, features

SIZES = ((1, 1), (1, 9), (13, 1), (2, 3), (8, 8), (7, 17), (16, 33), (20, 31))
"""Heights and widths; some are no multiple of anything."""

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()

ADAM7 = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
"""First row, first column, and the steps of both, of the seven passes of an interlaced PNG."""

CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""Channels of a PNG by its colour type: grey, RGB, palette, grey and alpha, RGB and alpha."""


class PhotoFile(NamedTuple):
    """An image file.

    Attributes:
        name: what is special about it, with the ending of the format.
        data: its bytes.
        deep: the pixels, uint16, if it holds 16 bits a channel.
    """

    name: str
    data: bytes
    deep: np.ndarray | None = None


def photo_files() -> list[PhotoFile]:
    """Return over 300 small files of all formats that are read; the same ones each time."""
    makers = (jpeg_files, png_files, tiff_files, bmp_files, gif_files, web_files, other_files)
    return [file for maker in makers for file in maker()]


def colours(number: int, channels: int = 3) -> np.ndarray:
    """Return a small photo, uint8 (h, w, channels); its size depends on its number."""
    height, width = SIZES[number % len(SIZES)]
    photo = smooth_photo(number, height, width)
    return np.dstack([photo, 255 - photo[..., 0]])[..., :channels]


def deep_pixels(number: int, channels: int) -> np.ndarray:
    """Return random pixels, uint16 (h, w, channels)."""
    return np.random.default_rng(number).integers(0, 65536, (*SIZES[number % len(SIZES)], channels), dtype=np.uint16)


def saved(picture: Image.Image, format_name: str, **options: object) -> bytes:
    """Return what Pillow writes."""
    file = BytesIO()
    picture.save(file, format_name, **options)
    return file.getvalue()


def turned(orientation: int) -> Image.Exif:
    """Return EXIF with an orientation."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def jpeg_files() -> Iterator[PhotoFile]:
    """Yield JPEG files of all colours, subsamplings and orientations."""
    for number in range(64):
        progressive, subsampling, orientation = number % 2 == 1, number // 2 % 4, number // 8 + 1
        options = {"progressive": progressive, "exif": turned(orientation), "quality": 40 + number % 60}
        name = f"{orientation}-{subsampling}-{progressive}"
        if subsampling < 3:
            picture = Image.fromarray(colours(number))
            yield PhotoFile(f"{name}.jpg", saved(picture, "JPEG", subsampling=subsampling, **options))
        else:
            yield PhotoFile(f"grey-{name}.jpg", saved(Image.fromarray(colours(number)[..., 0]), "JPEG", **options))
    for number, sampling in enumerate((0x111111, 0x211111, 0x221111, 0x411111, 0x121111)):
        flags = [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, sampling, cv2.IMWRITE_JPEG_RST_INTERVAL, number]
        yield PhotoFile(f"opencv-{sampling:x}.jpg", cv2.imencode(".jpg", colours(number + 3), flags)[1].tobytes())
    for number in range(8):
        cmyk = Image.fromarray(colours(number)).convert("CMYK")
        data = saved(cmyk, "JPEG", progressive=number % 2 == 1, quality=90)  # it has Adobe's marker, and is inverted
        yield PhotoFile(f"cmyk-{number}.jpg", data)
        place = data.index(b"Adobe") + 11
        yield PhotoFile(f"ycck-{number}.jpg", data[:place] + b"\2" + data[place + 1 :])
        yield PhotoFile(f"profile-{number}.jpg", saved(Image.fromarray(colours(number)), "JPEG", icc_profile=SRGB))
    data = saved(Image.fromarray(colours(7)), "JPEG")
    yield PhotoFile("two.jpg", saved(Image.fromarray(colours(7)), "MPO", save_all=True, append_images=[flat(7)]))
    yield PhotoFile("comment.jpg", data[:2] + b"\xff\xfe\0\x06abcd" + data[2:])
    yield PhotoFile("more-follows.jpg", data + bytes(100))
    yield PhotoFile("other-name.png", data)


def flat(number: int, colour: str = "blue") -> Image.Image:
    """Return a picture of one colour, in the size of that number."""
    height, width = SIZES[number % len(SIZES)]
    return Image.new("RGB", (width, height), colour)


def png(pixels: np.ndarray, depth: int, kind: int, *chunks: bytes, interlaced: bool = False) -> bytes:
    """Return a PNG.

    Args:
        pixels: (h, w, channels), less than 2 to the power of `depth`.
        depth: bits a channel.
        kind: PNG's colour type.
        chunks: what stands between the header and the pixels.
        interlaced: whether it has seven passes.
    """
    height, width = pixels.shape[:2]
    data = b""
    for top, left, down, across in ADAM7 if interlaced else [(0, 0, 1, 1)]:
        part = pixels[top::down, left::across]
        if part.size:
            data += b"".join(b"\0" + packed(row, depth) for row in part)
    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, interlaced)
    parts = [chunk(b"IHDR", header), *chunks, chunk(b"IDAT", zlib.compress(data)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def packed(row: np.ndarray, depth: int) -> bytes:
    """Return the bytes of a row of pixels, the first pixel in the highest bits."""
    if depth == 16:
        return row.astype(">u2").tobytes()
    bits = np.unpackbits(row.astype(np.uint8).reshape(-1, 1), axis=1)  # (w * channels, 8)
    return np.packbits(bits[:, 8 - depth :]).tobytes()


def chunk(name: bytes, data: bytes) -> bytes:
    """Return a chunk of a PNG."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png_files() -> Iterator[PhotoFile]:
    """Yield PNG files of all depths and colour types, with and without a transparent colour, profile and passes."""
    depths = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
    kinds = [(kind, depth) for kind, of_kind in depths.items() for depth in of_kind]
    rng = np.random.default_rng(0)
    for number in range(6 * len(kinds)):
        kind, depth = kinds[number % len(kinds)]
        variant = number // len(kinds)
        size = (*SIZES[(number + variant) % len(SIZES)], CHANNELS[kind])
        pixels = rng.integers(0, 2**depth, size, dtype=np.uint16)
        chunks, deep = [], pixels if depth == 16 else None
        if kind == 4 and deep is not None:  # grey of 16 bits with alpha is read as colour
            deep = pixels[..., [0, 0, 0, 1]]
        if variant == 1:
            chunks = [chunk(b"gAMA", struct.pack(">I", 45455)), chunk(b"sRGB", b"\0")]
        elif variant == 2:
            chunks = [chunk(b"iCCP", b"sRGB\0\0" + zlib.compress(SRGB)), chunk(b"tEXt", b"Title\0a test")]
        if kind == 3:
            chunks.append(chunk(b"PLTE", rng.bytes(3 * 2**depth)))
        if variant >= 3 and kind in (0, 2, 3):
            clear = pixels[0, 0].astype(">u2").tobytes()
            chunks.append(chunk(b"tRNS", rng.bytes(2**depth) if kind == 3 else clear))
            if deep is not None:
                deep = np.dstack([pixels, np.where((pixels == pixels[0, 0]).all(2), 0, 65535).astype(np.uint16)])
        interlaced = variant in (2, 4)
        if variant == 5 and deep is None:
            chunks.append(chunk(b"eXIf", turned(1 + number % 8).tobytes()[6:]))
        yield PhotoFile(f"{kind}-{depth}-{variant}.png", png(pixels, depth, kind, *chunks, interlaced=interlaced), deep)
    for mode in ("L", "RGB", "RGBA", "P"):
        first, second = (Image.fromarray(colours(number, 4)).convert(mode) for number in (7, 15))
        for default in (False, True):
            data = saved(first, "PNG", save_all=True, append_images=[second], default_image=default)
            yield PhotoFile(f"animated-{mode}-{default}.png", data)


def tiff_files() -> Iterator[PhotoFile]:
    """Yield TIFF files: all compressions of Pillow, and layouts, depths and byte orders of tifffile."""
    compressions = (None, "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg", "tiff_deflate", "lzma", "zstd")
    for number, compression in enumerate(compressions * 2):
        for place, mode in enumerate(
            ("L", "RGB") if compression == "jpeg" else ("L", "RGB", "RGBA", "LA", "P", "CMYK", "1")
        ):
            picture, orientation = Image.fromarray(colours(number, 4)).convert(mode), (number // 2 + place) % 8 + 1
            data = saved(picture, "TIFF", compression=compression, exif=turned(orientation))
            yield PhotoFile(f"{mode}-{compression}-{orientation}.tif", data)
    for compression in ("group3", "group4", "tiff_ccitt"):
        picture = Image.fromarray(colours(7)).convert("1")
        yield PhotoFile(f"{compression}.tif", saved(picture, "TIFF", compression=compression))
    yield PhotoFile("pages.tif", saved(flat(7), "TIFF", save_all=True, append_images=[flat(6), flat(5)]))
    layouts = ({}, {"tile": (16, 16)}, {"rowsperstrip": 3}, {"compression": "zlib"}, {"planarconfig": "separate"})
    for number, (order, deep, channels, layout) in enumerate(product("<>", (False, True), (1, 3, 4), layouts)):
        if channels > 1 or "planarconfig" not in layout:
            pixels = deep_pixels(number, channels)
            name = f"{'II' if order == '<' else 'MM'}-{channels}-{next(iter(layout), 'plain')}"
            yield tiff(f"{name}-{number}.tif", pixels if deep else pixels.astype(np.uint8), order, **layout)
    yield tiff("pages-deep.tif", deep_pixels(7, 3), pages=2)
    yield tiff("big.tif", deep_pixels(7, 3), bigtiff=True)
    yield tiff("packed-planes.tif", deep_pixels(7, 4), planarconfig="separate", compression="zlib")


def tiff(name: str, pixels: np.ndarray, order: str = "<", pages: int = 1, **options: object) -> PhotoFile:
    """Return a TIFF that tifffile writes; all its pages are alike."""
    file, channels = BytesIO(), pixels.shape[2]
    written = pixels[..., 0] if channels == 1 else pixels
    if options.get("planarconfig") == "separate":
        written = np.moveaxis(pixels, 2, 0)  # (h, w, channels) -> (channels, h, w)
    options = {"photometric": "rgb" if channels > 1 else "minisblack"} | options
    if channels == 4:
        options = {"extrasamples": ["unassalpha"]} | options
    big = options.pop("bigtiff", False)
    with tifffile.TiffWriter(file, byteorder=order, bigtiff=bool(big)) as writer:
        for _ in range(pages):
            writer.write(written, metadata=None, **options)
    return PhotoFile(name, file.getvalue(), pixels if pixels.dtype == np.uint16 else None)


def bitmap(pixels: bytes, width: int, height: int, depth: int, compression: int = 0, palette: bytes = b"") -> bytes:
    """Return a BMP with Windows' usual header."""
    offset = 14 + 40 + len(palette)
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, depth, compression, len(pixels), 2835, 2835, 0, 0)
    return b"BM" + struct.pack("<IHHI", offset + len(pixels), 0, 0, offset) + header + palette + pixels


def bmp_files() -> Iterator[PhotoFile]:
    """Yield BMP files of all depths, upright and upside down, and with run-length encoding."""
    rng = np.random.default_rng(1)
    for number in range(24):
        depth = (1, 4, 8, 16, 24, 32)[number % 6]
        height, width = SIZES[(number + number // 6) % len(SIZES)]
        row = (width * depth + 31) // 32 * 4
        palette = rng.bytes(4 * 2**depth) if depth <= 8 else b""
        pixels = rng.bytes(row * height)
        yield PhotoFile(
            f"{depth}-{number}.bmp", bitmap(pixels, width, -height if number >= 18 else height, depth, 0, palette)
        )
    for depth, mode in ((8, 1), (4, 2)):
        runs = b"".join(bytes((6, 17 * row, 0, 0)) for row in range(5)) + b"\0\1"
        literal = b"\0\6\x12\x34\x56\x78\x9a\xbc" + b"\0\0" if depth == 8 else b"\0\6\x12\x34\x56\0" + b"\0\0"
        palette = rng.bytes(4 * 2**depth)
        yield PhotoFile(f"runs-{depth}.bmp", bitmap(runs, 6, 5, depth, mode, palette))
        yield PhotoFile(f"literal-{depth}.bmp", bitmap(literal * 3 + b"\0\1", 6, 3, depth, mode, palette))
    for mode in ("1", "L", "P", "RGB", "RGBA"):
        yield PhotoFile(f"pillow-{mode}.bmp", saved(Image.fromarray(colours(7, 4)).convert(mode), "BMP"))


def gif_files() -> Iterator[PhotoFile]:
    """Yield GIF files: single and animated, with and without a transparent colour and passes."""
    for number in range(16):
        transparent, animated, interlace = number & 1, number & 2, number & 4
        first, second = (Image.fromarray(colours(other)).quantize(2 + number * 12) for other in (number, number + 8))
        options = {"transparency": 0} if transparent else {}
        options |= {"save_all": True, "append_images": [second], "disposal": number % 4} if animated else {}
        yield PhotoFile(f"{number}.gif", saved(first, "GIF", interlace=int(interlace > 0), **options))
    yield PhotoFile("grey.gif", saved(Image.fromarray(colours(7)[..., 0]), "GIF"))


def web_files() -> Iterator[PhotoFile]:
    """Yield WebP and AVIF files: lossy and lossless, with and without alpha, single and animated."""
    for number in range(24):
        mode, lossless, animated = ("RGB", "RGBA", "L")[number % 3], number // 3 % 2 == 1, number >= 18
        first, second = (Image.fromarray(colours(other, 4)).convert(mode) for other in (number, number + 8))
        options = {"save_all": True, "append_images": [second]} if animated else {}
        options |= {"exif": turned(number % 8 + 1), "icc_profile": SRGB}
        yield PhotoFile(f"{mode}-{number}.webp", saved(first, "WEBP", lossless=lossless, **options))
        if features.check("avif") and number % 2 == 0:
            if animated:  # Pillow 13 ends the process when it writes a turned animation
                del options["exif"]
            options |= {"subsampling": ("4:2:0", "4:2:2", "4:4:4")[number // 2 % 3], "speed": 10}
            yield PhotoFile(f"{mode}-{number}.avif", saved(first, "AVIF", **options))


def other_files() -> Iterator[PhotoFile]:
    """Yield files of the older formats."""
    grey, rgb, rgba = (Image.fromarray(colours(7, 4)).convert(mode) for mode in ("L", "RGB", "RGBA"))
    yield PhotoFile("grey.pgm", saved(grey, "PPM"))
    yield PhotoFile("colour.ppm", saved(rgb, "PPM"))
    yield PhotoFile("line.pbm", saved(grey.convert("1"), "PPM"))
    yield PhotoFile("text.ppm", b"P3\n# a remark\n2 1\n255\n255 0 0  0 128 255\n")
    deep = deep_pixels(7, 1)
    rgb_deep = deep_pixels(6, 3)
    yield PhotoFile("deep.ppm", b"P6 33 16 65535\n" + rgb_deep.astype(">u2").tobytes(), rgb_deep)
    yield PhotoFile("deep.pgm", saved(Image.fromarray(deep[..., 0]), "PPM"), deep)
    yield PhotoFile("sizes.ico", saved(rgba.resize((32, 32)), "ICO", sizes=[(16, 16), (32, 32)]))
    for mode, picture in (("L", grey), ("RGB", rgb), ("RGBA", rgba)):
        for irreversible in (False, True):
            yield PhotoFile(f"{mode}-{irreversible}.jp2", saved(picture, "JPEG2000", irreversible=irreversible))


def damaged(number: int, files: list[PhotoFile]) -> PhotoFile:
    """Return a damaged file; its number chooses the file and the damage."""
    rng = np.random.default_rng([7, number])
    file, other = files[number % len(files)], files[int(rng.integers(len(files)))]
    kinds = (cut, flip_bits, swap_bytes, remove_part, edit_header, enlarge, rename, join, repeat_part, splice)
    damage = kinds[int(rng.integers(len(kinds)))]
    name, data = file.name, damage(file.data, other.data, rng)
    if damage is rename:
        name = f"{name}.{other.name.rpartition('.')[2]}"
    if name.endswith(".png") and rng.random() < 0.5:
        data = with_checksums(data)
    return PhotoFile(f"{damage.__name__}-{name}", data)


def place_in(data: bytes, rng: np.random.Generator) -> int:
    """Return a random place, in half of all cases one near the beginning, where the headers are."""
    return int(rng.integers(len(data) if rng.random() < 0.5 else min(len(data), 200)))


def cut(data: bytes, _: bytes, rng: np.random.Generator) -> bytes:
    return data[: place_in(data, rng)]


def flip_bits(data: bytes, _: bytes, rng: np.random.Generator) -> bytes:
    changed = bytearray(data)
    for _ in range(int(2 ** rng.uniform(0, 5))):
        changed[place_in(data, rng)] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def swap_bytes(data: bytes, _: bytes, rng: np.random.Generator) -> bytes:
    changed = bytearray(data)
    for _ in range(int(rng.integers(1, 4))):
        one, two = place_in(data, rng), place_in(data, rng)
        changed[one], changed[two] = changed[two], changed[one]
    return bytes(changed)


def remove_part(data: bytes, _: bytes, rng: np.random.Generator) -> bytes:
    """Remove a chunk of a PNG or a segment of a JPEG, or any bytes of another file."""
    marks = [
        b"PLTE",
        b"tRNS",
        b"IDAT",
        b"IEND",
        b"IHDR",
        b"\xff\xdb",
        b"\xff\xc4",
        b"\xff\xc0",
        b"\xff\xda",
        b"\xff\xee",
    ]
    found = [data.index(mark) for mark in marks if mark in data]
    begin = found[int(rng.integers(len(found)))] - 4 if found and rng.random() < 0.7 else place_in(data, rng)
    begin = max(0, begin)
    return data[:begin] + data[begin + int(2 ** rng.uniform(0, 8)) :]


def edit_header(data: bytes, _: bytes, rng: np.random.Generator) -> bytes:
    changed, place = bytearray(data), int(rng.integers(min(len(data), 64)))
    new = rng.choice([b"\0", b"\xff", b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\1\0", rng.bytes(2)])
    changed[place : place + len(new)] = new
    return bytes(changed)


def enlarge(data: bytes, _: bytes, rng: np.random.Generator) -> bytes:
    """Write a large number over a small one of two or four bytes, as of a width or a length."""
    code = str(rng.choice(["<H", ">H", "<I", ">I"]))
    size = struct.calcsize(code)
    small = [at for at in range(min(len(data), 400) - size) if 0 < struct.unpack_from(code, data, at)[0] < 300]
    if not small:
        return data[: len(data) // 2]
    large = int(rng.choice([1000, 13_000, 40_000, 65_535] + [10**6, 2**31 - 1, 2**32 - 1] * (size == 4)))
    changed = bytearray(data)
    struct.pack_into(code, changed, small[int(rng.integers(len(small)))], large)
    return bytes(changed)


def rename(data: bytes, _: bytes, rng: np.random.Generator) -> bytes:
    return data


def join(data: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    return data + other if rng.random() < 0.5 else rng.bytes(int(rng.integers(1, 9))) + data


def repeat_part(data: bytes, _: bytes, rng: np.random.Generator) -> bytes:
    place, length = place_in(data, rng), int(2 ** rng.uniform(0, 8))
    return data[:place] + data[place : place + length] + data[place:]


def splice(data: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    place, length = place_in(data, rng), int(2 ** rng.uniform(0, 8))
    return data[:place] + other[place : place + length] + data[place + length :]


def with_checksums(data: bytes) -> bytes:
    """Return a PNG whose chunks have right checksums, as far as it has chunks."""
    result, place = data[:8], 8
    while place + 12 <= len(data):
        length = int.from_bytes(data[place : place + 4], "big")
        if place + 12 + length > len(data):
            break
        result += chunk(data[place + 4 : place + 8], data[place + 8 : place + 8 + length])
        place += 12 + length
    return result + data[place:]

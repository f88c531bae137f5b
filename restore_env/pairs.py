"""Distorted and reference images: drawn from clean photos, or fixed in a file or folder."""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path
from typing import Final, Protocol, runtime_checkable

import numpy as np
from cachetools import LRUCache

from restore_env.constants import MAX_INPUT_PSNR, MSE_FLOOR, PATCH_SIZE
from restore_env.distortions import ByteImage, DistortionModel, Parameters, SeverityDistortion, as_distortion
from restore_env.errors import ImageError
from restore_env.files import replacing
from restore_env.images import (
    FolderPhotos,
    as_rgb_bytes,
    check_all_bytes,
    check_bytes,
    embedded_photos,
    image_files,
    read_image,
    warn_skipped,
)
from restore_env.photo_variants import SHRINK_FACTORS, recoloured, shrink, shrink_factors

JPEG_GRID: Final = 16
"""Side in pixels of the blocks of a JPEG with 4:2:0 chroma."""

WINDOW_MARGIN: Final = 32
"""Pixels around a patch that its blur and its JPEG blocks can depend on: 10 for the kernel, 17 for the blocks."""

CACHE_BYTES: Final = 512 * 2**20
MAX_DRAWS: Final = 1000


@dataclass(frozen=True)
class Pair:
    """A distorted image and what it was.

    Args:
        distorted: uint8 (h, w, 3) RGB.
        reference: uint8 (h, w, 3) RGB.
        distortion: parameters of the distortion, where they are known.
        photo: number of the photo that it was cut from, where that is known.
    """

    distorted: ByteImage
    reference: ByteImage
    distortion: Parameters | None = None
    photo: int | None = None


@runtime_checkable
class PairSource(Protocol):
    """Where an environment's episodes come from."""

    def sample(self, rng: np.random.Generator) -> Pair:
        """Draw a pair; all randomness comes from `rng`."""


@dataclass(repr=False)
class PatchSampler:
    """Cuts patches from clean photos and distorts them.

    The window around a patch is distorted with it, so that a patch has real neighbours and lies anywhere on the JPEG
    grid: after one blur and one JPEG exactly as if the whole photo had been distorted. Patches whose PSNR exceeds 50 dB
    are drawn again.

    Args:
        photos: clean photos, uint8 (h, w, 3) each. One that cannot be read is named in a warning and left out.
        distortion: how to distort; by default the paper's moderate mixture.
        patch_size: height and width of a patch in pixels.
        augment: mirror and transpose windows at random before they are distorted.
        colours: in half of the windows exchange the channels at random and move the black and the white point of each
            by up to 32 of 255 levels, so that few photos show many colours. In few photos most near-white areas, for
            example, are pure white, and tools learn to make all of them so.
        factors: by which photos are shrunk, each where it leaves the shorter side between 320 and 1080 pixels.

    Raises:
        ImageError: when no photo can be used.
    """

    photos: Sequence[ByteImage]
    distortion: DistortionModel = field(default_factory=lambda: SeverityDistortion("moderate"))
    patch_size: int = PATCH_SIZE
    augment: bool = False
    colours: bool = False
    factors: Sequence[float] = SHRINK_FACTORS

    def __post_init__(self) -> None:
        self._unusable: set[int] = set()
        self._shrunk: LRUCache[tuple[int, float], ByteImage] = LRUCache(CACHE_BYTES, getsizeof=attrgetter("nbytes"))
        self._sides: dict[int, int] = {}

    def __repr__(self) -> str:
        photos = self.photos if isinstance(self.photos, FolderPhotos) else f"{len(self.photos)} photos"
        factors = ", ".join(f"{factor:g}" for factor in self.factors)
        changed = f"augment={self.augment}, colours={self.colours}, shrunk by {factors}"
        return f"patches of {self.patch_size} pixels, {changed}, {photos!r}, {self.distortion!r}"

    def sample(self, rng: np.random.Generator) -> Pair:
        """Draw a photo, a scale, a place and a distortion."""
        for _ in range(MAX_DRAWS):
            pair = self._draw(rng)
            if input_psnr(pair) <= MAX_INPUT_PSNR:
                return pair
        raise ImageError(
            f"the distortion left {MAX_DRAWS} patches in a row above {MAX_INPUT_PSNR:g} dB; use photos that are not "
            f"plain areas, or a stronger severity"
        )

    def window(self, rng: np.random.Generator, margin: int = WINDOW_MARGIN) -> tuple[ByteImage, int, int, int]:
        """Draw a clean window: the pixels, where in it the patch starts (top, left), and the photo's number.

        Windows start on the JPEG grid of their photo, and with `augment` also end on it: mirrored, they start there.
        """
        number, photo = self._draw_photo(rng)
        top, left = (int(rng.integers(side - self.patch_size + 1)) for side in photo.shape[:2])
        first_row, first_column = (max(0, place - margin) // JPEG_GRID * JPEG_GRID for place in (top, left))
        last_row, last_column = (place + self.patch_size + margin for place in (top, left))
        if self.augment:
            last_row, last_column = (-(-last // JPEG_GRID) * JPEG_GRID for last in (last_row, last_column))
        return photo[first_row:last_row, first_column:last_column], top - first_row, left - first_column, number

    def _draw(self, rng: np.random.Generator) -> Pair:
        window, top, left, number = self.window(rng)
        if self.augment:
            window, top, left = self._turned(window, top, left, rng)
        if self.colours and rng.random() < 0.5:
            window = recoloured(window, rng)
        distorted, parameters = self.distortion(window, rng)
        patch = (slice(top, top + self.patch_size), slice(left, left + self.patch_size))
        return Pair(distorted[patch].copy(), window[patch].copy(), parameters, number)

    def _turned(self, window: ByteImage, top: int, left: int, rng: np.random.Generator) -> tuple[ByteImage, int, int]:
        """Mirror and transpose a window at random; the patch keeps its pixels, not its place."""
        mirror_rows, mirror_columns, transpose = rng.integers(2, size=3)
        if mirror_rows:
            window, top = window[::-1], window.shape[0] - top - self.patch_size
        if mirror_columns:
            window, left = window[:, ::-1], window.shape[1] - left - self.patch_size
        return (window.transpose(1, 0, 2), left, top) if transpose else (window, top, left)

    def _draw_photo(self, rng: np.random.Generator) -> tuple[int, ByteImage]:
        while len(self._unusable) < len(self.photos):
            # Drawn among all photos, so that what comes does not depend on which unusable ones were met before.
            index = int(rng.integers(len(self.photos)))
            if index in self._unusable:
                continue
            try:
                if index not in self._sides:
                    self._sides[index] = self._measure(index)
                factors = shrink_factors(self._sides[index], self.patch_size, self.factors)
                return index, self._scaled(index, float(rng.choice(factors)))
            except ImageError as error:
                warn_skipped(error)
                self._unusable.add(index)
        name = self.photos.folder if isinstance(self.photos, FolderPhotos) else "photos"
        raise ImageError(f"{name}: no usable image of at least {self.patch_size}x{self.patch_size} pixels")

    def _measure(self, index: int) -> int:
        name = str(self.photos.paths[index]) if isinstance(self.photos, FolderPhotos) else f"photos[{index}]"
        photo = check_bytes(name, self.photos[index])
        side = int(min(photo.shape[:2]))
        if side < self.patch_size:
            size = self.patch_size
            raise ImageError(f"{name}: {photo.shape[1]}x{photo.shape[0]} pixels, less than {size}x{size}")
        if 1 in shrink_factors(side, self.patch_size, self.factors):  # saves reading the file again
            self._keep(index, 1, photo)
        return side

    def _scaled(self, index: int, factor: float) -> ByteImage:
        if (index, factor) not in self._shrunk:
            self._keep(index, factor, shrink(self.photos[index], factor))
        return self._shrunk[index, factor]

    def _keep(self, index: int, factor: float, photo: ByteImage) -> None:
        self._shrunk[index, factor] = photo


class Pairs:
    """A fixed set of pairs, in order; as a source, a patch of a pair drawn at random.

    Args:
        distorted: n uint8 (h, w, 3) images, of equal or different sizes.
        reference: n images, each of the size of its distorted one.
        names: what to call the pairs, by default their numbers.
        patch_size: side of what `sample` cuts from larger pairs.
        photos: the photo that each was cut from, as a number, None where that is not known: pairs of one photo are
            alike, and an interval of a mean over them has to know it.

    Raises:
        ValueError, TypeError: if there are none, or they are not uint8 (h, w, 3), or sizes differ.
    """

    def __init__(
        self,
        distorted: Sequence[ByteImage],
        reference: Sequence[ByteImage],
        names: Sequence[str] | None = None,
        patch_size: int = PATCH_SIZE,
        photos: Sequence[int | None] | None = None,
    ) -> None:
        check_all_bytes("distorted", distorted)
        check_all_bytes("reference", reference)
        if len(distorted) != len(reference) or not len(distorted):
            raise ValueError(
                f"{len(distorted)} distorted and {len(reference)} reference images; as many of each are needed"
            )
        self.distorted, self.reference = distorted, reference
        self.names = list(names) if names is not None else [str(index) for index in range(len(distorted))]
        if len(self.names) != len(distorted):
            raise ValueError(f"{len(self.names)} names for {len(distorted)} pairs")
        self.photos = list(photos) if photos is not None else [None] * len(distorted)
        if len(self.photos) != len(distorted):
            raise ValueError(f"{len(self.photos)} photos' numbers for {len(distorted)} pairs")
        self.patch_size = patch_size
        for name, pair in zip(self.names, self, strict=True):
            check_same_size(pair.distorted, pair.reference, name)

    def __len__(self) -> int:
        return len(self.distorted)

    def __getitem__(self, index: int) -> Pair:
        return Pair(self.distorted[index], self.reference[index])

    def __iter__(self) -> Iterator[Pair]:
        return (Pair(*images) for images in zip(self.distorted, self.reference, strict=True))

    def first(self, n: int) -> "Pairs":
        """The first n pairs, or all if there are fewer."""
        return Pairs(self.distorted[:n], self.reference[:n], self.names[:n], self.patch_size, self.photos[:n])

    def sample(self, rng: np.random.Generator) -> Pair:
        """Draw a pair, and from a larger one a patch."""
        index = int(rng.integers(len(self)))
        distorted, reference = self.distorted[index], self.reference[index]
        if min(distorted.shape[:2]) < self.patch_size:
            raise ImageError(f"pair {self.names[index]} is smaller than the patch size of {self.patch_size} pixels")
        top, left = (int(rng.integers(side - self.patch_size + 1)) for side in distorted.shape[:2])
        patch = (slice(top, top + self.patch_size), slice(left, left + self.patch_size))
        return Pair(distorted[patch].copy(), reference[patch].copy())


def check_same_size(distorted: ByteImage, reference: ByteImage, name: str = "") -> None:
    """Raise a `ValueError` if two images differ in size."""
    if distorted.shape != reference.shape:
        sizes = f"distorted is {distorted.shape}, reference is {reference.shape}"
        raise ValueError(f"pair {name}: {sizes}; both need one size" if name else f"{sizes}; both need one size")


def draw_pairs(source: PairSource, n: int | range, seed: int) -> Pairs:
    """Draw pairs, each from a generator of its own seeded by (seed, its number).

    Args:
        source: where they come from; all of one size.
        n: how many, or the numbers of those wanted: the first k never depend on how many follow.
        seed: together with a pair's number, what is drawn.
    """
    numbers = range(n) if isinstance(n, int) else n
    pairs = [source.sample(np.random.default_rng([seed, number])) for number in numbers]
    distorted, reference = np.stack([pair.distorted for pair in pairs]), np.stack([pair.reference for pair in pairs])
    return Pairs(distorted, reference, photos=[pair.photo for pair in pairs])  # type: ignore[arg-type]


def save_pairs(path: str | os.PathLike[str], pairs: Pairs) -> None:
    """Write a pairs file: `.npz` with `distorted` and `reference`, uint8 (n, h, w, 3).

    Raises:
        ValueError: if the images have different sizes (a pairs folder holds those) or `path` does not end in .npz.
    """
    if Path(path).suffix != ".npz":
        raise ValueError(f"path={str(path)!r} does not end in .npz")
    if len({image.shape for image in pairs.distorted}) > 1:
        raise ValueError("a pairs file holds images of one size; save these as a folder with distorted/ and reference/")
    with replacing(path) as temporary:
        np.savez(temporary, distorted=np.stack(pairs.distorted), reference=np.stack(pairs.reference))


def load_pairs(path: str | os.PathLike[str], patch_size: int = PATCH_SIZE) -> Pairs:
    """Read a pairs file, or a folder with `distorted/` and `reference/` whose files are matched by name.

    Raises:
        ImageError: if it is missing or cannot be used; the message says why.
    """
    load: Callable[[Path, int], Pairs] = _load_folder if Path(path).is_dir() else _load_file
    try:
        return load(Path(path), patch_size)
    except ImageError:
        raise
    except (ValueError, TypeError) as error:
        raise ImageError(f"{path}: {error}") from error


def as_source(images: object, severity: str | DistortionModel, patch_size: int, name: str = "images") -> PairSource:
    """Return the source that an environment's `images` argument stands for.

    Args:
        images: "embedded", a folder of photos, a pairs file or folder, a sequence of photos, or a source itself.
        severity: how to distort clean photos; pairs are used as they are.
        patch_size: side of a patch in pixels.
        name: what errors call `images`.
    """
    distortion = as_distortion(severity)
    if isinstance(images, Pairs):
        return Pairs(images.distorted, images.reference, images.names, patch_size, images.photos)
    if isinstance(images, PairSource):
        return images
    if isinstance(images, str) and images == "embedded":
        return PatchSampler(embedded_photos(), distortion, patch_size)
    if isinstance(images, str | os.PathLike):
        return _source_from_path(Path(images), distortion, patch_size, name)
    if isinstance(images, list | tuple | np.ndarray) and len(images):
        check_all_bytes(name, images)
        return PatchSampler(list(images), distortion, patch_size)
    if isinstance(images, Sequence) and len(images):  # photos that are read when asked for
        return PatchSampler(images, distortion, patch_size)
    given = "an empty sequence" if isinstance(images, Sequence | np.ndarray) else repr(images)
    raise TypeError(f"{name}={given} is not 'embedded', a folder, a pairs file, a sequence of arrays or a source")


def input_psnr(pair: Pair) -> float:
    """PSNR in dB of a pair's distorted image."""
    difference = pair.distorted.astype(np.float32) - pair.reference.astype(np.float32)
    return float(-10 * np.log10(np.mean(np.square(difference)) / 255**2 + MSE_FLOOR))


def _source_from_path(path: Path, distortion: DistortionModel, patch_size: int, name: str) -> PairSource:
    if not path.exists():
        raise ImageError(f"{name}={str(path)!r}: no such file or folder; 'embedded' uses the photos of scikit-image")
    if path.is_dir() and not is_pairs_folder(path):
        return PatchSampler(FolderPhotos(path), distortion, patch_size)
    return load_pairs(path, patch_size)


def is_pairs_folder(path: Path) -> bool:
    """Whether `path` is a folder with `distorted/` and `reference/`."""
    return (path / "distorted").is_dir() and (path / "reference").is_dir()


def _load_file(path: Path, patch_size: int) -> Pairs:
    if not path.exists():
        raise ImageError(f"{path}: no such file or folder")
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            arrays = {name: file[name] for name in ("distorted", "reference") if name in file}
    except Exception as error:  # zipfile, zlib and NumPy raise almost anything for a damaged file
        raise ImageError(
            f"{path}: not a pairs file, or damaged; .npz with distorted and reference is needed"
        ) from error
    missing = {"distorted", "reference"} - arrays.keys()
    if missing:
        raise ImageError(f"{path}: the array {' and '.join(sorted(missing))} is missing")
    return Pairs(arrays["distorted"], arrays["reference"], patch_size=patch_size)


def _load_folder(path: Path, patch_size: int) -> Pairs:
    if not is_pairs_folder(path):
        raise ImageError(f"{path}: no pairs; a folder with distorted/ and reference/ is needed")
    files = [_by_name(path / side) for side in ("distorted", "reference")]
    unmatched = sorted(files[0].keys() ^ files[1].keys())
    if unmatched:
        raise ImageError(f"{path}: {unmatched[0]!r} is not in both distorted/ and reference/")
    names = sorted(files[0])
    images = [[as_rgb_bytes(read_image(side[name])) for name in names] for side in files]
    return Pairs(images[0], images[1], names, patch_size)


def _by_name(folder: Path) -> dict[str, Path]:
    """The images of a folder by their names without endings."""
    files: dict[str, Path] = {}
    for file in image_files(folder):
        if file.stem in files:
            raise ImageError(f"{folder}: both {files[file.stem].name} and {file.name}; a name may come once")
        files[file.stem] = file
    return files

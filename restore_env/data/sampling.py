"""Cut patches from clean photos in several sizes and colours, and distort them."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from operator import attrgetter
from typing import Any, Final, Self

import cv2
import numpy as np
from cachetools import LRUCache

from restore_env.constants import MAX_INPUT_PSNR, PATCH_SIZE
from restore_env.data.distortions import DistortionModel, SeverityDistortion
from restore_env.data.image_io import check_bytes, warn_skipped
from restore_env.data.pairs import Pair, input_psnr
from restore_env.data.photos import FolderPhotos
from restore_env.errors import ImageError
from restore_env.utils.tensors import ByteImage, augment_dihedral

SHRINK_FACTORS: Final = (1.0, 2.0, 3.0, 4.0)
"""Factors by which photos are shrunk."""

FINE_SHRINK_FACTORS: Final = (1.0, 1.25, 1.6, 2.0, 2.5, 3.0, 4.0)
"""Factors for training tools, which shows them photos in more sizes."""

STRETCH: Final = 1.25
"""Largest factor by which windows are shrunk further for training tools: about the ratio of two factors."""

SMALLEST_SIDE: Final = 320
LARGEST_SIDE: Final = 1080
"""Bounds in pixels of a shrunk photo's shorter side. The authors shrank DIV2K by 2, 3 and 4, to about 340 to 700."""

SHARP_SIDE: Final = 120
"""Smallest shorter side for training tools. Photos that are shrunk so far are sharp, as other people's photos are."""

TONE_RANGE: Final = 32
"""Levels of 0-255 by which black and white points are moved at most."""

JPEG_GRID: Final = 16
"""Height and width in pixels of the blocks of a JPEG with 4:2:0 chroma."""

WINDOW_MARGIN: Final = 32
"""Pixels around a patch that its blur and its JPEG blocks can depend on: 10 for the kernel, 17 for the blocks."""

CACHE_BYTES: Final = 512 * 2**20
"""Memory that a sampler may fill with photos as they were read, and again with shrunk photos."""

MAX_DRAWS: Final = 1000
"""Draws in a row that may be above `MAX_INPUT_PSNR`."""


def recoloured(window: ByteImage, rng: np.random.Generator) -> ByteImage:
    """Exchange the channels of a window, and move the black and white point of each by up to `TONE_RANGE` levels."""
    order = rng.permutation(3)
    black, white = rng.uniform(0, TONE_RANGE, 3), 255 - rng.uniform(0, TONE_RANGE, 3)
    return np.rint(black + window[..., order] * ((white - black) / 255)).astype(np.uint8)


def shrink_factors(
    side: int,
    patch_size: int = PATCH_SIZE,
    factors: Sequence[float] = SHRINK_FACTORS,
    smallest_side: int = SMALLEST_SIDE,
) -> list[float]:
    """Return the factors by which a photo may be shrunk before a patch is cut.

    Args:
        side: the photo's shorter side in pixels.
        patch_size: height and width of a patch in pixels.
        factors: the factors to choose from.
        smallest_side: shorter side in pixels that a photo keeps at least.

    Example:
        >>> shrink_factors(1080)
        [1.0, 2.0, 3.0]
    """
    smallest = max(smallest_side, patch_size)
    fitting = [factor for factor in factors if smallest <= side // factor <= LARGEST_SIDE]
    too_large = side // max(factors) > max(LARGEST_SIDE, patch_size)
    return fitting or [max(factors) if too_large else 1]


def shrink(photo: ByteImage, factor: float) -> ByteImage:
    """Shrink a uint8 (h, w, 3) photo by a factor; each new pixel is the mean of those it covers.

    Example:
        >>> shrink(np.zeros((90, 120, 3), np.uint8), 1.5).shape
        (60, 80, 3)
    """
    if factor == 1:
        return photo
    height, width = photo.shape[:2]
    size = (int(width // factor), int(height // factor))
    return np.asarray(cv2.resize(photo, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


@dataclass(repr=False)
class PatchSampler:
    """A source that cuts patches from clean photos and distorts them.

    A window around the patch is distorted with it. The patch therefore has real neighbours and lies anywhere on the
    JPEG grid: after one blur and one JPEG compression it is what it would be had the whole photo been distorted.
    Patches whose PSNR exceeds 50 dB are drawn again.

    Args:
        photos: clean photos, uint8 (h, w, 3) RGB. A photo that cannot be used is skipped with a warning.
        distortion: how to distort, by default the paper's moderate mixture.
        patch_size: height and width of a patch in pixels.
        augment: whether to mirror and transpose windows at random before they are distorted.
        colours: whether to change the colours of half of the windows: their channels are exchanged at random, and the
            black and white point of each is moved by up to 32 levels of 0-255. Few photos then show many colours.
            Otherwise most near-white areas of few photos are pure white, and tools learn to whiten them all.
        factors: factors by which photos are shrunk. A factor is used if it leaves the shorter side between
            `smallest_side` and 1080 pixels.
        smallest_side: shorter side in pixels that a photo keeps at least.
        between: whether windows are shrunk further by a factor up to `STRETCH`, so that photos come in all sizes.

    Example:
        >>> photos = [np.random.default_rng(0).integers(256, size=(96, 128, 3), dtype=np.uint8)]
        >>> pair = PatchSampler(photos, patch_size=63).sample(np.random.default_rng(0))
        >>> pair.distorted.shape, list(pair.distortion), pair.photo
        ((63, 63, 3), ['blur_sigma', 'noise_sigma', 'jpeg_quality'], 0)
    """

    photos: Sequence[ByteImage]
    distortion: DistortionModel = field(default_factory=lambda: SeverityDistortion("moderate"))
    patch_size: int = PATCH_SIZE
    augment: bool = False
    colours: bool = False
    factors: Sequence[float] = SHRINK_FACTORS
    smallest_side: int = SMALLEST_SIDE
    between: bool = False

    def __post_init__(self) -> None:
        self._unusable: set[int] = set()
        self._read: LRUCache[int, ByteImage] = _new_cache()
        self._shrunk: LRUCache[tuple[int, float], ByteImage] = _new_cache()
        self._sides: dict[int, int] = {}

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"_read": _new_cache(), "_shrunk": _new_cache()}  # a copy reads its photos again

    def __repr__(self) -> str:
        photos = self.photos if isinstance(self.photos, FolderPhotos) else f"{len(self.photos)} photos"
        factors = ", ".join(f"{factor:g}" for factor in self.factors)
        smallest = "" if self.smallest_side == SMALLEST_SIDE else f" to {self.smallest_side} pixels"
        between = " and between" if self.between else ""
        changed = f"augment={self.augment}, colours={self.colours}, shrunk by {factors}{between}{smallest}"
        return f"patches of {self.patch_size} pixels, {changed}, {photos!r}, {self.distortion!r}"

    def for_training(self) -> Self:
        """Return a sampler of the same photos as tools and agents train on them: in all sizes, turned, recoloured."""
        sizes: dict[str, Any] = {"factors": FINE_SHRINK_FACTORS, "smallest_side": SHARP_SIDE, "between": True}
        return replace(self, augment=True, colours=True, **sizes)

    def sample(self, rng: np.random.Generator) -> Pair:
        """Draw a photo, a size, a place and a distortion.

        Args:
            rng: the source of all randomness.

        Returns:
            The patch before and after the distortion, its parameters, and the photo's number.

        Raises:
            ImageError: if no photo can be used, or there is nothing to restore in the patches.
        """
        for _ in range(MAX_DRAWS):
            pair = self._draw(rng)
            if input_psnr(pair) <= MAX_INPUT_PSNR:
                return pair
        raise ImageError(
            f"the distortion left {MAX_DRAWS} patches in a row above {MAX_INPUT_PSNR:g} dB; use photos that are not "
            f"plain areas, or a stronger severity"
        )

    def window(self, rng: np.random.Generator, margin: int = WINDOW_MARGIN) -> tuple[ByteImage, int, int, int]:
        """Draw a clean window around a patch.

        Windows start on the JPEG grid of their photo. With `augment` they also end on it, because a mirrored window
        starts at its end.

        Args:
            rng: the source of all randomness.
            margin: pixels around the patch.

        Returns:
            The window's pixels, the row and the column in it where the patch starts, and the photo's number.
        """
        number, photo = self._draw_photo(rng)
        factor = min(rng.uniform(1, STRETCH), min(photo.shape[:2]) / self.patch_size) if self.between else 1.0
        size = [int(side / factor) for side in photo.shape[:2]]
        top, left = (int(rng.integers(side - self.patch_size + 1)) for side in size)
        first_row, first_column = (max(0, place - margin) // JPEG_GRID * JPEG_GRID for place in (top, left))
        last_row, last_column = (place + self.patch_size + margin for place in (top, left))
        if self.augment:
            last_row, last_column = (-(-last // JPEG_GRID) * JPEG_GRID for last in (last_row, last_column))
        rows, columns = slice(first_row, min(last_row, size[0])), slice(first_column, min(last_column, size[1]))
        return _shrunk_window(photo, rows, columns, factor), top - first_row, left - first_column, number

    def _draw(self, rng: np.random.Generator) -> Pair:
        """Draw a window, change it, distort it, and cut the patch from it."""
        window, top, left, number = self.window(rng)
        if self.augment:
            window, top, left = self._augmented(window, top, left, rng)
        if self.colours and rng.random() < 0.5:
            window = recoloured(window, rng)
        distorted, parameters = self.distortion(window.copy(), rng)  # a function of a user may write into its argument
        patch = (slice(top, top + self.patch_size), slice(left, left + self.patch_size))
        return Pair(distorted[patch].copy(), window[patch].copy(), parameters, number)

    def _augmented(
        self, window: ByteImage, top: int, left: int, rng: np.random.Generator
    ) -> tuple[ByteImage, int, int]:
        """Mirror and transpose a window at random; the patch keeps its pixels, not its place."""
        mirror_rows, mirror_columns, transpose = rng.integers(2, size=3).tolist()
        if mirror_rows:
            top = window.shape[0] - top - self.patch_size
        if mirror_columns:
            left = window.shape[1] - left - self.patch_size
        turned = augment_dihedral(window, mirror_rows + 2 * mirror_columns + 4 * transpose)
        return (turned, left, top) if transpose else (turned, top, left)

    def _draw_photo(self, rng: np.random.Generator) -> tuple[int, ByteImage]:
        """Draw a photo that can be used; return its number and the photo, shrunk by a factor that is drawn."""
        while len(self._unusable) < len(self.photos):
            # Drawn among all photos, so that the result does not depend on which unusable ones are known already.
            index = int(rng.integers(len(self.photos)))
            if index in self._unusable:
                continue
            try:
                if index not in self._sides:
                    self._sides[index] = self._measure(index)
                factors = self._factors(self._sides[index])
                return index, self._scaled(index, float(rng.choice(factors)))
            except ImageError as error:
                warn_skipped(error)
                self._unusable.add(index)
        name = self.photos.folder if isinstance(self.photos, FolderPhotos) else "photos"
        raise ImageError(f"{name}: no usable image of at least {self.patch_size}x{self.patch_size} pixels")

    def _measure(self, index: int) -> int:
        """Return the shorter side of a photo in pixels, or raise an `ImageError` if the photo cannot be used."""
        name = str(self.photos.paths[index]) if isinstance(self.photos, FolderPhotos) else f"photos[{index}]"
        photo = check_bytes(name, self._photo(index))
        side = int(min(photo.shape[:2]))
        if side < self.patch_size:
            size = self.patch_size
            raise ImageError(f"{name}: {photo.shape[1]}x{photo.shape[0]} pixels, less than {size}x{size}")
        return side

    def _factors(self, side: int) -> list[float]:
        """Return the factors by which a photo of this shorter side may be shrunk."""
        return shrink_factors(side, self.patch_size, self.factors, self.smallest_side)

    def _photo(self, index: int) -> ByteImage:
        """Return a photo as it was read, from the cache if it is there."""
        if index not in self._read:
            photo = self.photos[index]
            if getattr(photo, "nbytes", CACHE_BYTES) >= CACHE_BYTES:  # too large to keep
                return photo
            self._read[index] = photo
        return self._read[index]

    def _scaled(self, index: int, factor: float) -> ByteImage:
        """Return a photo shrunk by a factor, from the cache if it is there."""
        if factor == 1:
            return self._photo(index)
        if (index, factor) not in self._shrunk:
            self._shrunk[index, factor] = shrink(self._photo(index), factor)
        return self._shrunk[index, factor]


def _shrunk_window(photo: ByteImage, rows: slice, columns: slice, factor: float) -> ByteImage:
    """Return a window of the photo that a photo becomes if it is shrunk by a factor; only the window is shrunk."""
    if factor == 1:
        return photo[rows, columns]
    before = [slice(round(span.start * factor), round(span.stop * factor)) for span in (rows, columns)]
    size = columns.stop - columns.start, rows.stop - rows.start
    window = cv2.resize(photo[before[0], before[1]], size, interpolation=cv2.INTER_AREA)
    return np.asarray(window, dtype=np.uint8)


def _new_cache() -> LRUCache[Any, ByteImage]:
    """Return an empty cache of images."""
    return LRUCache(CACHE_BYTES, getsizeof=attrgetter("nbytes"))

"""The patches that benchmarks measure on."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from restore_env import Pairs, as_source, draw_pairs
from restore_env.constants import PATCH_SIZE
from restore_env.data.distortions import DistortionModel
from restore_env.data.photos import FolderPhotos
from restore_env.utils.checks import Count, Natural, Options

PAPER_SEVERITIES: Final = ("mild", "moderate", "severe")
"""What the paper measures agents on."""


@dataclass(kw_only=True)
class PhotoArgs(Options):
    """The options of a benchmark that measures on photos."""

    photos: Path
    """Folder of clean photos to measure on. Nothing may have been trained on them."""
    output: Path
    """Results file to write (.json). The report (.md) and the plots (.png) are written beside it."""
    seed: Natural = 0
    """Seed of all random numbers."""
    data: str = "not stated"
    """What the photos are, for the report."""


@dataclass(kw_only=True)
class PatchArgs(PhotoArgs):
    """The options of a benchmark that measures on patches of photos."""

    n: Count = 512
    """Patches for each distortion that is measured."""


@dataclass(frozen=True)
class PatchSet:
    """Draws distorted patches: the same ones at each call with the same distortion.

    Args:
        photos: clean photos.
        n: patches to draw.
        seed: seed of the patches.
        size: height and width of a patch in pixels.

    Example:
        >>> from restore_env.data.photos import embedded_photos
        >>> patches = PatchSet(embedded_photos(), n=2, seed=0)
        >>> patches.draw("mild").distorted.shape
        (2, 63, 63, 3)
    """

    photos: Sequence[Any]
    n: int
    seed: int
    size: int = PATCH_SIZE

    def draw(self, distortion: str | DistortionModel, numbers: range | None = None) -> Pairs:
        """Draw patches and distort them.

        Args:
            distortion: the name of a severity, or a distortion.
            numbers: of the patches to draw, by default all of them.
        """
        source = as_source(self.photos, distortion, self.size)
        return draw_pairs(source, range(self.n) if numbers is None else numbers, self.seed)


def open_patches(args: PatchArgs, size: int = PATCH_SIZE) -> PatchSet:
    """Open the photos that the options name.

    Raises:
        ValueError: if `n` is no whole number of at least 1, or no photo can be used.
    """
    return PatchSet(FolderPhotos(args.photos), args.n, args.seed, size)

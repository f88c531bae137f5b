"""Sources: where the pairs of an environment or a training come from."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np

from restore_env.data.distortions import DistortionModel, as_distortion
from restore_env.data.image_io import check_all_bytes
from restore_env.data.pairs import Pair, Pairs, is_pairs_folder, load_pairs
from restore_env.data.photos import FolderPhotos, embedded_photos
from restore_env.data.sampling import PatchSampler
from restore_env.errors import ImageError


@runtime_checkable
class PairSource(Protocol):
    """Where an environment's episodes come from."""

    def sample(self, rng: np.random.Generator) -> Pair:
        """Draw a pair; all randomness comes from `rng`."""


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


def _source_from_path(path: Path, distortion: DistortionModel, patch_size: int, name: str) -> PairSource:
    if not path.exists():
        raise ImageError(f"{name}={str(path)!r}: no such file or folder; 'embedded' uses the photos of scikit-image")
    if path.is_dir() and not is_pairs_folder(path):
        return PatchSampler(FolderPhotos(path), distortion, patch_size)
    return load_pairs(path, patch_size)

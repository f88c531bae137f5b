"""Sources that pairs are drawn from."""

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
    """Any object that pairs can be drawn from, such as `Pairs` and `PatchSampler`.

    Example:
        >>> class Night:
        ...     def sample(self, rng):
        ...         reference = np.zeros((63, 63, 3), np.uint8)
        ...         return Pair(rng.integers(20, size=reference.shape, dtype=np.uint8), reference)
        >>> isinstance(Night(), PairSource)
        True
    """

    def sample(self, rng: np.random.Generator) -> Pair:
        """Draw a pair.

        Args:
            rng: the source of all randomness.
        """


def draw_pairs(source: PairSource, n: int | range, seed: int) -> Pairs:
    """Draw pairs of one size from a source.

    Each pair has a generator of its own, seeded with `seed` and the pair's number. The first pairs therefore do not
    depend on how many follow.

    Args:
        source: where the pairs come from.
        n: how many pairs, or the numbers of the pairs wanted.
        seed: seed of all draws.

    Returns:
        The pairs in the order of their numbers. A pair that the source gives no name has its number as name.

    Example:
        >>> source = as_source("embedded", "moderate", patch_size=63)
        >>> pairs = draw_pairs(source, 4, seed=0)
        >>> pairs.distorted.shape
        (4, 63, 63, 3)
        >>> bool((draw_pairs(source, range(3, 4), seed=0).distorted[0] == pairs.distorted[3]).all())
        True
    """
    numbers = range(n) if isinstance(n, int) else n
    pairs = [source.sample(np.random.default_rng([seed, number])) for number in numbers]
    distorted, reference = np.stack([pair.distorted for pair in pairs]), np.stack([pair.reference for pair in pairs])
    names = [str(number) if pair.name is None else pair.name for number, pair in zip(numbers, pairs, strict=True)]
    labels = [pair.label for pair in pairs]
    photos = [pair.photo for pair in pairs]
    distortions = [pair.distortion for pair in pairs]
    known = {"photos": photos, "labels": None if None in labels else labels, "distortions": distortions}
    return Pairs(distorted, reference, names, **known)  # type: ignore[arg-type]


def as_source(images: object, severity: str | DistortionModel, patch_size: int, name: str = "images") -> PairSource:
    """Return the source that an environment's `images` argument names.

    Args:
        images: "embedded" (the photos of scikit-image), a folder of photos, a pairs file or folder, a sequence of
            uint8 (h, w, 3) photos, or a source. A source is returned as it is; `Pairs` get the new patch size.
        severity: how to distort clean photos; see `as_distortion`. Pairs are used as they are.
        patch_size: height and width of a patch in pixels.
        name: name of the argument, for messages.

    Returns:
        The source, which `draw_pairs` takes.

    Raises:
        TypeError: if `images` is nothing of the above, or a photo is not a uint8 array.
        ValueError: if the severity is unknown, or a photo is not (h, w, 3).
        ImageError: if the file or folder is missing or cannot be used.

    Example:
        >>> photos = [np.random.default_rng(0).integers(256, size=(96, 128, 3), dtype=np.uint8)]
        >>> as_source(photos, "mild", patch_size=32).sample(np.random.default_rng(0)).distorted.shape
        (32, 32, 3)
    """
    distortion = as_distortion(severity)
    if isinstance(images, Pairs):
        known = (images.photos, images.labels, images.distortions)
        return Pairs(images.distorted, images.reference, images.names, patch_size, *known)
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
    """Return the source of a folder of photos, a pairs file or a pairs folder."""
    if not path.exists():
        raise ImageError(f"{name}={str(path)!r}: no such file or folder; 'embedded' uses the photos of scikit-image")
    if path.is_dir() and not is_pairs_folder(path):
        return PatchSampler(FolderPhotos(path), distortion, patch_size)
    return load_pairs(path, patch_size)

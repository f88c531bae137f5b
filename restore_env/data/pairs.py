"""Pairs of a distorted and a reference image, and the files and folders that hold them."""

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from restore_env.constants import MSE_FLOOR, PATCH_SIZE
from restore_env.data.distortions import Parameters
from restore_env.data.image_io import as_rgb_bytes, check_all_bytes, image_files, read_image
from restore_env.errors import ImageError
from restore_env.utils.files import replacing
from restore_env.utils.tensors import ByteImage, images_to_tensor


class Pair(NamedTuple):
    """A distorted image and the reference image that it was made from.

    Args:
        distorted: uint8 (h, w, 3) RGB.
        reference: uint8 (h, w, 3) RGB.
        distortion: parameters of the distortion, None if they are unknown.
        photo: number of the photo that the pair was cut from, None if it is unknown.

    Example:
        >>> reference = np.full((8, 8, 3), 100, np.uint8)
        >>> pair = Pair(reference + 10, reference)
        >>> round(input_psnr(pair), 2)
        28.13
    """

    distorted: ByteImage
    reference: ByteImage
    distortion: Parameters | None = None
    photo: int | None = None


class Pairs:
    """A fixed sequence of pairs, and a source that draws patches from them.

    Args:
        distorted: n images, uint8 (h, w, 3) RGB, of one size or of several.
        reference: n images, each of the size of its distorted image.
        names: names of the pairs, by default their numbers.
        patch_size: height and width in pixels of the patches that `sample` cuts.
        photos: for each pair the number of the photo that it was cut from, None where it is unknown. Pairs of one
            photo are alike; a confidence interval of their mean must take that into account.

    Raises:
        TypeError: if an image is not a uint8 array.
        ValueError: if an image is not (h, w, 3), the images of a pair differ in size, there are no pairs, or the
            arguments differ in length.

    Example:
        >>> reference = np.zeros((5, 70, 80, 3), np.uint8)
        >>> pairs = Pairs(reference + 10, reference, patch_size=63)
        >>> len(pairs), pairs[0].reference.shape
        (5, (70, 80, 3))
        >>> pairs.sample(np.random.default_rng(0)).reference.shape
        (63, 63, 3)
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
        """Return the first n pairs, or all if there are fewer."""
        return Pairs(self.distorted[:n], self.reference[:n], self.names[:n], self.patch_size, self.photos[:n])

    def to_tensors(self, device: str | torch.device = "cpu") -> tuple[Tensor, Tensor]:
        """Convert all pairs, which must be of one size, to tensors.

        Args:
            device: where the tensors are made.

        Returns:
            The distorted and the reference images, float32 (n, 3, h, w) in [0, 1], laid out channels last.

        Raises:
            ValueError: if the pairs differ in size.

        Example:
            >>> images = np.zeros((2, 8, 9, 3), np.uint8)
            >>> [tuple(tensor.shape) for tensor in Pairs(images, images).to_tensors()]
            [(2, 3, 8, 9), (2, 3, 8, 9)]
        """
        shapes = {image.shape for image in self.distorted}
        if len(shapes) > 1:
            raise ValueError(f"pairs of the shapes {' and '.join(map(str, sorted(shapes)[:2]))}; one size is needed")
        return pairs_to_tensors(self, device)

    def sample(self, rng: np.random.Generator) -> Pair:
        """Draw a pair, and cut a patch from it.

        Args:
            rng: the source of all randomness.

        Raises:
            ImageError: if the pair is smaller than a patch.
        """
        index = int(rng.integers(len(self)))
        distorted, reference = self.distorted[index], self.reference[index]
        if min(distorted.shape[:2]) < self.patch_size:
            raise ImageError(f"pair {self.names[index]} is smaller than the patch size of {self.patch_size} pixels")
        top, left = (int(rng.integers(side - self.patch_size + 1)) for side in distorted.shape[:2])
        patch = (slice(top, top + self.patch_size), slice(left, left + self.patch_size))
        return Pair(distorted[patch].copy(), reference[patch].copy())


def pairs_to_tensors(pairs: Iterable[Pair], device: str | torch.device = "cpu") -> tuple[Tensor, Tensor]:
    """Convert pairs of one size to tensors.

    Args:
        pairs: n pairs.
        device: where the tensors are made.

    Returns:
        The distorted and the reference images, float32 (n, 3, h, w) in [0, 1], laid out channels last.

    Example:
        >>> image = np.zeros((8, 9, 3), np.uint8)
        >>> [tuple(tensor.shape) for tensor in pairs_to_tensors([Pair(image, image)] * 4)]
        [(4, 3, 8, 9), (4, 3, 8, 9)]
    """
    chosen = list(pairs)
    distorted = images_to_tensor([pair.distorted for pair in chosen], device)
    return distorted, images_to_tensor([pair.reference for pair in chosen], device)


def check_same_size(distorted: ByteImage, reference: ByteImage, name: str = "") -> None:
    """Raise a `ValueError` that names the pair if its two images differ in size."""
    if distorted.shape != reference.shape:
        sizes = f"distorted is {distorted.shape}, reference is {reference.shape}"
        raise ValueError(f"pair {name}: {sizes}; both need one size" if name else f"{sizes}; both need one size")


def save_pairs(path: str | os.PathLike[str], pairs: Pairs) -> None:
    """Write a pairs file: an .npz file with the arrays `distorted` and `reference`, uint8 (n, h, w, 3).

    Args:
        path: where to write; it ends in .npz.
        pairs: pairs of one size.

    Raises:
        ValueError: if the pairs differ in size, or `path` does not end in .npz.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> images = np.zeros((2, 8, 8, 3), np.uint8)
        >>> with TemporaryDirectory() as folder:
        ...     save_pairs(f"{folder}/pairs.npz", Pairs(images, images))
        ...     len(load_pairs(f"{folder}/pairs.npz"))
        2
    """
    if Path(path).suffix != ".npz":
        raise ValueError(f"path={str(path)!r} does not end in .npz")
    if len({image.shape for image in pairs.distorted}) > 1:
        raise ValueError("a pairs file holds images of one size; save these as a folder with distorted/ and reference/")
    with replacing(path) as temporary:
        np.savez(temporary, distorted=np.stack(pairs.distorted), reference=np.stack(pairs.reference))


def load_pairs(path: str | os.PathLike[str], patch_size: int = PATCH_SIZE) -> Pairs:
    """Read a pairs file, or a folder with `distorted/` and `reference/`.

    Images of a folder are matched by their names without endings. They may have several sizes.

    Args:
        path: the file or folder.
        patch_size: height and width in pixels of the patches that `sample` cuts.

    Returns:
        The pairs; those of a folder in the order of their names.

    Raises:
        ImageError: if the file or folder is missing or cannot be used; the message says why.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> from restore_env.data.image_io import write_image
        >>> with TemporaryDirectory() as folder:
        ...     for side in ("distorted", "reference"):
        ...         Path(folder, side).mkdir()
        ...         write_image(Path(folder, side, "night.png"), np.zeros((8, 8), np.uint8))
        ...     load_pairs(folder).names
        ['night']
    """
    try:
        return (_load_folder if Path(path).is_dir() else _load_file)(Path(path), patch_size)
    except ImageError:
        raise
    except (ValueError, TypeError) as error:
        raise ImageError(f"{path}: {error}") from error


def input_psnr(pair: Pair) -> float:
    """Return the PSNR of a pair's distorted image in dB."""
    difference = pair.distorted.astype(np.float32) - pair.reference.astype(np.float32)
    return float(-10 * np.log10(np.mean(np.square(difference)) / 255**2 + MSE_FLOOR))


def is_pairs_folder(path: Path) -> bool:
    """Return whether `path` is a folder with `distorted/` and `reference/`."""
    return (path / "distorted").is_dir() and (path / "reference").is_dir()


def _load_file(path: Path, patch_size: int) -> Pairs:
    """Read a pairs file; see `load_pairs`."""
    if not path.exists():
        raise ImageError(f"{path}: no such file or folder")
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            arrays = {name: file[name] for name in ("distorted", "reference") if name in file}
    except Exception as error:  # zipfile, zlib and NumPy raise almost anything for a damaged file
        message = "not a pairs file, or damaged; an .npz file with distorted and reference is needed"
        raise ImageError(f"{path}: {message}") from error
    missing = {"distorted", "reference"} - arrays.keys()
    if missing:
        raise ImageError(f"{path}: the array {' and '.join(sorted(missing))} is missing")
    return Pairs(arrays["distorted"], arrays["reference"], patch_size=patch_size)


def _load_folder(path: Path, patch_size: int) -> Pairs:
    """Read a pairs folder; see `load_pairs`."""
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
    """Return the images of a folder by their names without endings."""
    files: dict[str, Path] = {}
    for file in image_files(folder):
        if file.stem in files:
            raise ImageError(f"{folder}: both {files[file.stem].name} and {file.name}; a name may come once")
        files[file.stem] = file
    return files

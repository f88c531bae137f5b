"""Pairs of a distorted and a reference image, and the files and folders that hold them."""

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from restore_env.constants import MSE_FLOOR, PATCH_SIZE
from restore_env.data.distortions import Parameters
from restore_env.data.image_io import as_rgb_bytes, check_all_bytes, image_files, read_image
from restore_env.errors import ImageError
from restore_env.utils.checks import check_name, check_text, check_whole
from restore_env.utils.checksums import add_checksum, check_checksum
from restore_env.utils.files import replacing
from restore_env.utils.tensors import ByteImage, images_to_tensor

Label = int | str
"""What a photo shows, as a number or a word."""

ARRAYS: Final = ("distorted", "reference", "name", "photo", "label")
"""Names of the arrays in a pairs file."""

UNKNOWN_PHOTO: Final = -1
"""In a pairs file: nobody knows which photo the pair was cut from."""


class Pair(NamedTuple):
    """A distorted image and the reference image that it was made from.

    Args:
        distorted: uint8 (h, w, 3) RGB.
        reference: uint8 (h, w, 3) RGB.
        distortion: parameters of the distortion, None if they are unknown.
        photo: number of the photo that the pair was cut from, None if it is unknown.
        name: name of the pair, None if it has none.
        label: what the photo shows, None if it is unknown.

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
    name: str | None = None
    label: Label | None = None


class Pairs:
    """A fixed sequence of pairs, and a source that draws patches from them.

    An index or a slice returns copies of the images, so that nobody changes the pairs by chance.

    Args:
        distorted: n images, uint8 (h, w, 3) RGB, of one size or of several. They are not copied.
        reference: n images, each of the size of its distorted image. They are not copied.
        names: names of the pairs, by default their numbers.
        patch_size: height and width in pixels of the patches that `sample` cuts.
        photos: for each pair the number of the photo that it was cut from, None where it is unknown. Pairs of one
            photo are alike; a confidence interval of their mean must take that into account.
        labels: for each pair what its photo shows, all numbers or all words; None if that is unknown.
        distortions: for each pair the parameters of its distortion, None where they are unknown. Files do not keep
            them.

    Raises:
        TypeError: if an image is not a uint8 array.
        ValueError: if an image is not (h, w, 3), the images of a pair differ in size, there are no pairs, labels are of
            two kinds, or the arguments differ in length.

    Example:
        >>> reference = np.zeros((5, 70, 80, 3), np.uint8)
        >>> pairs = Pairs(reference + 10, reference, patch_size=63)
        >>> len(pairs), pairs[0].reference.shape, pairs[1:3].names
        (5, (70, 80, 3), ['1', '2'])
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
        labels: Sequence[Label | None] | None = None,
        distortions: Sequence[Parameters | None] | None = None,
    ) -> None:
        check_all_bytes("distorted", distorted)
        check_all_bytes("reference", reference)
        n = len(distorted)
        if n != len(reference) or not n:
            raise ValueError(f"{n} distorted and {len(reference)} reference images; as many of each are needed")
        self.distorted, self.reference, self.patch_size = distorted, reference, patch_size
        self.names = list(names) if names is not None else [str(index) for index in range(n)]
        self.photos = list(photos) if photos is not None else [None] * n
        self.labels = list(labels) if labels is not None else [None] * n
        self.distortions = list(distortions) if distortions is not None else [None] * n
        for what in ("names", "photos", "labels", "distortions"):
            if len(getattr(self, what)) != n:
                raise ValueError(f"{len(getattr(self, what))} {what} for {n} pairs")
        kinds = {type(label).__name__ for label in self.labels}
        if len(kinds) > 1:
            raise ValueError(f"labels of the types {' and '.join(sorted(kinds))}; one type is needed")
        for name, one, other in zip(self.names, distorted, reference, strict=True):
            check_same_size(one, other, name)

    def __len__(self) -> int:
        return len(self.distorted)

    @overload
    def __getitem__(self, index: int) -> Pair: ...
    @overload
    def __getitem__(self, index: slice) -> "Pairs": ...
    def __getitem__(self, index: int | slice) -> "Pair | Pairs":
        if not isinstance(index, slice):
            return self._cut(index, (slice(None), slice(None)))
        distorted, reference = (
            images[index].copy() if isinstance(images, np.ndarray) else [image.copy() for image in images[index]]
            for images in (self.distorted, self.reference)
        )
        names, photos, labels = self.names[index], self.photos[index], self.labels[index]
        return Pairs(distorted, reference, names, self.patch_size, photos, labels, self.distortions[index])

    def __iter__(self) -> Iterator[Pair]:
        return (self[index] for index in range(len(self)))

    def first(self, n: int) -> "Pairs":
        """Return the first n pairs, or all if there are fewer."""
        return self[:n]

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
        return images_to_tensor(self.distorted, device), images_to_tensor(self.reference, device)

    def sample(self, rng: np.random.Generator) -> Pair:
        """Draw a pair, and cut a patch from it.

        Args:
            rng: the source of all randomness.

        Returns:
            A copy of the patch, with the pair's name, label, and number of its photo.

        Raises:
            ImageError: if the pair is smaller than a patch.
        """
        index = int(rng.integers(len(self)))
        height, width = self.distorted[index].shape[:2]
        if min(height, width) < self.patch_size:
            raise ImageError(f"pair {self.names[index]} is smaller than the patch size of {self.patch_size} pixels")
        top, left = (int(rng.integers(side - self.patch_size + 1)) for side in (height, width))
        return self._cut(index, (slice(top, top + self.patch_size), slice(left, left + self.patch_size)))

    def _cut(self, index: int, patch: tuple[slice, slice]) -> Pair:
        """Return a pair of copies of a part of two images, with all that is known of it."""
        distorted, reference = (images[index][patch].copy() for images in (self.distorted, self.reference))
        drawn, photo = self.distortions[index], self.photos[index]
        return Pair(distorted, reference, drawn, photo, self.names[index], self.labels[index])


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
    """Write a pairs file: an .npz file that ends with its checksum.

    Its arrays are `distorted` and `reference`, uint8 (n, h, w, 3), and `name` (n,). Where they are known there are also
    `photo`, int64 (n,) with -1 for unknown, and `label` (n,).

    Args:
        path: where to write; it ends in .npz.
        pairs: pairs of one size.

    Raises:
        ValueError: if the pairs differ in size, `path` does not end in .npz, or a pair's name is one that no file can
            have.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> images = np.zeros((2, 8, 8, 3), np.uint8)
        >>> with TemporaryDirectory() as folder:
        ...     save_pairs(f"{folder}/pairs.npz", Pairs(images, images, photos=[4, 7]))
        ...     load_pairs(f"{folder}/pairs.npz").photos
        [4, 7]
    """
    if Path(path).suffix != ".npz":
        raise ValueError(f"path={str(path)!r} does not end in .npz")
    if len({image.shape for image in pairs.distorted}) > 1:
        raise ValueError("a pairs file holds images of one size; save these as a folder with distorted/ and reference/")
    known: dict[str, Any] = {"name": np.array([check_name("name", name) for name in pairs.names])}
    if any(photo is not None for photo in pairs.photos):
        known["photo"] = np.array([UNKNOWN_PHOTO if photo is None else photo for photo in pairs.photos], np.int64)
    if pairs.labels[0] is not None:
        known["label"] = np.array([_check_label(label) for label in pairs.labels])
    with replacing(path) as temporary:
        np.savez(temporary, distorted=np.stack(pairs.distorted), reference=np.stack(pairs.reference), **known)
        add_checksum(temporary)


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
        check_checksum(path)
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            arrays = {name: file[name] for name in ARRAYS if name in file}
    except Exception as error:  # zipfile, zlib and NumPy raise almost anything for a damaged file
        message = "not a pairs file, or damaged; an .npz file with distorted and reference is needed"
        raise ImageError(f"{path}: {message}") from error
    missing = {"distorted", "reference"} - arrays.keys()
    if missing:
        raise ImageError(f"{path}: the array {' and '.join(sorted(missing))} is missing")
    names, photos, labels = (_column(arrays, name) for name in ("name", "photo", "label"))
    return Pairs(
        arrays["distorted"],
        arrays["reference"],
        names and [check_name("name", name) for name in names],
        patch_size,
        photos and [None if photo == UNKNOWN_PHOTO else check_whole("photo", photo, 0) for photo in photos],
        labels and [_check_label(label) for label in labels],
    )


def _column(arrays: dict[str, NDArray[Any]], name: str) -> list[Any] | None:
    """Return what a pairs file knows of each pair, None if it has no such array."""
    if name not in arrays:
        return None
    if arrays[name].ndim != 1:
        raise ValueError(f"{name} has the shape {arrays[name].shape}; (n,) is needed")
    values: list[Any] = arrays[name].tolist()
    return values


def _check_label(label: Any) -> Label:
    """Return a label if it is a whole number or a word."""
    if isinstance(label, str):
        return check_text("label", label)
    if isinstance(label, bool) or not isinstance(label, int | np.integer):
        raise ValueError(f"label is {type(label).__name__}, neither a whole number nor a word")
    return int(label)


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

"""Clean photos: those of a folder, and those that scikit-image ships."""

import os
from collections.abc import Iterable, Sequence
from copy import copy
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any, Final

from restore_env.data.image_io import as_rgb_bytes, image_files, open_image, read_image, warn_skipped, why_unreadable
from restore_env.errors import ImageError
from restore_env.utils.tensors import ByteImage

EMBEDDED: Final = ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg", "motorcycle_left.png")
"""Files of the embedded photos in `skimage.data`."""


class FolderPhotos(Sequence[ByteImage]):
    """The photos of a folder as uint8 (h, w, 3) RGB arrays, read when they are asked for.

    Args:
        folder: a folder of images in any usual formats. A file that is not an image is skipped with a warning.

    Raises:
        ImageError: if no file in the folder can be used.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> import numpy as np
        >>> from restore_env import write_image
        >>> with TemporaryDirectory() as folder:
        ...     write_image(f"{folder}/night.png", np.zeros((30, 40, 3), np.uint8))
        ...     photos = FolderPhotos(folder)
        ...     len(photos), photos[0].shape
        (1, (30, 40, 3))
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self.paths = [path for path in image_files(folder) if _is_readable(path)]
        if not self.paths:
            raise ImageError(f"{folder}: no usable image in this folder; put .png, .jpg, .webp or .tif photos there")

    def subset(self, numbers: Iterable[int]) -> "FolderPhotos":
        """Return the photos of the given numbers, without opening the folder again."""
        chosen = copy(self)
        chosen.paths = [self.paths[number] for number in numbers]
        return chosen

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        return as_rgb_bytes(read_image(self.paths[index]))

    def __repr__(self) -> str:
        return f"{len(self)} photos of the folder {self.folder.name!r}"


def embedded_photos() -> list[ByteImage]:
    """Return the five colour photos of scikit-image: an astronaut, a cat, a coffee cup, a rocket and a motorcycle.

    Returns:
        uint8 (h, w, 3) RGB arrays.

    Example:
        >>> embedded_photos()[0].shape
        (512, 512, 3)
    """
    # The functions of `skimage.data` would import half of SciPy, so the files are read directly.
    with as_file(files("skimage.data")) as folder:
        return [as_rgb_bytes(read_image(folder / name)) for name in EMBEDDED]


def _is_readable(path: Path) -> bool:
    """Return whether an image's header can be read, and warn if not."""
    try:
        with open_image(path):
            return True
    except Exception as error:  # Pillow raises almost anything for a damaged file
        warn_skipped(f"{path}: {why_unreadable(error, path)}")
        return False

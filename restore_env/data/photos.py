"""Where clean photos come from: a folder, or the photos that scikit-image ships."""

import os
from collections.abc import Iterable, Sequence
from copy import copy
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any, Final

from PIL import Image

from restore_env.data.image_io import _reason, as_rgb_bytes, image_files, read_image, warn_skipped
from restore_env.errors import ImageError
from restore_env.utils.tensors import ByteImage

EMBEDDED: Final = ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg", "motorcycle_left.png")
"""Files of scikit-image."""


class FolderPhotos(Sequence[ByteImage]):
    """The photos of a folder as uint8 (h, w, 3) RGB arrays, read when asked for.

    Args:
        folder: a folder with images of any usual format. A file that is no image is named in a warning and skipped.

    Raises:
        ImageError: if no file in the folder can be used.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self.paths = [path for path in image_files(folder) if _is_readable(path)]
        if not self.paths:
            raise ImageError(f"{folder}: no usable image in this folder; put .png, .jpg, .webp or .tif photos there")

    def subset(self, numbers: Iterable[int]) -> "FolderPhotos":
        """Some of the photos, by their numbers."""
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
    """The colour photos that scikit-image ships: an astronaut, a cat, a cup of coffee, a rocket, a motorcycle.

    Their files are read directly: the functions of `skimage.data` import half of SciPy first.
    """
    folder = files("skimage.data")
    with as_file(folder) as path:
        return [as_rgb_bytes(read_image(path / name)) for name in EMBEDDED]


def _is_readable(path: Path) -> bool:
    try:
        with Image.open(path):
            return True
    except Exception as error:  # as in `read_image`
        warn_skipped(f"{path}: {_reason(error, path)}")
        return False

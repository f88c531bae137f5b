"""Which photos of a collection are held out, to measure on what was not trained on."""

import re
from collections.abc import Sequence
from typing import Any, Final, TypeVar

from restore_env.data.photos import FolderPhotos

EVERY: Final = 10

VALIDATION_SEED: Final = 2**31
"""Seed of the patches to measure on; seeds of trainings are smaller."""

_SCALE: Final = re.compile(r"[-_]?x\d$")

Photos = TypeVar("Photos", FolderPhotos, Sequence[Any])


def train_val_split(names: Sequence[str]) -> tuple[list[int], list[int]]:
    """Return the numbers of the photos to train on, and of every tenth photo, which is held out.

    Files of one photo in several sizes, whose names differ in a last "x2", "x3" or the like as DIV2K's do, stay
    together.

    Args:
        names: the files' names without their endings, sorted.

    Example:
        >>> train_val_split(["cat_x2", "cat_x4", "dog", "house"])
        ([2, 3], [0, 1])
    """
    photos = [_SCALE.sub("", name) for name in names]
    chosen = set(list(dict.fromkeys(photos))[::EVERY])
    train = [number for number, photo in enumerate(photos) if photo not in chosen]
    return train, [number for number, photo in enumerate(photos) if photo in chosen]


def split_photos(photos: Photos, name: str) -> tuple[Photos, Photos]:
    """Return the photos to train on and those that are held out.

    Args:
        photos: a `FolderPhotos`, which is split by the files' names, or a sequence of arrays.
        name: what errors call them.

    Raises:
        ValueError: if no photo is left to train on.
    """
    names = (
        [path.stem for path in photos.paths] if isinstance(photos, FolderPhotos) else list(map(str, range(len(photos))))
    )
    train, held_out = train_val_split(names)
    if not train:
        raise ValueError(f"{name} has one photo; two are needed, or --validation with others")
    if isinstance(photos, FolderPhotos):
        return photos.subset(train), photos.subset(held_out)
    return [photos[number] for number in train], [photos[number] for number in held_out]

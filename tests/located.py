"""Photos whose pixels tell where they lie, to check what is cut from them."""

import numpy as np


def rng(seed=0):
    return np.random.default_rng(seed)


def darken(image, generator):
    """A distortion of single pixels, so that a distorted patch tells whether it was cut from the right place."""
    return image // 2, {}


def located_photo(height, width):
    """A photo of noise whose red tells the column and whose green tells the row."""
    assert height <= 256 and width <= 256
    photo = rng().integers(256, size=(height, width, 3), dtype=np.uint8)
    photo[..., 0] = rng(1).permutation(width)
    photo[..., 1] = rng(2).permutation(height)[:, None]
    return photo


def place(photo, patch):
    """Row and column at which a patch was cut from a located photo."""
    row = int(np.flatnonzero(photo[:, 0, 1] == patch[0, 0, 1])[0])
    column = int(np.flatnonzero(photo[0, :, 0] == patch[0, 0, 0])[0])
    return row, column

"""Batches of distorted patches to train a tool on, all drawn ahead: a pool of pairs, reused in random order.

Distorting costs more than a step of training a small network, and JPEG cannot be made on a GPU. So the pool is made
once, by every core, kept as a pairs file, and lives on the device that trains.
"""

from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor

from restore_env import ImageError, Pairs, load_pairs, save_pairs
from restore_env.data.photos import FolderPhotos
from restore_env.data.sources import PairSource
from restore_env.training.fingerprints import digest_of_text
from restore_env.training.parallel import draw_in_parallel
from restore_env.utils.tensors import SYMMETRIES, augment_dihedral, bytes_to_floats

Batch = tuple[Tensor, Tensor]

MARGIN: Final = 16
"""Pixels by which the patches of a pool are wider than those of a batch, so that each can be cut in many ways."""

BLOCK: Final = 1000
"""Iterations whose rows are drawn at once, so that the device never waits for the host."""


class PoolBatches:
    """Batches from a pool of pairs; each depends only on the pool, the seed and the iteration's number.

    A training that resumes from a checkpoint therefore needs no state of a generator to see the same data. The patches
    of a batch are cut, mirrored and transposed at random, all alike.

    Args:
        pool: pairs of one size.
        batch_size: pairs in a batch.
        seed: together with an iteration's number, it determines what is drawn.
        device: where the pool lives, one byte a value.
        crop: height and width of the patches, at most those of the pairs; None takes whole pairs.

    Example:
        >>> images = np.zeros((3, 8, 8, 3), np.uint8)
        >>> distorted, reference = PoolBatches(Pairs(images, images), batch_size=2, seed=0).batch(0)
        >>> distorted.shape
        torch.Size([2, 3, 8, 8])
    """

    def __init__(
        self, pool: Pairs, batch_size: int, seed: int, device: str | torch.device = "cpu", crop: int | None = None
    ) -> None:
        self.distorted, self.reference = (
            torch.from_numpy(np.asarray(images)).to(device) for images in (pool.distorted, pool.reference)
        )
        side = self.distorted.shape[1]
        self.batch_size, self.seed, self.crop = batch_size, seed, crop or side
        self._block, self._rows, self._views = -1, torch.empty(0), np.empty((0, 3), np.int64)
        self._highest = side - self.crop + 1, side - self.crop + 1, SYMMETRIES

    def batch(self, iteration: int) -> Batch:
        """Return the batch of an iteration.

        Returns:
            Distorted and reference, each float32 (batch, 3, h, w) in [0, 1] on the device, laid out channels last.
        """
        block, place = divmod(iteration, BLOCK)
        if block != self._block:
            rng = np.random.default_rng([self.seed, block])
            rows = rng.integers(len(self.distorted), size=(BLOCK, self.batch_size))
            self._block, self._rows = block, torch.from_numpy(rows).to(self.distorted.device)
            self._views = rng.integers(self._highest, size=(BLOCK, 3))
        top, left, symmetry = self._views[place].tolist()
        distorted, reference = (
            images[self._rows[place], top : top + self.crop, left : left + self.crop]
            for images in (self.distorted, self.reference)
        )
        distorted, reference = (augment_dihedral(images, symmetry).contiguous() for images in (distorted, reference))
        return bytes_to_floats(distorted), bytes_to_floats(reference)


def draw_pool(folder: Path, name: str, source: PairSource, identity: str, n: int, seed: int, jobs: int) -> Path:
    """Draw a pool in several processes and write it, unless it was drawn before.

    Args:
        folder: where pools are kept.
        name: name of the pool.
        source: where its pairs come from.
        identity: a text that is the same only if the source is.
        n: number of pairs.
        seed: of what is drawn.
        jobs: processes that work side by side; the pool does not depend on how many.

    Returns:
        The file, which `load_pool` reads.

    Raises:
        ImageError: if photos changed or vanished meanwhile: the pool is then not that of the source.
    """
    path = folder / f"{name}-{digest_of_text(f'{identity}, {n} pairs, seed {seed}')}.npz"
    if not path.is_file():
        before = _sizes(source)
        pairs = draw_in_parallel(source, n, seed, jobs, f"{name}: training pairs")
        after = _sizes(source)
        changed = [photo for photo, size in after.items() if size is None or size != before[photo]]
        if changed:
            raise ImageError(f"{changed[0]}: changed or vanished while patches were drawn; run the same command again")
        folder.mkdir(parents=True, exist_ok=True)
        save_pairs(path, pairs)
    return path


def _sizes(source: PairSource) -> dict[Path, int | None]:
    """Return the size in bytes of each photo of a source, None for one that is missing."""
    photos = getattr(source, "photos", None)
    paths = photos.paths if isinstance(photos, FolderPhotos) else ()
    return {path: path.stat().st_size if path.exists() else None for path in paths}


def load_pool(path: Path) -> Pairs:
    """Read a pool.

    Raises:
        ImageError: if the file is damaged, or its checksum is wrong.
    """
    try:
        return load_pairs(path)
    except ImageError as error:
        raise ImageError(f"{error}; delete it, and it is drawn again") from error

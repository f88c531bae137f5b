"""Pairs on a device: what a training loop begins its episodes with, without a detour over the host."""

import torch
from torch import Tensor

from restore_env.arrays import bytes_to_floats, stack_images
from restore_env.pairs import Pairs
from restore_env.restoration import RestorationBatch


class PairTensors:
    """Pairs of one size as uint8 tensors on a device; 24 kB a pair of 63x63 patches.

    Args:
        pairs: distorted and reference images, all of one size.
        device: where they lie.

    Raises:
        ValueError: if they differ in size.
    """

    def __init__(self, pairs: Pairs, device: str | torch.device = "cpu") -> None:
        shapes = {image.shape for image in pairs.distorted}
        if len(shapes) > 1:
            raise ValueError(f"pairs of the shapes {' and '.join(map(str, sorted(shapes)[:2]))}; one size is needed")
        self.distorted = stack_images(pairs.distorted, device)
        self.reference = stack_images(pairs.reference, device)

    def __len__(self) -> int:
        return len(self.distorted)

    def __getitem__(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """The distorted and the reference images of some rows, float32 (k, 3, h, w) in [0, 1]."""
        return bytes_to_floats(self.distorted[rows]), bytes_to_floats(self.reference[rows])

    def draw(self, n: int, generator: torch.Generator) -> Tensor:
        """Rows at random, int64 (n,); the generator is on the pairs' device."""
        return torch.randint(len(self), (n,), generator=generator, device=self.distorted.device)


def restart_ended(batch: RestorationBatch, pairs: PairTensors, generator: torch.Generator) -> Tensor:
    """Begin new episodes, on pairs drawn at random, where episodes have ended; return those rows."""
    rows = batch.ended.nonzero().flatten()
    if len(rows):
        batch.restart(rows, *pairs[pairs.draw(len(rows), generator)])
    return rows

"""How neighbouring pixels differ: numbers in which blur, noise and JPEG stand out, whatever the photo shows.

Blur makes large differences rare, noise small ones; JPEG leaves differences on a grid of 8x8 blocks, which a patch cuts
anywhere. Clipped differences, averaged over a patch apart for the eight offsets of that grid, hold all three
(blockiness as in Wang, Sheikh and Bovik, ICIP 2002).
"""

from typing import Final

import torch
from torch import Tensor
from torch.nn.functional import one_hot

GRID: Final = 8
"""Height and width of JPEG's blocks in pixels."""

CLIPS: Final = tuple(2.0**power / 255 for power in range(7))
"""Differences count up to each of these: from 1 to 64 of 255 levels, so that edges do not hide what is faint."""

PLANES: Final = 3
"""What differences are taken of: the mean of the channels, red less green, and blue less green."""

N_STATISTICS: Final = PLANES * 2 * len(CLIPS) * (1 + GRID)
"""Of differences and of differences of differences: a mean and its spread over the grid's offsets for each clip."""

SMALLEST: Final = 3
"""Height and width that an image must have."""

_FAINT: Final = 0.01
_MIDDLE: Final = 2.0
_SPREAD: Final = 4.0


@torch.no_grad()
def difference_statistics(images: Tensor) -> Tensor:
    """Statistics of the differences between neighbouring pixels; mirrored or transposed images have nearly the same.

    Args:
        images: float32 (n, 3, h, w), about [0, 1], h and w at least `SMALLEST`.

    Returns:
        float32 (n, `N_STATISTICS`), each about zero with a spread of about one.
    """
    red, green, blue = images.contiguous().unbind(1)
    planes = torch.stack([images.mean(1), red - green, blue - green], dim=1).contiguous()
    offsets = (_by_offset(planes, 2) + _by_offset(planes, 3)) / 2
    means = offsets.mean(2, keepdim=True)
    spread = _SPREAD * (offsets / (means + _FAINT) - 1)
    return torch.cat([(means + _FAINT).log() + _MIDDLE, spread], dim=2).flatten(1)


def _by_offset(planes: Tensor, axis: int) -> Tensor:
    """Means of clipped differences along an axis: float32 (n, planes * 2 * clips, GRID) in [0, 1], in rising order.

    Sorted, because the grid of a patch begins anywhere.
    """
    found = []
    for order in (1, 2):
        differences = planes.diff(n=order, dim=axis).abs()
        fold = one_hot(torch.arange(differences.shape[axis], device=planes.device) % GRID, GRID).to(planes)
        fold = fold / fold.sum(0).clamp(min=1)
        found += [differences.clamp(max=clip).mean(2 if axis == 3 else 3) / clip @ fold for clip in CLIPS]
    return torch.stack(found, dim=2).flatten(1, 2).sort(2).values

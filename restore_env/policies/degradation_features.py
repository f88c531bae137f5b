"""Features of blur, noise and JPEG compression that depend little on what a photo shows.

The features are means of clipped differences between neighbouring pixels. Blur makes large differences rare, noise
makes small differences rare. JPEG leaves larger differences at the edges of its 8x8 blocks. A patch may begin anywhere
in a block, so the means are taken for each of the eight offsets and sorted (compare Wang, Sheikh and Bovik, ICIP 2002).
"""

from typing import Final

import torch
from torch import Tensor
from torch.nn.functional import one_hot

GRID: Final = 8
"""Height and width of a JPEG block in pixels."""

CLIPS: Final = tuple(2.0**power / 255 for power in range(7))
"""Limits at which differences are clipped: 1 to 64 of 255 levels. A low limit keeps edges from hiding faint changes."""

PLANES: Final = 3
"""Number of planes: the mean of the channels, red minus green, and blue minus green."""

N_FEATURES: Final = PLANES * 2 * len(CLIPS) * (1 + GRID)
"""Number of features: for each plane, first or second difference and limit, the mean and eight relative offsets."""

SMALLEST_SIDE: Final = 3
"""Height and width in pixels of the smallest image."""

# These bring each feature to a mean of about 0 and a standard deviation of about 1.
_FAINT: Final = 0.01
_MIDDLE: Final = 2.0
_SPREAD: Final = 4.0


@torch.no_grad()
def degradation_features(images: Tensor) -> Tensor:
    """Return features of the differences between neighbouring pixels.

    Mirrored and transposed images have nearly the same features.

    Args:
        images: float32 (n, 3, h, w), about [0, 1]; h and w are at least `SMALLEST_SIDE`.

    Returns:
        float32 (n, `N_FEATURES`), each with a mean of about 0 and a standard deviation of about 1 over photos.

    Example:
        >>> degradation_features(torch.rand(2, 3, 63, 63)).shape
        torch.Size([2, 378])
    """
    red, green, blue = images.contiguous().unbind(1)
    planes = torch.stack([images.mean(1), red - green, blue - green], dim=1).contiguous()
    offsets = (_means_by_offset(planes, 2) + _means_by_offset(planes, 3)) / 2
    means = offsets.mean(2, keepdim=True)
    spread = _SPREAD * (offsets / (means + _FAINT) - 1)
    # (n, planes * 2 * clips, 1 + GRID) -> (n, N_FEATURES)
    return torch.cat([(means + _FAINT).log() + _MIDDLE, spread], dim=2).flatten(1)


def _means_by_offset(planes: Tensor, axis: int) -> Tensor:
    """Return means of clipped differences along an axis for each offset in a block, sorted because the grid is unknown.

    Args:
        planes: float32 (n, planes, h, w).
        axis: 2 or 3.

    Returns:
        float32 (n, planes * 2 * clips, GRID) in [0, 1].
    """
    found = []
    for order in (1, 2):
        differences = planes.diff(n=order, dim=axis).abs()
        fold = one_hot(torch.arange(differences.shape[axis], device=planes.device) % GRID, GRID).to(planes)
        fold = fold / fold.sum(0).clamp(min=1)
        # (n, planes, h, w) -> (n, planes, length of the axis) -> (n, planes, GRID)
        found += [differences.clamp(max=clip).mean(2 if axis == 3 else 3) / clip @ fold for clip in CLIPS]
    # (n, planes, 2 * clips, GRID) -> (n, planes * 2 * clips, GRID)
    return torch.stack(found, dim=2).flatten(1, 2).sort(2).values

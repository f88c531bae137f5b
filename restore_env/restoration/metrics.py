"""PSNR and SSIM of batches of images, computed on the images' device."""

from typing import Final

import torch
from torch import Tensor
from torch.nn.functional import conv2d

from restore_env.constants import MSE_FLOOR

SSIM_SIGMA: Final = 1.5
SSIM_RADIUS: Final = 5
SMALLEST_SIDE: Final = 2 * SSIM_RADIUS + 1
"""Height and width in pixels of the smallest image that has an SSIM."""

SSIM_C1: Final = 0.01**2
SSIM_C2: Final = 0.03**2


def mse(images: Tensor, reference: Tensor) -> Tensor:
    """Compute the mean squared error of each image.

    Args:
        images: float (n, 3, h, w), peak value 1.
        reference: float (n, 3, h, w), reference images.

    Returns:
        float64 (n,).

    Example:
        >>> mse(torch.full((1, 3, 8, 8), 0.5), torch.zeros(1, 3, 8, 8))
        tensor([0.2500], dtype=torch.float64)
    """
    return (images - reference).square().flatten(1).mean(1).double()  # (n, 3, h, w) -> (n, 3 * h * w) -> (n,)


def psnr(images: Tensor, reference: Tensor) -> Tensor:
    """Compute the peak signal-to-noise ratio of each image; it is 100 dB for identical images.

    Args:
        images: float (n, 3, h, w), peak value 1.
        reference: float (n, 3, h, w), reference images.

    Returns:
        float64 (n,), in dB.

    Example:
        >>> psnr(torch.full((1, 3, 8, 8), 0.1), torch.zeros(1, 3, 8, 8)).round(decimals=3)
        tensor([20.], dtype=torch.float64)
    """
    return -10 * torch.log10(mse(images, reference) + MSE_FLOOR)


def ssim(images: Tensor, reference: Tensor) -> Tensor:
    """Compute the structural similarity of each image (Wang et al., 2004), the mean over the three channels.

    The window is a Gaussian with a standard deviation of 1.5 pixels, cut to 11x11 pixels. This is the original
    definition, and that of scikit-image with `gaussian_weights=True, sigma=1.5, use_sample_covariance=False`.

    Args:
        images: float (n, 3, h, w), peak value 1, at least 11 pixels high and wide.
        reference: float (n, 3, h, w), reference images.

    Returns:
        float64 (n,), at most 1.

    Example:
        >>> images = torch.full((1, 3, 16, 16), 0.5)
        >>> ssim(images, images)
        tensor([1.], dtype=torch.float64)
    """
    offsets = torch.arange(-SSIM_RADIUS, SSIM_RADIUS + 1, dtype=torch.float32, device=images.device)
    line = torch.exp(-offsets.square() / (2 * SSIM_SIGMA**2))
    line = line / line.sum()
    x, y = images.float(), reference.float()
    maps = torch.cat([x, y, x * x, y * y, x * y], dim=1)  # 5 times (n, 3, h, w) -> (n, 15, h, w)
    count = maps.shape[1]
    # The window is separable: one convolution along the rows, one along the columns, each channel by itself.
    maps = conv2d(maps, line.view(1, 1, 1, -1).expand(count, 1, 1, -1), groups=count)  # (11,) -> (15, 1, 1, 11)
    maps = conv2d(maps, line.view(1, 1, -1, 1).expand(count, 1, -1, 1), groups=count)  # (11,) -> (15, 1, 11, 1)
    mean_x, mean_y, mean_xx, mean_yy, mean_xy = maps.split(3, dim=1)
    covariance = mean_xy - mean_x * mean_y
    variances = mean_xx - mean_x.square() + mean_yy - mean_y.square()
    luminance = (2 * mean_x * mean_y + SSIM_C1) / (mean_x.square() + mean_y.square() + SSIM_C1)
    structure = (2 * covariance + SSIM_C2) / (variances + SSIM_C2)
    similarity: Tensor = luminance * structure
    return similarity.flatten(1).mean(1).double()  # (n, 3, h - 10, w - 10) -> (n, -1) -> (n,)

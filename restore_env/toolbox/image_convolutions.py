"""Convolutions from and to the few channels of an image, rearranged to fill a CPU's vector units.

A CPU multiplies 8 or 16 channels at once. A convolution from or to 3 channels leaves most of each vector empty. Without
gradients, a k x k convolution of 3 channels is therefore computed as a k x 1 convolution of 3 k channels: a pixel's
horizontal neighbours become its channels. Weights and products are the same; only the order of the float sums differs.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, pad

VECTOR = 8
"""float32 values in a vector of AVX2; AVX-512 has twice as many."""


class ConvFromImage(nn.Conv2d):
    """A k x k convolution from images with few channels; k is odd, and zeros pad the images to keep their size.

    Args:
        out_channels: number of feature maps.
        kernel_size: k.
        in_channels: channels of the images.

    Example:
        >>> images = torch.rand(2, 3, 8, 8)
        >>> convolution = ConvFromImage(16, kernel_size=5)
        >>> with torch.no_grad():
        ...     rearranged = convolution(images)
        >>> torch.allclose(rearranged, convolution(images), atol=1e-5)
        True
    """

    def __init__(self, out_channels: int, kernel_size: int, in_channels: int = 3) -> None:
        super().__init__(in_channels, out_channels, kernel_size, padding=kernel_size // 2)

    def forward(self, images: Tensor) -> Tensor:
        """Convolve images (n, in_channels, h, w) to feature maps (n, out_channels, h, w)."""
        if not _rearranged(images):
            return super().forward(images)
        (k, _), radius, channels = self.kernel_size, self.kernel_size[0] // 2, self.in_channels
        # (n, c, h, w) -> (n, h, w + k - 1, c)
        rows = pad(images.permute(0, 2, 3, 1), (0, 0, radius, radius)).contiguous()
        n, height, padded_width, _ = rows.shape
        # In a row of pixels, k neighbours are adjacent in memory, so a window of them is a view:
        # (n, h, w + k - 1, c) -> (n, h, w, k * c)
        size = (n, height, padded_width - 2 * radius, k * channels)
        windows = rows.as_strided(size, (rows.stride(0), rows.stride(1), channels, 1)).contiguous()
        # (out, c, k, k) -> (out, k, c, k) -> (out, k * c, k, 1)
        weight = self.weight.permute(0, 3, 1, 2).reshape(self.out_channels, k * channels, k, 1)
        # (n, h, w, k * c) -> (n, k * c, h, w) -> (n, out, h, w)
        return conv2d(windows.permute(0, 3, 1, 2), weight, self.bias, padding=(radius, 0))


class ConvToImage(nn.Conv2d):
    """A k x k convolution to images with few channels; k is odd, and zeros pad the feature maps to keep their size.

    Args:
        in_channels: number of feature maps.
        kernel_size: k.
        out_channels: channels of the images.

    Example:
        >>> features = torch.rand(2, 16, 8, 8)
        >>> convolution = ConvToImage(16, kernel_size=5)
        >>> with torch.no_grad():
        ...     rearranged = convolution(features)
        >>> torch.allclose(rearranged, convolution(features), atol=1e-5)
        True
    """

    def __init__(self, in_channels: int, kernel_size: int, out_channels: int = 3) -> None:
        super().__init__(in_channels, out_channels, kernel_size, padding=kernel_size // 2)

    def forward(self, features: Tensor) -> Tensor:
        """Convolve feature maps (n, in_channels, h, w) to images (n, out_channels, h, w)."""
        if not _rearranged(features):
            return super().forward(features)
        (k, _), radius, channels = self.kernel_size, self.kernel_size[0] // 2, self.out_channels
        # (c, in, k, k) -> (k, c, in, k) -> (k * c, in, k, 1), then filled up to whole vectors
        weight = self.weight.permute(3, 0, 1, 2).reshape(k * channels, self.in_channels, k, 1)
        weight = pad(weight, (0, 0, 0, 0, 0, 0, 0, -k * channels % VECTOR))
        # (n, in, h, w) -> (n, k * c, h, w) -> (n, h, w + k - 1, k * c)
        columns = pad(conv2d(features, weight, None, padding=(radius, 0)).permute(0, 2, 3, 1), (0, 0, radius, radius))
        width = features.shape[3]
        assert self.bias is not None
        # The parts are summed in float32 like the bias, even if they were computed in bfloat16.
        parts = (columns[:, :, i : i + width, i * channels : (i + 1) * channels] for i in range(k))
        # k parts of (n, h, w, c) -> (n, h, w, c) -> (n, c, h, w)
        return sum(parts, start=self.bias).permute(0, 3, 1, 2)


def _rearranged(maps: Tensor) -> bool:
    """Return whether the rearrangement is faster: not on a GPU, and not if gradients would have to pass it."""
    return maps.device.type == "cpu" and not torch.is_grad_enabled()

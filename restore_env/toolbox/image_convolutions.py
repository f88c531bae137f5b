"""Convolutions from and to the few channels of an image, rearranged to keep a CPU's vector units full.

A CPU multiplies 8 or 16 channels at once, so a convolution from or to 3 channels leaves most of every vector empty.
When no gradient is wanted, a k x k convolution of 3 channels is therefore computed as a k x 1 convolution of 3 k
channels: the horizontal neighbours of a pixel become its channels. The weights and what is multiplied are the same;
only the order of the float sums differs.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, pad

VECTOR = 8
"""Channels that a vector unit holds (AVX2; a divisor of AVX-512's 16)."""


class ConvFromImage(nn.Conv2d):
    """A k x k convolution of images with few channels, k odd, with zero "same" padding.

    Args:
        out_channels: feature maps that come out.
        kernel_size: k.
        in_channels: channels of the images.
    """

    def __init__(self, out_channels: int, kernel_size: int, in_channels: int = 3) -> None:
        super().__init__(in_channels, out_channels, kernel_size, padding=kernel_size // 2)

    def forward(self, images: Tensor) -> Tensor:
        """(n, in_channels, h, w) to (n, out_channels, h, w)."""
        if not _rearranged(images):
            return super().forward(images)
        (k, _), radius, channels = self.kernel_size, self.kernel_size[0] // 2, self.in_channels
        rows = pad(images.permute(0, 2, 3, 1), (0, 0, radius, radius)).contiguous()
        n, height, padded_width, _ = rows.shape
        # In a row of pixels, k neighbours lie one after the other: a window of them is a view.
        size = (n, height, padded_width - 2 * radius, k * channels)
        windows = rows.as_strided(size, (rows.stride(0), rows.stride(1), channels, 1)).contiguous()
        weight = self.weight.permute(0, 3, 1, 2).reshape(self.out_channels, k * channels, k, 1)
        return conv2d(windows.permute(0, 3, 1, 2), weight, self.bias, padding=(radius, 0))


class ConvToImage(nn.Conv2d):
    """A k x k convolution to images with few channels, k odd, with zero "same" padding.

    Args:
        in_channels: feature maps that go in.
        kernel_size: k.
        out_channels: channels of the images.
    """

    def __init__(self, in_channels: int, kernel_size: int, out_channels: int = 3) -> None:
        super().__init__(in_channels, out_channels, kernel_size, padding=kernel_size // 2)

    def forward(self, features: Tensor) -> Tensor:
        """(n, in_channels, h, w) to (n, out_channels, h, w)."""
        if not _rearranged(features):
            return super().forward(features)
        (k, _), radius, channels = self.kernel_size, self.kernel_size[0] // 2, self.out_channels
        weight = self.weight.permute(3, 0, 1, 2).reshape(k * channels, self.in_channels, k, 1)
        weight = pad(weight, (0, 0, 0, 0, 0, 0, 0, -k * channels % VECTOR))
        columns = pad(conv2d(features, weight, None, padding=(radius, 0)).permute(0, 2, 3, 1), (0, 0, radius, radius))
        width = features.shape[3]
        assert self.bias is not None
        # float32 like the bias, in which the parts are summed even if they were computed in bfloat16
        parts = (columns[:, :, i : i + width, i * channels : (i + 1) * channels] for i in range(k))
        return sum(parts, start=self.bias).permute(0, 3, 1, 2)


def _rearranged(maps: Tensor) -> bool:
    """Whether the rearrangement is faster: not on a GPU, and not where gradients would have to pass it."""
    return maps.device.type == "cpu" and not torch.is_grad_enabled()

"""What the paper's agent sees in an image: four convolutions and a description (section 3.2)."""

from typing import Final

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, pad, relu

from restore_env.constants import PATCH_SIZE

KERNELS: Final = (9, 5, 5, 5)
STRIDE: Final = 2
CONTRAST: Final = 4.0
"""About one by the spread of a photo's pixel values in [0, 1]."""

DETAIL: Final = 16.0
"""About one by the spread of the differences between a pixel and those around it in a distorted photo."""


class PatchEncoder(nn.Module):
    """Describes images; padded as TensorFlow does, flattened in the order height, width, channel.

    Args:
        channels: feature maps of the four convolutions.
        features: size of the description.
        patch_size: height and width of the images in pixels.
        centred: whether images enter as `CONTRAST` times their difference from their own mean: networks that look at
            noise and edges learn faster when brightness does not drown them.
        detailed: whether they also enter, as three channels more, as `DETAIL` times each pixel's difference from the
            mean of the 3x3 around it, in which noise, blur and the edges of JPEG blocks stand out.
    """

    def __init__(
        self,
        channels: tuple[int, ...] = (32, 24, 24, 24),
        features: int = 32,
        patch_size: int = PATCH_SIZE,
        centred: bool = False,
        detailed: bool = False,
    ) -> None:
        super().__init__()
        self.centred, self.detailed = centred, detailed
        inputs = (6 if detailed else 3, *channels[:-1])
        self.convolutions = nn.ModuleList(
            nn.Conv2d(before, after, kernel, STRIDE)
            for before, after, kernel in zip(inputs, channels, KERNELS, strict=True)
        )
        side = patch_size
        for _ in channels:
            side = -(-side // STRIDE)
        self.describe = nn.Linear(side * side * channels[-1], features)
        for layer in (*self.convolutions, self.describe):  # He et al., 2015: the scale of what passes is kept
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)

    def features(self, images: Tensor) -> Tensor:
        """Describe images: float32 (n, 3, h, w), about [0, 1] -> float32 (n, features)."""
        maps = CONTRAST * (images - images.mean((1, 2, 3), keepdim=True)) if self.centred else images
        if self.detailed:
            around = avg_pool2d(images, 3, stride=1, padding=1, count_include_pad=False)
            maps = torch.cat([maps, DETAIL * (images - around)], dim=1)
        for convolution, kernel in zip(self.convolutions, KERNELS, strict=True):
            maps = relu(convolution(pad(maps, _same_padding(maps.shape[-1], kernel))))
        return relu(self.describe(maps.permute(0, 2, 3, 1).flatten(1)))  # (n, c, h, w) -> (n, h * w * c)


def _same_padding(side: int, kernel: int) -> tuple[int, int, int, int]:
    """TensorFlow's "SAME": left, right, top, bottom; the odd pixel goes right and below."""
    total = max(0, (-(-side // STRIDE) - 1) * STRIDE + kernel - side)
    before = total // 2
    return before, total - before, before, total - before

"""What the paper's agent sees in an image: four convolutions and a description (section 3.2)."""

from typing import Final

from torch import Tensor, nn
from torch.nn.functional import pad, relu

from restore_env.constants import PATCH_SIZE
from restore_env.policies.difference_statistics import N_STATISTICS, SMALLEST, difference_statistics

KERNELS: Final = (9, 5, 5, 5)
STRIDE: Final = 2
CONTRAST: Final = 4.0
"""About one by the spread of a photo's pixel values in [0, 1]."""

STATISTICS_HIDDEN: Final = 64
"""Units between the statistics and the description."""


class PatchEncoder(nn.Module):
    """Describes images; padded as TensorFlow does, flattened in the order height, width, channel.

    Args:
        channels: feature maps of the four convolutions.
        features: size of the description.
        patch_size: height and width of the images in pixels.
        centred: whether images enter as `CONTRAST` times their difference from their own mean: networks that look at
            noise and edges learn faster when brightness does not drown them.
        statistics: whether the description is also made from `difference_statistics`, through a hidden layer.

    What the description is made from, maps and statistics, passes through `dropout`, whose share is zero unless a
    training sets it.

    Raises:
        ValueError: if the images are too small for statistics.
    """

    def __init__(
        self,
        channels: tuple[int, ...] = (32, 24, 24, 24),
        features: int = 32,
        patch_size: int = PATCH_SIZE,
        centred: bool = False,
        statistics: bool = False,
    ) -> None:
        super().__init__()
        if statistics and patch_size < SMALLEST:
            raise ValueError(f"patch_size={patch_size} is less than {SMALLEST}, too small for statistics")
        self.centred = centred
        inputs = (3, *channels[:-1])
        self.convolutions = nn.ModuleList(
            nn.Conv2d(before, after, kernel, STRIDE)
            for before, after, kernel in zip(inputs, channels, KERNELS, strict=True)
        )
        side = patch_size
        for _ in channels:
            side = -(-side // STRIDE)
        self.dropout = nn.Dropout(0.0)
        self.describe = nn.Linear(side * side * channels[-1], features)
        self.statistics: nn.Module | None = None
        if statistics:
            hidden, output = nn.Linear(N_STATISTICS, STATISTICS_HIDDEN), nn.Linear(STATISTICS_HIDDEN, features)
            self.statistics = nn.Sequential(hidden, nn.ReLU(), output)
        for layer in self.modules():  # He et al., 2015: the scale of what passes is kept
            if isinstance(layer, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                assert layer.bias is not None
                nn.init.zeros_(layer.bias)

    def features(self, images: Tensor) -> Tensor:
        """Describe images: float32 (n, 3, h, w), about [0, 1] -> float32 (n, features)."""
        maps = CONTRAST * (images - images.mean((1, 2, 3), keepdim=True)) if self.centred else images
        for convolution, kernel in zip(self.convolutions, KERNELS, strict=True):
            maps = relu(convolution(pad(maps, _same_padding(maps.shape[-1], kernel))))
        flat = maps.permute(0, 2, 3, 1).flatten(1)  # (n, c, h, w) -> (n, h * w * c)
        description = self.describe(self.dropout(flat))
        if self.statistics is not None:
            description = description + self.statistics(self.dropout(difference_statistics(images)))
        return relu(description)


def _same_padding(side: int, kernel: int) -> tuple[int, int, int, int]:
    """TensorFlow's "SAME": left, right, top, bottom; the odd pixel goes right and below."""
    total = max(0, (-(-side // STRIDE) - 1) * STRIDE + kernel - side)
    before = total // 2
    return before, total - before, before, total - before

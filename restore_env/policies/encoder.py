"""The image encoder of the paper's agent: four convolutions and a linear projection (section 3.2)."""

from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from torch import Tensor, nn
from torch.nn.functional import pad, relu

from restore_env.constants import PATCH_SIZE
from restore_env.policies.degradation_features import N_FEATURES, SMALLEST_SIDE, degradation_features

KERNELS: Final = (9, 5, 5, 5)
STRIDE: Final = 2
CONTRAST: Final = 4.0
"""Factor for centred images; about 1 over the standard deviation of a photo's pixel values in [0, 1]."""

DEGRADATION_HIDDEN: Final = 64
"""Units of the hidden layer between the degradation features and the output."""

_OLD_NAMES: Final = {"describe.": "projection.", "statistics.": "degradation_projection."}


class PatchEncoder(nn.Module):
    """Encodes images as vectors.

    The convolutions pad as TensorFlow's "SAME" does, and their output is flattened in the order height, width, channel,
    as in the authors' program.

    Args:
        channels: output channels of the four convolutions.
        features: size of the output.
        patch_size: height and width of the images in pixels.
        centred: whether the mean of each image is subtracted and the rest multiplied by `CONTRAST`. Networks then learn
            faster, because brightness does not hide noise and edges.
        degradation_features: whether the output also depends on `degradation_features`, through a hidden layer.

    Raises:
        ValueError: if the images are too small for degradation features.

    Example:
        >>> import torch
        >>> PatchEncoder(features=32)(torch.rand(2, 3, 63, 63)).shape
        torch.Size([2, 32])
    """

    def __init__(
        self,
        channels: tuple[int, ...] = (32, 24, 24, 24),
        features: int = 32,
        patch_size: int = PATCH_SIZE,
        centred: bool = False,
        degradation_features: bool = False,
    ) -> None:
        super().__init__()
        if degradation_features and patch_size < SMALLEST_SIDE:
            raise ValueError(
                f"patch_size={patch_size} is less than {SMALLEST_SIDE}, too small for degradation features"
            )
        self.centred = centred
        inputs = (3, *channels[:-1])
        self.convolutions = nn.ModuleList(
            nn.Conv2d(before, after, kernel, STRIDE)
            for before, after, kernel in zip(inputs, channels, KERNELS, strict=True)
        )
        side = patch_size
        for _ in channels:
            side = -(-side // STRIDE)
        self.projection = nn.Linear(side * side * channels[-1], features)
        self.degradation_projection: nn.Module | None = None
        if degradation_features:
            hidden, output = nn.Linear(N_FEATURES, DEGRADATION_HIDDEN), nn.Linear(DEGRADATION_HIDDEN, features)
            self.degradation_projection = nn.Sequential(hidden, nn.ReLU(), output)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):  # He et al., 2015: the variance stays the same in each layer
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                assert layer.bias is not None
                nn.init.zeros_(layer.bias)
        self.register_load_state_dict_pre_hook(partial(rename_weights, _OLD_NAMES))  # type: ignore[no-untyped-call]

    def forward(self, images: Tensor) -> Tensor:
        """Encode images: float32 (n, 3, h, w), about [0, 1] -> float32 (n, features)."""
        maps = CONTRAST * (images - images.mean((1, 2, 3), keepdim=True)) if self.centred else images
        for convolution, kernel in zip(self.convolutions, KERNELS, strict=True):
            maps = relu(convolution(pad(maps, _same_padding(maps.shape[-1], kernel))))
        flat = maps.permute(0, 2, 3, 1).flatten(1)  # (n, c, h, w) -> (n, h * w * c)
        encoded = self.projection(flat)
        if self.degradation_projection is not None:
            encoded = encoded + self.degradation_projection(degradation_features(images))
        return relu(encoded)


def rename_weights(
    names: Mapping[str, str], module: nn.Module, weights: dict[str, Any], prefix: str, *_: object
) -> None:
    """Rename weights of files that version 0.1 wrote; a hook of `load_state_dict`.

    Args:
        names: how each old name begins, and how the new one does.
        module: the module that is loaded.
        weights: the weights by name, changed in place.
        prefix: how all names of this module's weights begin.
    """
    for old, new in names.items():
        for key in [key for key in weights if key.startswith(prefix + old)]:
            weights[prefix + new + key.removeprefix(prefix + old)] = weights.pop(key)


def _same_padding(side: int, kernel: int) -> tuple[int, int, int, int]:
    """Return TensorFlow's "SAME" padding: left, right, top, bottom. An odd pixel is added right and below."""
    total = max(0, (-(-side // STRIDE) - 1) * STRIDE + kernel - side)
    before = total // 2
    return before, total - before, before, total - before

"""The two small networks that the tools are made of (paper, Table 1; exact layers from the authors' release).

Both map a float tensor (n, 3, h, w) to one of the same shape: the input plus a residual, zero "same" padding,
nothing clipped.
"""

from collections.abc import Mapping
from typing import Final

from torch import Tensor, nn, relu, relu_

from restore_env.toolbox.image_convolutions import ConvFromImage, ConvToImage


class ThreeLayerCNN(nn.Module):
    """The network of the mild tools: 9x9, 5x5 and 5x5 convolutions; 21,827 parameters at the default sizes.

    Args:
        wide: feature maps after the first convolution.
        narrow: feature maps after the second convolution.
    """

    radius = 8
    """How far an output pixel looks, in pixels."""

    def __init__(self, wide: int = 32, narrow: int = 16) -> None:
        super().__init__()
        self.arguments = {"wide": wide, "narrow": narrow}
        self.conv1 = ConvFromImage(wide, 9)
        self.conv2 = nn.Conv2d(wide, narrow, 5, padding=2)
        self.conv3 = ConvToImage(narrow, 5)

    def forward(self, images: Tensor) -> Tensor:
        """Return `images` (n, 3, h, w) plus the residual."""
        features = relu_(self.conv2(relu_(self.conv1(images))))
        residual: Tensor = self.conv3(features)
        return images + residual


class EightLayerCNN(nn.Module):
    """The network of the strong tools: two residual blocks between 1x1 bottlenecks; 50,851 parameters.

    The bottleneck `conv1_2` has no activation, and the skip connections start at its output, as released.

    Args:
        wide: feature maps outside the bottleneck.
        narrow: feature maps inside the bottleneck.
    """

    radius = 8
    """How far an output pixel looks, in pixels."""

    def __init__(self, wide: int = 64, narrow: int = 32) -> None:
        super().__init__()
        self.arguments = {"wide": wide, "narrow": narrow}
        self.conv1 = ConvFromImage(wide, 5)
        self.conv1_2 = nn.Conv2d(wide, narrow, 1)
        self.conv2 = nn.Conv2d(narrow, narrow, 3, padding=1)
        self.conv2a = nn.Conv2d(narrow, narrow, 3, padding=1)
        self.conv2c = nn.Conv2d(narrow, narrow, 3, padding=1)
        self.conv2d = nn.Conv2d(narrow, narrow, 3, padding=1)
        self.conv2_2 = nn.Conv2d(narrow, wide, 1)
        self.conv3 = ConvToImage(wide, 5)

    def forward(self, images: Tensor) -> Tensor:
        """Return `images` (n, 3, h, w) plus the residual."""
        a = self.conv1_2(relu_(self.conv1(images)))
        b = a + self.conv2a(relu_(self.conv2(relu(a))))
        c = b + self.conv2d(relu_(self.conv2c(relu(b))))
        residual: Tensor = self.conv3(relu_(self.conv2_2(c)))
        return images + residual


ARCHITECTURES: Final[Mapping[str, type[ThreeLayerCNN] | type[EightLayerCNN]]] = {
    "three-layer": ThreeLayerCNN,
    "eight-layer": EightLayerCNN,
}
"""Names under which a toolbox folder refers to the networks."""

"""The two small networks that the paper's tools are made of (Table 1; exact layers from the authors' release).

Both map a float tensor (n, 3, h, w) to one of the same shape. They add a residual to the input, pad with zeros and do
not clip.
"""

from collections.abc import Mapping
from typing import Final

from torch import Tensor, nn, relu, relu_

from restore_env.toolbox.image_convolutions import ConvFromImage, ConvToImage


class ToolNetwork(nn.Module):
    """Base class of the networks that toolbox folders can hold; they may run in several threads at once.

    Attributes:
        arguments: arguments of the constructor, by name.
        radius: largest distance in pixels of an input pixel that an output pixel depends on.
        branch_ends: names of the last layer of each residual branch; training starts with small weights there.
    """

    arguments: dict[str, int]
    radius: int
    branch_ends: tuple[str, ...]


class ThreeLayerCNN(ToolNetwork):
    """The network of the mild tools: convolutions of 9x9, 5x5 and 5x5, 21,827 parameters at the default sizes.

    Args:
        wide: feature maps after the first convolution.
        narrow: feature maps after the second convolution.

    Example:
        >>> import torch
        >>> ThreeLayerCNN()(torch.zeros(2, 3, 63, 63)).shape
        torch.Size([2, 3, 63, 63])
    """

    radius = 8
    branch_ends = ("conv3",)

    def __init__(self, wide: int = 32, narrow: int = 16) -> None:
        super().__init__()
        self.arguments = {"wide": wide, "narrow": narrow}
        self.conv1 = ConvFromImage(wide, 9)
        self.conv2 = nn.Conv2d(wide, narrow, 5, padding=2)
        self.conv3 = ConvToImage(narrow, 5)

    def forward(self, images: Tensor) -> Tensor:
        """Return the images, float (n, 3, h, w), plus the residual."""
        features = relu_(self.conv2(relu_(self.conv1(images))))
        residual: Tensor = self.conv3(features)
        return images + residual


class EightLayerCNN(ToolNetwork):
    """The network of the strong tools: two residual blocks between 1x1 convolutions, 50,851 parameters by default.

    As in the authors' release, `conv1_2` has no activation, and the skip connections start at its output.

    Args:
        wide: feature maps outside the residual blocks.
        narrow: feature maps inside the residual blocks.

    Example:
        >>> import torch
        >>> EightLayerCNN()(torch.zeros(2, 3, 63, 63)).shape
        torch.Size([2, 3, 63, 63])
    """

    radius = 8
    branch_ends = ("conv2a", "conv2d", "conv3")

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
        """Return the images, float (n, 3, h, w), plus the residual."""
        a = self.conv1_2(relu_(self.conv1(images)))
        b = a + self.conv2a(relu_(self.conv2(relu(a))))
        c = b + self.conv2d(relu_(self.conv2c(relu(b))))
        residual: Tensor = self.conv3(relu_(self.conv2_2(c)))
        return images + residual


ARCHITECTURES: Final[Mapping[str, type[ToolNetwork]]] = {
    "three-layer": ThreeLayerCNN,
    "eight-layer": EightLayerCNN,
}
"""The networks by the names that toolbox folders use."""

"""The networks that tools are made of: the paper's two (Table 1; exact layers from the authors' release) and our own.

Each maps a float tensor (n, 3, h, w) to one of the same shape. It adds a residual to the input, pads with zeros and
does not clip.
"""

from collections.abc import Mapping
from typing import Final

from torch import Tensor, nn, relu, relu_
from torch.nn.functional import avg_pool2d, interpolate, pixel_shuffle, pixel_unshuffle

from restore_env.toolbox.image_convolutions import ConvFromImage, ConvToImage


class ToolNetwork(nn.Module):
    """Base class of the networks that toolbox folders can hold; they may run in several threads at once.

    Attributes:
        arguments: arguments of the constructor, by name.
        radius: largest distance in pixels of an input pixel that an output pixel depends on.
        multiple: number that divides the height and the width of the images that the network takes.
        branch_ends: names of the last layer of each residual branch; training starts with small weights there.
    """

    arguments: dict[str, int]
    radius: int
    multiple: int = 1
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


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with a ReLU between them, added to their input.

    Args:
        maps: feature maps.
    """

    def __init__(self, maps: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(maps, maps, 3, padding=1)
        self.conv2 = nn.Conv2d(maps, maps, 3, padding=1)

    def forward(self, features: Tensor) -> Tensor:
        """Return the features, float (n, maps, h, w), plus the residual."""
        residual: Tensor = self.conv2(relu_(self.conv1(features)))
        return features + residual


class TwoScaleCNN(ToolNetwork):
    """A network that works at half and at a quarter of the resolution, 462,876 parameters by default.

    It looks four times as far as the paper's networks and fills a CPU's vectors better. It costs as many
    multiplications as the eight layers: 0.19e9 for a patch of 64x64.

    Args:
        wide: feature maps at half the resolution.
        deep: feature maps at a quarter of the resolution.

    Example:
        >>> import torch
        >>> TwoScaleCNN()(torch.zeros(2, 3, 64, 64)).shape
        torch.Size([2, 3, 64, 64])
    """

    radius = 32
    multiple = 4
    branch_ends = ("leave",)

    def __init__(self, wide: int = 48, deep: int = 96) -> None:
        super().__init__()
        self.arguments = {"wide": wide, "deep": deep}
        self.enter = nn.Conv2d(12, wide, 3, padding=1)
        self.before = ResidualBlock(wide)
        self.down = nn.Conv2d(wide, deep, 2, stride=2)
        self.inside = nn.Sequential(ResidualBlock(deep), ResidualBlock(deep))
        self.up = nn.Conv2d(deep, 4 * wide, 1)
        self.after = ResidualBlock(wide)
        self.leave = nn.Conv2d(wide, 12, 3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        """Return the images, float (n, 3, h, w) with h and w multiples of 4, plus the residual."""
        half = self.before(self.enter(pixel_unshuffle(images, 2)))  # (n, 3, h, w) -> (n, wide, h / 2, w / 2)
        quarter = self.inside(self.down(half))  # (n, deep, h / 4, w / 4)
        half = half + pixel_shuffle(self.up(quarter), 2)  # (n, 4 * wide, h / 4, w / 4) -> (n, wide, h / 2, w / 2)
        residual: Tensor = pixel_shuffle(self.leave(self.after(half)), 2)  # (n, 12, h / 2, w / 2) -> (n, 3, h, w)
        return images + residual


class ScaledBlock(ResidualBlock):
    """A residual block whose residual is scaled, map by map, by what a context says; at first by 1.

    Args:
        maps: feature maps.
        context: feature maps of the context.
    """

    def __init__(self, maps: int, context: int) -> None:
        super().__init__(maps)
        self.scale = nn.Conv2d(context, maps, 1)
        for parameter in self.scale.parameters():
            nn.init.zeros_(parameter)

    def forward(self, features: Tensor, context: Tensor) -> Tensor:  # type: ignore[override]
        """Return the features, float (n, maps, h, w), plus the scaled residual.

        Args:
            features: float (n, maps, h, w).
            context: float (n, context, height, width), of any size; it is stretched to that of the features.
        """
        scale: Tensor = self.scale(context)
        if scale.shape[2:] != (1, 1):
            scale = interpolate(scale, features.shape[2:], mode="bilinear", align_corners=False)
        residual: Tensor = self.conv2(relu_(self.conv1(features))) * (1 + scale)
        return features + residual


class ContextCNN(ToolNetwork):
    """A network of two scales that first looks at the surroundings: at what the damage is.

    A small encoder describes cells of 8x8 pixels. Their mean over the surroundings, `REACH` cells to each side, is the
    context. It scales the feature maps of every block, as squeeze and excitation (Hu et al., CVPR 2018) do with the
    block's own features. The radius is that of an output pixel whose context is known.

    Args:
        wide: feature maps at half the resolution.
        deep: feature maps at a quarter of the resolution.
        blocks: blocks at a quarter of the resolution.
        context: feature maps of the context.

    Example:
        >>> import torch
        >>> ContextCNN()(torch.zeros(2, 3, 64, 64)).shape
        torch.Size([2, 3, 64, 64])
    """

    REACH: Final = 8

    multiple = 8
    branch_ends = ("leave",)

    def __init__(self, wide: int = 48, deep: int = 96, blocks: int = 2, context: int = 64) -> None:
        super().__init__()
        self.arguments = {"wide": wide, "deep": deep, "blocks": blocks, "context": context}
        self.radius = 24 + 8 * blocks  # with the context known, and stretched between cells
        self.look1 = nn.Conv2d(48, context, 3, padding=1)
        self.look2 = nn.Conv2d(context, context, 3, padding=1, stride=2)
        self.look3 = nn.Conv2d(context, context, 3, padding=1)
        self.describe = nn.Conv2d(context, context, 1)
        self.enter = nn.Conv2d(12, wide, 3, padding=1)
        self.before = ScaledBlock(wide, context)
        self.down = nn.Conv2d(wide, deep, 2, stride=2)
        self.inside = nn.ModuleList(ScaledBlock(deep, context) for _ in range(blocks))
        self.up = nn.Conv2d(deep, 4 * wide, 1)
        self.after = ScaledBlock(wide, context)
        self.leave = nn.Conv2d(wide, 12, 3, padding=1)

    def forward(self, images: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the images plus the residual.

        Args:
            images: float (n, 3, h, w) with h and w multiples of 8.
            context: as `context_of` returns it; None computes it. For a part of a photo, the part of its context.
        """
        if context is None:
            context = self.context_of(images)
        half = self.before(self.enter(pixel_unshuffle(images, 2)), context)  # (n, wide, h / 2, w / 2)
        quarter = self.down(half)  # (n, deep, h / 4, w / 4)
        for block in self.inside:
            quarter = block(quarter, context)
        half = half + pixel_shuffle(self.up(quarter), 2)  # (n, 4 * wide, h / 4, w / 4) -> (n, wide, h / 2, w / 2)
        residual: Tensor = pixel_shuffle(self.leave(self.after(half, context)), 2)  # -> (n, 3, h, w)
        return images + residual

    def context_of(self, images: Tensor) -> Tensor:
        """Return the context of images, float (n, 3, h, w): one a cell, or one for all cells if all have the same.

        Returns:
            Float (n, context, h / 8, w / 8) or, of images in which every cell sees all others, (n, context, 1, 1).
        """
        quarter = relu_(self.look1(pixel_unshuffle(images, 4)))  # (n, 3, h, w) -> (n, context, h / 4, w / 4)
        cells = relu_(self.look3(relu_(self.look2(quarter))))  # (n, context, h / 8, w / 8)
        reach = self.REACH
        if max(cells.shape[2:]) <= reach + 1:
            means = cells.mean((2, 3), keepdim=True)
        else:  # of the cells that lie in the image
            rows = avg_pool2d(cells, (2 * reach + 1, 1), 1, (reach, 0), count_include_pad=False)
            means = avg_pool2d(rows, (1, 2 * reach + 1), 1, (0, reach), count_include_pad=False)
        context: Tensor = relu_(self.describe(means))
        return context


ARCHITECTURES: Final[Mapping[str, type[ToolNetwork]]] = {
    "three-layer": ThreeLayerCNN,
    "eight-layer": EightLayerCNN,
    "two-scale": TwoScaleCNN,
    "context": ContextCNN,
}
"""The networks by the names that toolbox folders use."""

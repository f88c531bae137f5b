"""The contract of a tool, and how to make a tool of a function or a network."""

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import cached_property, partial
from math import isfinite
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import pad
from torch.utils.flop_counter import FlopCounterMode

from restore_env.errors import ToolError
from restore_env.toolbox.spandrel_network import open_spandrel
from restore_env.utils.checks import check_choice, check_number, check_text

COST_SIDE: Final = 64
"""Height and width in pixels of the image that a tool's cost is measured on."""

LARGEST_VALUE: Final = 1e6
"""Largest absolute value that a tool may return; white is 1. The square of a larger one may overflow in a PSNR."""


@dataclass(frozen=True)
class Tool:
    """A restoration tool, which is an action of the environment.

    Args:
        name: name of the tool, unique in a toolbox, such as "noise-3".
        function: takes a float tensor (n, 3, h, w) RGB in about [0, 1], not clipped, and returns a new tensor of the
            same shape.
        removes: the distortion that the tool is made for, such as "blur", "noise" or "jpeg"; "" if unknown.
        interval: interval of the distortion's parameter that the tool is made for, milder end first, in the parameter's
            unit; None if unknown.
        given_cost: multiplications for a pixel; None counts those of a network (`cost`).

    Raises:
        TypeError: if `function` cannot be called.
        ValueError: if `name` is not a text or is empty, or another value does not fit.

    Example:
        >>> brighten = Tool("brighten", lambda images: images + 0.1)
        >>> brighten(torch.zeros(1, 3, 1, 1)).flatten().tolist()
        [0.10000000149011612, 0.10000000149011612, 0.10000000149011612]
    """

    name: str
    function: Callable[[Tensor], Tensor]
    removes: str = ""
    interval: tuple[float, float] | None = None
    given_cost: float | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise ValueError(f"name={self.name!r}: a tool needs a name, such as 'median-3'")
        where = f"tool {self.name!r}"
        if not callable(self.function):
            raise TypeError(f"{where}: {self.function!r} cannot be called with an image")
        check_text(f"{where}: removes", self.removes)
        if self.interval is not None:
            object.__setattr__(self, "interval", parse_interval(self.interval, where))
        if self.given_cost is not None:
            object.__setattr__(self, "given_cost", check_number(f"{where}: cost", self.given_cost, least=0))

    @classmethod
    def from_function(
        cls,
        name: str,
        function: Callable[..., NDArray[Any]],
        *,
        dtype: str = "uint8",
        removes: str = "",
        interval: tuple[float, float] | None = None,
        cost: float | None = None,
    ) -> "Tool":
        """Make a tool of a function of one image.

        Args:
            name: name of the tool, unique in a toolbox.
            function: takes one RGB image (h, w, 3) and returns a new one, as functions of OpenCV and scikit-image do.
            dtype: dtype of the image: "uint8" (0 to 255) or "float32" (values in [0, 1]).
            removes: the distortion that the tool is made for.
            interval: interval of the distortion's parameter that the tool is made for.
            cost: multiplications for a pixel. None means 0, because nobody can count those of a function.

        Raises:
            ValueError: if `dtype` is neither "uint8" nor "float32", or another value does not fit.

        Example:
            >>> flip = Tool.from_function("flip", lambda image: image[:, ::-1])
            >>> flip(torch.tensor([0.0, 1.0]).expand(1, 3, 1, 2))[0, 0].tolist()
            [[1.0, 0.0]]
        """
        check_choice("dtype", dtype, ("uint8", "float32"))
        return cls(name, _ImageFunction(function, dtype), removes, interval, cost)

    @classmethod
    def from_module(
        cls,
        name: str,
        module: nn.Module,
        *,
        removes: str = "",
        interval: tuple[float, float] | None = None,
        cost: float | None = None,
    ) -> "Tool":
        """Make a tool of a network.

        Args:
            name: name of the tool, unique in a toolbox.
            module: takes a float tensor (n, 3, h, w) and returns one of the same shape. It is not copied, but set to
                evaluation mode and laid out channels last. If it has an attribute `radius`, large images are processed
                in tiles: an output pixel may depend on input pixels that are at most `radius` pixels away. If it has an
                attribute `multiple`, images are padded by reflection to sides that this number divides, and cut again.
                If it has a method `context_of`, see `Tool.context_of`.
            removes: the distortion that the tool is made for.
            interval: interval of the distortion's parameter that the tool is made for.
            cost: multiplications for a pixel; None counts those of the network.

        Raises:
            TypeError: if `module` is not a `torch.nn.Module`.
            ValueError: if another value does not fit.

        Example:
            >>> tool = Tool.from_module("mean-3", nn.AvgPool2d(3, stride=1, padding=1), removes="noise")
            >>> tool(torch.ones(2, 3, 8, 8)).shape
            torch.Size([2, 3, 8, 8])
        """
        if not isinstance(module, nn.Module):
            raise TypeError(f"tool {name!r}: {module!r} is not a torch.nn.Module; Tool.from_function takes functions")
        network = module.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return cls(name, network, removes, interval, cost)

    @classmethod
    def from_spandrel(
        cls,
        model: Any,
        name: str = "",
        *,
        removes: str = "",
        interval: tuple[float, float] | None = None,
        cost: float | None = None,
    ) -> "Tool":
        """Make a tool of a network that the library spandrel knows; spandrel must be installed.

        The network must keep the size of images and have three channels. Images are clipped to [0, 1], and padded to
        the sizes that the network takes. If spandrel supports tiles for the network, large images are processed in
        tiles that overlap by 32 pixels. In a toolbox with `dtype="bfloat16"`, the network computes in it if it can.

        Args:
            model: a file of weights (.safetensors, .pth or .ckpt), or what `spandrel.ModelLoader` makes of one.
                `save_toolbox` takes only tools that were made of files.
            name: name of the tool, unique in a toolbox; by default that of the file without its suffix, or that of the
                network's architecture.
            removes: the distortion that the tool is made for.
            interval: interval of the distortion's parameter that the tool is made for.
            cost: multiplications for a pixel; None counts those of the network.

        Raises:
            TypeError: if `model` is neither a path nor a network of spandrel.
            ValueError: if spandrel is not installed or cannot load the file, or no tool can be made of the network.

        Example:
            >>> Tool.from_spandrel("nafnet.onnx")
            Traceback (most recent call last):
            ValueError: nafnet.onnx: the name of a file for spandrel ends with .safetensors, .pth, .ckpt
        """
        network = open_spandrel(model)
        return cls.from_module(name or network.name, network, removes=removes, interval=interval, cost=cost)

    @classmethod
    def parametric(
        cls, name: str, network: nn.Module, levels: Sequence[float], *, scale: float = 1.0, removes: str = ""
    ) -> list["Tool"]:
        """Make one tool for each level of a network that is told the level, such as FFDNet.

        All tools share the network. The interval of each is its level.

        Args:
            name: what the tools' names begin with: "noise" and the level 15 make "noise-15".
            network: takes a float tensor (n, 3, h, w) and a level for each image, a float tensor (n,). It returns a
                tensor (n, 3, h, w). A network that takes a map of levels can expand them. The attributes `radius` and
                `multiple` mean what they mean for `from_module`.
            levels: the levels, in the unit of the distortion's parameter.
            scale: what a level is multiplied by for the network: 1 / 255 if it takes noise on a scale of [0, 1].
            removes: the distortion that the tools are made for.

        Raises:
            TypeError: if `network` is not a `torch.nn.Module`.
            ValueError: if `levels` are not different numbers, or another value does not fit.

        Example:
            >>> class Darken(nn.Module):
            ...     def forward(self, images, levels):
            ...         return images - levels.view(-1, 1, 1, 1)
            >>> tools = Tool.parametric("darken", Darken(), levels=[51, 102], scale=1 / 255)
            >>> [tool.name for tool in tools], tools[1](torch.ones(1, 3, 1, 1)).flatten().tolist()
            (['darken-51', 'darken-102'], [0.6000000238418579, 0.6000000238418579, 0.6000000238418579])
        """
        if not isinstance(network, nn.Module):
            raise TypeError(f"tool {name!r}: {network!r} is not a torch.nn.Module")
        values = [check_number(f"tool {name!r}: level", level) for level in levels]
        if not values or len(set(values)) < len(values):
            raise ValueError(f"tool {name!r}: levels={levels!r} are not different numbers, at least one")
        return [
            cls.from_module(
                f"{name}-{level:g}", NetworkAtLevel(network, level, scale), removes=removes, interval=(level, level)
            )
            for level in values
        ]

    @property
    def module(self) -> nn.Module | None:
        """The network, None if the tool is a function."""
        return self.function if isinstance(self.function, nn.Module) else None

    @property
    def radius(self) -> int | None:
        """Largest distance in pixels of an input pixel that an output pixel depends on, None if unknown."""
        return getattr(self.function, "radius", None)

    @property
    def multiple(self) -> int:
        """Number that divides the sides of the images that the function gets; others are padded and cut."""
        return int(getattr(self.function, "multiple", 1))

    @cached_property
    def cost(self) -> float:
        """Multiplications for a pixel, as given, or counted in a network's convolutions and matrix products.

        It is 0 for a function if none is given.
        """
        if self.given_cost is not None:
            return self.given_cost
        if self.module is None:
            return 0.0
        side = max(self.multiple, COST_SIDE - COST_SIDE % self.multiple)
        device = next((parameter.device for parameter in self.module.parameters()), torch.device("cpu"))
        # As in a training: the faster way to compute without gradients multiplies at padded edges, too.
        with torch.enable_grad(), FlopCounterMode(display=False) as counter:
            self.module(torch.zeros(1, 3, side, side, device=device))
        return float(counter.get_total_flops()) / 2 / side**2  # each multiplication counts with its addition

    def multiplications(self, side: int) -> float:
        """Return the multiplications on one image of `side` x `side` pixels, with what is padded to the multiple."""
        return self.cost * (side + -side % self.multiple) ** 2

    def context_of(self, images: Tensor) -> Tensor | None:
        """Return what a network has to know of the surroundings of a pixel beyond `radius`, None if it is nothing.

        With it, parts of an image can be restored one by one, with the same result as the whole image. A network that
        needs it has a method of this name, and takes the context of a part as its second argument.

        Args:
            images: float (n, 3, h, w) RGB in about [0, 1].

        Returns:
            Float (n, features, h / multiple, w / multiple), rounded up, or (n, features, 1, 1) if all is the same.
        """
        look: Callable[[Tensor], Tensor] | None = getattr(self.function, "context_of", None)
        return None if look is None else look(padded(images, self.multiple))

    def to(self, device: str | torch.device) -> "Tool":
        """Return the tool on a device; a network is copied, a function is used as it is."""
        return self if self.module is None else replace(self, function=deepcopy(self.module).to(device))

    def __call__(self, images: Tensor, context: Tensor | None = None) -> Tensor:
        """Apply the tool to images.

        Args:
            images: float (n, 3, h, w) RGB in about [0, 1].
            context: of parts of larger images, the part of `context_of` for the larger ones.

        Returns:
            A new tensor of the same shape and dtype, not clipped. Other floats, such as float64, are converted.

        Raises:
            ToolError: if the tool raises an error, or returns another shape, another type than floats, NaN, or an
                absolute value above 1e6.
        """
        function: Callable[..., Tensor] = self.function
        if context is not None:
            function = partial(function, context=context)
        try:
            result = apply_padded(function, images, self.multiple)
        except ToolError as error:
            raise ToolError(f"tool {self.name!r} {error}") from error
        except Exception as error:  # whatever a user's tool raises
            reason = str(error).strip().splitlines()
            raise ToolError(f"tool {self.name!r} raised {type(error).__name__}: {' '.join(reason[:1])}") from error
        if not isinstance(result, Tensor):
            raise ToolError(f"tool {self.name!r} returned {type(result).__name__}, not a tensor")
        if result.shape != images.shape:
            raise ToolError(f"tool {self.name!r} returned the shape {tuple(result.shape)} for {tuple(images.shape)}")
        if not result.is_floating_point():
            raise ToolError(f"tool {self.name!r} returned {result.dtype}, not floats")
        converted = result.to(images.dtype)
        if not (converted.abs() <= LARGEST_VALUE).all():  # false for NaN, too
            fault = f"values beyond {LARGEST_VALUE:,.0f}" if torch.isfinite(result).all() else "NaN or infinity"
            raise ToolError(f"tool {self.name!r} returned {fault}")
        return converted


def apply_padded(function: Callable[[Tensor], Any], images: Tensor, multiple: int) -> Any:
    """Call a function with images whose sides a number divides, and cut what it returns to their size.

    Args:
        function: a network, or another function of images.
        images: float (n, 3, h, w); they are extended by reflection below and to the right.
        multiple: the number.
    """
    height, width = images.shape[2:]
    larger = padded(images, multiple)
    return function(images) if larger is images else function(larger)[:, :, :height, :width]


def padded(images: Tensor, multiple: int) -> Tensor:
    """Return images, float (n, 3, h, w), extended by reflection to sides that a number divides, below and right."""
    height, width = images.shape[2:]
    bottom, right = -height % multiple, -width % multiple
    if not (bottom or right):
        return images
    mode = "reflect" if bottom < height and right < width else "replicate"  # nothing to mirror in a tiny image
    return pad(images, (0, right, 0, bottom), mode)


class NetworkAtLevel(nn.Module):
    """Apply a network that takes images and levels, at one level.

    Args:
        network: takes float (n, 3, h, w) and float (n,), and returns float (n, 3, h, w). It is not copied.
        level: the level, in the unit of the distortion's parameter.
        scale: what the level is multiplied by for the network.

    Raises:
        ValueError: if `level` or `scale` is not a finite number.
    """

    told: Tensor

    def __init__(self, network: nn.Module, level: float, scale: float = 1.0) -> None:
        super().__init__()
        self.network = network
        self.level, self.scale = check_number("level", level), check_number("scale", scale)
        # A buffer, so that toolboxes of other levels have another fingerprint.
        self.register_buffer("told", torch.tensor(self.level * self.scale))

    @property
    def radius(self) -> int | None:
        """Largest distance in pixels of an input pixel that an output pixel depends on, None if unknown."""
        return getattr(self.network, "radius", None)

    @property
    def multiple(self) -> int:
        """Number that divides the sides of the images that the network gets."""
        return int(getattr(self.network, "multiple", 1))

    def forward(self, images: Tensor) -> Tensor:
        """Apply the network to images, float (n, 3, h, w), at the level."""
        result: Tensor = self.network(images, self.told.to(images).expand(len(images)))
        return result


def parse_interval(interval: Any, where: str) -> tuple[float, float]:
    """Return a tool's interval as two floats, or raise a `ValueError` that names `where` if it is not two numbers."""
    try:
        low, high = map(float, interval if isinstance(interval, list | tuple) else ())
        if isfinite(low) and isfinite(high):
            return low, high
    except (OverflowError, TypeError, ValueError):
        pass
    raise ValueError(f"{where}: interval={interval!r} is not two numbers")


@dataclass(frozen=True)
class _ImageFunction:
    """Apply a function of one NumPy image to each image of a tensor."""

    function: Callable[..., NDArray[Any]]
    dtype: str

    def __call__(self, images: Tensor) -> Tensor:
        arrays = images.clamp(0, 1).permute(0, 2, 3, 1).float().cpu().numpy()  # (n, 3, h, w) -> (n, h, w, 3)
        if self.dtype == "uint8":
            arrays = np.rint(arrays * 255).astype(np.uint8)
        results = np.stack([self._apply(np.ascontiguousarray(array)) for array in arrays])
        floats = np.divide(results, 255 if self.dtype == "uint8" else 1, dtype=np.float32)
        # (n, h, w, 3) -> (n, 3, h, w)
        return torch.from_numpy(floats).permute(0, 3, 1, 2).to(images.device, images.dtype)

    def _apply(self, image: NDArray[Any]) -> NDArray[Any]:
        """Apply the function to one image, and check the shape and dtype of what it returns."""
        shape = image.shape
        result = self.function(image)
        if not isinstance(result, np.ndarray) or result.shape != shape:
            got = f"the shape {result.shape}" if isinstance(result, np.ndarray) else type(result).__name__
            raise ToolError(f"returned {got} for an image of the shape {shape}")
        if self.dtype == "uint8" and result.dtype != np.uint8:
            raise ToolError(f"returned {result.dtype} for uint8; dtype='float32' is for functions on floats in [0, 1]")
        if self.dtype == "float32" and not np.issubdtype(result.dtype, np.floating):
            raise ToolError(f"returned {result.dtype} for float32; dtype='uint8' is for functions on bytes")
        return result

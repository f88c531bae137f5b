"""The contract of a tool, and how a function or a network becomes one."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from restore_env.errors import ToolError


@dataclass(frozen=True)
class Tool:
    """One restoration tool: an action of the environment.

    Args:
        name: unique in a toolbox, such as "noise-3".
        function: takes a float tensor (n, 3, h, w), about [0, 1] but not clipped, and returns a new one of that shape.
        removes: what it is made for: "blur", "noise", "jpeg", or empty.
        interval: the distortion parameter it is made for, from the milder to the stronger end, in the parameter's unit.

    Raises:
        TypeError, ValueError: if `name` is no text or is empty, or `function` cannot be called.
    """

    name: str
    function: Callable[[Tensor], Tensor]
    removes: str = ""
    interval: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise ValueError(f"name={self.name!r}: a tool needs a name, such as 'median-3'")
        if not callable(self.function):
            raise TypeError(f"tool {self.name!r}: {self.function!r} cannot be called with an image")

    @classmethod
    def from_function(cls, name: str, function: Callable[..., NDArray[Any]], *, dtype: str = "uint8") -> "Tool":
        """Make a tool from a function of one image.

        Args:
            name: unique in a toolbox.
            function: takes and returns one RGB image (h, w, 3), as OpenCV and scikit-image functions do.
            dtype: what it works on: "uint8", or "float32" for values in [0, 1].

        Raises:
            ValueError: if `dtype` is neither.
        """
        if dtype not in ("uint8", "float32"):
            raise ValueError(f"dtype={dtype!r} is neither 'uint8' nor 'float32'")
        return cls(name, _ImageFunction(function, dtype))

    @classmethod
    def from_module(
        cls, name: str, module: nn.Module, *, removes: str = "", interval: tuple[float, float] | None = None
    ) -> "Tool":
        """Make a tool from a network.

        Args:
            name: unique in a toolbox.
            module: takes a float tensor (n, 3, h, w) and returns one of the same shape. It is used as it is, in
                evaluation mode and laid out channels last. Give it an attribute `radius`, the pixels an output pixel
                looks far, and large images are worked on in tiles.
            removes: what it is made for.
            interval: the distortion parameter it is made for.

        Raises:
            TypeError: if `module` is no `torch.nn.Module`.
        """
        if not isinstance(module, nn.Module):
            raise TypeError(f"tool {name!r}: {module!r} is not a torch.nn.Module; Tool.from_function takes functions")
        return cls(name, module.eval().to(memory_format=torch.channels_last), removes, interval)  # type: ignore[call-overload]

    @property
    def module(self) -> nn.Module | None:
        """The network, or None if the tool is a function."""
        return self.function if isinstance(self.function, nn.Module) else None

    @property
    def radius(self) -> int | None:
        """How many pixels far an output pixel looks, None if unknown."""
        return getattr(self.function, "radius", None)

    def to(self, device: str | torch.device) -> "Tool":
        """The tool on a device; a network is copied, a function stays where it is."""
        return self if self.module is None else replace(self, function=deepcopy(self.module).to(device))

    def __call__(self, images: Tensor) -> Tensor:
        """Apply the tool to a float tensor (n, 3, h, w) and return a new one.

        Raises:
            ToolError: if the tool raises, or returns another shape, no floats, NaN or infinity.
        """
        try:
            result = self.function(images)
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
        if not torch.isfinite(result).all():
            raise ToolError(f"tool {self.name!r} returned NaN or infinity")
        return result


@dataclass(frozen=True)
class _ImageFunction:
    """Applies a function of one numpy image to each image of a tensor."""

    function: Callable[..., NDArray[Any]]
    dtype: str

    def __call__(self, images: Tensor) -> Tensor:
        arrays = images.clamp(0, 1).permute(0, 2, 3, 1).float().cpu().numpy()
        if self.dtype == "uint8":
            arrays = np.rint(arrays * 255).astype(np.uint8)
        results = np.stack([self._apply(np.ascontiguousarray(array)) for array in arrays])
        floats = np.divide(results, 255 if self.dtype == "uint8" else 1, dtype=np.float32)
        return torch.from_numpy(floats).permute(0, 3, 1, 2).to(images.device, images.dtype)

    def _apply(self, image: NDArray[Any]) -> NDArray[Any]:
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

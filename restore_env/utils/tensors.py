"""From images to tensors and back: the one place where bytes become floats on the device."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def images_to_tensor(
    images: Sequence[NDArray[np.uint8]] | NDArray[np.uint8], device: str | torch.device = "cpu"
) -> Tensor:
    """uint8 (n, h, w, 3) to float32 (n, 3, h, w) in [0, 1], laid out channels last."""
    return bytes_to_floats(stack_images(images, device))


def stack_images(images: Sequence[NDArray[np.uint8]] | NDArray[np.uint8], device: str | torch.device = "cpu") -> Tensor:
    """Images of one size as a uint8 tensor (n, h, w, 3) on a device."""
    return torch.from_numpy(np.ascontiguousarray(np.stack(list(images)))).to(device)


def bytes_to_floats(images: Tensor) -> Tensor:
    """uint8 (n, h, w, 3) to float32 (n, 3, h, w) in [0, 1] on the same device, laid out channels last."""
    return (images.float() / 255).permute(0, 3, 1, 2)  # permuted, it is channels last already


def tensor_to_images(images: Tensor) -> Tensor:
    """Float (n, 3, h, w) to uint8 (n, h, w, 3) on the same device, clipped and rounded."""
    return (images.clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous()


FloatImage = NDArray[np.float32]

ByteImage = NDArray[np.uint8]


def to_float(image: NDArray[Any]) -> FloatImage:
    """Bytes to float32 in [0, 1]."""
    return np.asarray(np.divide(image, np.float32(255), dtype=np.float32))


def to_bytes(image: FloatImage) -> ByteImage:
    """Float in [0, 1] to bytes, clipped and rounded."""
    return np.asarray(np.rint(np.clip(image, 0, 1) * np.float32(255)), dtype=np.uint8)

"""Conversions between images and tensors, and the symmetries of both."""

from collections.abc import Sequence
from typing import Any, Final, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

FloatImage = NDArray[np.float32]
"""One image, float32 (h, w, 3) RGB in [0, 1]."""

ByteImage = NDArray[np.uint8]
"""One image, uint8 (h, w, 3) RGB."""

AnyArray = TypeVar("AnyArray", NDArray[Any], Tensor)

SYMMETRIES: Final = 8
"""Number of symmetries of a square, which `augment_dihedral` counts from 0."""


def images_to_tensor(
    images: Sequence[NDArray[np.uint8]] | NDArray[np.uint8], device: str | torch.device = "cpu"
) -> Tensor:
    """Convert images of one size to one tensor.

    Args:
        images: n images, uint8 (h, w, 3) RGB each.
        device: where the tensor is made; bytes are copied there, and become floats there.

    Returns:
        float32 (n, 3, h, w) in [0, 1], laid out channels last.

    Example:
        >>> images_to_tensor([np.full((2, 4, 3), 255, np.uint8)]).shape
        torch.Size([1, 3, 2, 4])
    """
    return bytes_to_floats(torch.from_numpy(np.ascontiguousarray(np.stack(list(images)))).to(device))


def bytes_to_floats(images: Tensor) -> Tensor:
    """Convert uint8 (n, h, w, 3) to float32 (n, 3, h, w) in [0, 1] on the same device, laid out channels last."""
    # (n, h, w, 3) -> (n, 3, h, w); this view of contiguous memory is channels last already.
    return (images.float() / 255).permute(0, 3, 1, 2)


def tensor_to_images(images: Tensor) -> Tensor:
    """Clip and round floats (n, 3, h, w) in [0, 1] to uint8 (n, h, w, 3) on the same device."""
    # (n, 3, h, w) -> (n, h, w, 3)
    return (images.clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def to_float(image: NDArray[Any]) -> FloatImage:
    """Convert bytes to float32 in [0, 1]."""
    return np.asarray(np.divide(image, np.float32(255), dtype=np.float32))


def to_bytes(image: FloatImage) -> ByteImage:
    """Clip and round floats in [0, 1] to bytes."""
    return np.asarray(np.rint(np.clip(image, 0, 1) * np.float32(255)), dtype=np.uint8)


def computes_bfloat16(device: str | torch.device) -> bool:
    """Return whether a device computes with bfloat16; others imitate it, four to seven times slower than float32."""
    if torch.device(device).type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def augment_dihedral(images: AnyArray, symmetry: int, axes: tuple[int, int] = (-3, -2)) -> AnyArray:
    """Return images mirrored and transposed by one of the eight symmetries of a square.

    Args:
        images: an array or a tensor with height and width at `axes`; by default (..., h, w, channels).
        symmetry: 0 to 7, a sum: 1 mirrors upside down, 2 mirrors left to right, 4 then transposes.
        axes: the axes of height and width.

    Returns:
        Of an array a view; of a tensor a copy, or a view where nothing is mirrored.

    Example:
        >>> augment_dihedral(np.array([[1, 2], [3, 4]]), 1 + 4, axes=(0, 1)).tolist()
        [[3, 1], [4, 2]]
    """
    rows, columns = axes
    mirrored = [axis for axis, bit in ((rows, 1), (columns, 2)) if symmetry & bit]
    if isinstance(images, Tensor):
        turned = images.flip(mirrored) if mirrored else images
        return turned.transpose(rows, columns) if symmetry & 4 else turned
    array: NDArray[Any] = np.flip(images, tuple(mirrored))
    return array.swapaxes(rows, columns) if symmetry & 4 else array

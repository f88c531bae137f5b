"""NIQE, a measure of natural images without a reference (Mittal, Soundararajan and Bovik, 2013)."""

from functools import cache
from math import lgamma
from pathlib import Path
from typing import Final, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import conv2d, interpolate, pad

from restore_env.utils.serialization import PRETRAINED, read_tensors, write_tensors

BLOCK: Final = 96
"""Height and width in pixels of a block, and of the smallest image that has a NIQE."""

FEATURES: Final = 36
"""Features of a block: 18 at each of two scales."""

WINDOW_RADIUS: Final = 3
WINDOW_SIGMA: Final = 7 / 6
LUMA: Final = (0.299, 0.587, 0.114)
SHIFTS: Final = ((0, 1), (1, 0), (1, 1), (1, -1))
"""Neighbours whose products are features: to the right, below, and on the two diagonals."""

SMALLEST: Final = 1e-6
"""Stands for a standard deviation of zero, in an image without any structure."""

MODEL: Final = PRETRAINED / "niqe" / "niqe.safetensors"
"""The shipped model, which `tools.fit_niqe` fitted to clean photos."""


class NaturalImages(NamedTuple):
    """What the features of natural images are like.

    Attributes:
        mean: float64 (36,), their mean.
        covariance: float64 (36, 36), their covariance.
    """

    mean: Tensor
    covariance: Tensor


def niqe(images: Tensor, model: NaturalImages | None = None) -> Tensor:
    """Compute how far images are from natural ones; smaller is better.

    An image is cut into blocks of 96x96 pixels from its top left corner. Where only one block fits, nothing is known of
    its covariance, and only that of natural images counts.

    Args:
        images: float (n, 3, h, w), RGB, peak value 1, at least 96 pixels high and wide. They are clipped to [0, 1].
        model: what natural images are like; by default the shipped model.

    Returns:
        float64 (n,), at least 0.

    Raises:
        ValueError: if the images are too small.

    Example:
        >>> from restore_env.data.photos import embedded_photos
        >>> from restore_env.utils.tensors import images_to_tensor
        >>> photo = images_to_tensor([embedded_photos()[0][:192, :192]])
        >>> noisy = photo + 0.1 * torch.randn(photo.shape, generator=torch.Generator().manual_seed(0))
        >>> bool(niqe(photo) < niqe(noisy))
        True
    """
    model = shipped_model() if model is None else model
    features = block_features(images)  # (n, blocks, 36)
    mean, covariance = (part.to(features.device) for part in model)
    if features.shape[1] > 1:
        centred = features - features.mean(1, keepdim=True)
        own = centred.mT @ centred / (features.shape[1] - 1)  # (n, 36, blocks) @ (n, blocks, 36) -> (n, 36, 36)
    else:
        own = covariance.new_zeros(1)
    difference = (features.mean(1) - mean).unsqueeze(2)  # (n, 36) -> (n, 36, 1)
    inverse = torch.linalg.pinv((covariance + own) / 2, hermitian=True)  # (36, 36) or (n, 36, 36)
    squares: Tensor = (difference.mT @ inverse @ difference).flatten()  # (n, 1, 1) -> (n,)
    return squares.clamp_min(0).sqrt()


def block_features(images: Tensor) -> Tensor:
    """Compute the features of all blocks of 96x96 pixels, row by row.

    Args:
        images: as `niqe` takes them.

    Returns:
        float64 (n, blocks, 36).

    Raises:
        ValueError: if the images are too small.
    """
    luma, n = _luma(images), len(images)
    scales = []
    for size in (BLOCK, BLOCK // 2):
        scales.append(_features(_blocks(_normalize(luma)[0], size)))
        luma = interpolate(luma, scale_factor=0.5, mode="bicubic", antialias=True)
    features: Tensor = torch.cat(scales, dim=1).unflatten(0, (n, -1))  # twice (n * blocks, 18) -> (n, blocks, 36)
    return features


def block_sharpness(images: Tensor) -> Tensor:
    """Compute the mean local standard deviation of each block, in levels.

    Args:
        images: as `niqe` takes them.

    Returns:
        float64 (n, blocks), in the order of `block_features`.
    """
    blocks = _blocks(_normalize(_luma(images))[1], BLOCK)
    sharpness: Tensor = blocks.mean((1, 2)).unflatten(0, (len(images), -1))  # (n * blocks, size, size) -> (n, blocks)
    return sharpness


def _luma(images: Tensor) -> Tensor:
    """Return the luminance of as many blocks as fit, float64 (n, 1, h, w) in levels of 0 to 255."""
    height, width = images.shape[2:]
    if min(height, width) < BLOCK:
        raise ValueError(f"images of {width}x{height} pixels; NIQE needs at least {BLOCK}x{BLOCK}")
    whole = images[:, :, : height // BLOCK * BLOCK, : width // BLOCK * BLOCK].detach().double().clamp(0, 1)
    return 255 * torch.einsum("nchw,c->nhw", whole, whole.new_tensor(LUMA)).unsqueeze(1)


def _blocks(maps: Tensor, size: int) -> Tensor:
    """Cut maps (n, 1, h, w) into blocks (n * blocks, size, size)."""
    rows = maps.unflatten(2, (-1, size)).unflatten(4, (-1, size))  # -> (n, 1, down, size, across, size)
    blocks: Tensor = rows.permute(0, 2, 4, 1, 3, 5).flatten(0, 3)
    return blocks


def _normalize(luma: Tensor) -> tuple[Tensor, Tensor]:
    """Subtract the local mean and divide by the local standard deviation (plus 1).

    Args:
        luma: float (n, 1, h, w), luminance in levels of 0 to 255.

    Returns:
        The normalized luminance, and the local standard deviations, both of the same shape.
    """
    offsets = torch.arange(-WINDOW_RADIUS, WINDOW_RADIUS + 1, dtype=luma.dtype, device=luma.device)
    line = torch.exp(-offsets.square() / (2 * WINDOW_SIGMA**2))
    line = line / line.sum()

    def smooth(values: Tensor) -> Tensor:
        padded = pad(values, [WINDOW_RADIUS] * 4, mode="replicate")
        return conv2d(conv2d(padded, line.view(1, 1, 1, -1)), line.view(1, 1, -1, 1))

    mean = smooth(luma)
    deviation = (smooth(luma.square()) - mean.square()).clamp_min(0).sqrt()
    return (luma - mean) / (deviation + 1), deviation


def fit_natural_images(features: Tensor) -> NaturalImages:
    """Return mean and covariance of the features of clean photos.

    Args:
        features: float64 (n, 36), features of n blocks.
    """
    return NaturalImages(features.mean(0), features.T.cov())


def save_natural_images(path: Path, model: NaturalImages) -> None:
    """Write a model to a file."""
    write_tensors(path, model._asdict(), torch.float64)


@cache
def shipped_model() -> NaturalImages:
    """Return the shipped model."""
    return NaturalImages(**read_tensors(MODEL))


def _features(blocks: Tensor) -> Tensor:
    """Return the 18 features of each of n blocks (n, size, size), float64 (n, 18)."""
    shape, _, left, right = _fit_asymmetric(blocks)
    found = [shape, (left + right) / 2]
    size = blocks.shape[1]
    for down, across in SHIFTS:
        first = blocks[:, : size - down, max(0, -across) : size - max(0, across)]
        second = blocks[:, down:, max(0, across) : size + min(0, across)]
        found += _fit_asymmetric(first * second)
    return torch.stack(found, dim=1)


def _fit_asymmetric(values: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Fit an asymmetric generalized Gaussian distribution to each of n samples (n, ...) by its moments.

    Returns:
        Its shape, its mean, and its scales to the left and to the right, each float64 (n,).
    """
    values = values.flatten(1)
    squares = values.square()
    left, right = (
        ((squares * side).sum(1) / side.sum(1).clamp_min(1)).sqrt().clamp_min(SMALLEST)
        for side in (values < 0, values > 0)
    )
    ratio = left / right
    moments = values.abs().mean(1).square() / squares.mean(1).clamp_min(SMALLEST**2)
    moments = moments * (ratio**3 + 1) * (ratio + 1) / (ratio**2 + 1).square()
    shapes, known, spread, centre = (table.to(values.device) for table in _tables())
    place = torch.searchsorted(known, moments).clamp(max=len(known) - 1)  # the moments rise with the shape
    left, right = left * spread[place], right * spread[place]
    return shapes[place], (right - left) * centre[place], left, right


@cache
def _tables() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return shapes, and for each the ratio of its moments and two ratios of gamma functions."""
    shapes = torch.arange(200, 10_001, dtype=torch.float64) / 1000
    one, two, three = (
        torch.tensor([lgamma(k / shape) for shape in shapes.tolist()], dtype=torch.float64) for k in (1, 2, 3)
    )
    return shapes, (2 * two - one - three).exp(), ((one - three) / 2).exp(), (two - one).exp()

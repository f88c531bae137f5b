"""Batches for tools that are made for blur or noise and nothing else: cut and distorted on the device that trains.

Clean photos live there, one byte a value, and every batch is new. JPEG cannot be written on a GPU: tools whose training
data pass through it are trained from a pool (`tools.training_data`).
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import conv2d

from restore_env.arrays import bytes_to_floats
from restore_env.constants import BLUR_KERNEL_SIZE
from restore_env.distortions import DistortionModel, GaussianBlur, GaussianNoise, MixedDistortion
from restore_env.photo_variants import shrink, shrink_factors
from tools.training_data import Batch

MARGIN: Final = BLUR_KERNEL_SIZE // 2


def can_be_made_on_a_device(distortion: DistortionModel) -> bool:
    """Whether a distortion is a chain of blur and noise."""
    return isinstance(distortion, MixedDistortion) and all(
        type(item) in (GaussianBlur, GaussianNoise) for item in distortion.distortions
    )


class PhotoBatches:
    """Batches of patches that are cut, turned, blurred and made noisy on the device; none is ever drawn again.

    The batch of an iteration depends on the seed and its number alone. As in `PatchSampler`, photos are shrunk by a
    factor drawn at random, and edges are replicated; patches that are hardly distorted are kept.

    Args:
        photos: clean photos, uint8 (h, w, 3).
        distortion: a chain of blur and noise.
        crop: height and width of a patch in pixels.
        batch_size: patches in a batch.
        seed: together with an iteration's number, what is drawn.
        device: where all of it happens.

    Raises:
        ValueError: if the distortion is another one, or a photo is smaller than a patch.
    """

    def __init__(
        self,
        photos: Sequence[NDArray[np.uint8]],
        distortion: DistortionModel,
        crop: int,
        batch_size: int,
        seed: int,
        device: str | torch.device,
    ) -> None:
        if not isinstance(distortion, MixedDistortion) or not can_be_made_on_a_device(distortion):
            raise ValueError(f"distortion={distortion!r} is not a chain of Gaussian blur and Gaussian noise")
        self.distortion, self.crop, self.batch_size, self.seed = distortion, crop, batch_size, seed
        self.device = torch.device(device)
        self._generator = torch.Generator(self.device)
        versions, counts = [], []
        for number, photo in enumerate(photos):
            side = min(photo.shape[:2])
            if side < crop:
                raise ValueError(f"photo {number} is {photo.shape[1]}x{photo.shape[0]} pixels, less than {crop}x{crop}")
            factors = shrink_factors(side, crop)
            versions += [shrink(photo, factor) for factor in factors]
            counts.append(len(factors))
        starts = np.cumsum([0, *(version.shape[0] * version.shape[1] for version in versions[:-1])])
        self._pixels = torch.from_numpy(np.concatenate([version.reshape(-1, 3) for version in versions])).to(device)
        table = [[start, *version.shape[:2]] for start, version in zip(starts, versions, strict=True)]
        self._versions = torch.tensor(table, device=device)  # where each begins, its height, its width
        self._counts = torch.tensor(counts, device=device)  # how many versions each photo has
        self._firsts = torch.cumsum(self._counts, 0) - self._counts  # the first version of each photo

    def batch(self, iteration: int) -> Batch:
        """Distorted and reference, each float32 (batch, 3, h, w) in [0, 1] on the device, laid out channels last."""
        state = np.random.SeedSequence([self.seed, iteration]).generate_state(1, np.uint64)
        self._generator.manual_seed(int(state[0]) & (2**63 - 1))
        window = self._windows()
        distorted = window
        for item in self.distortion.distortions:
            value = item.low + (item.high - item.low) * self._uniform()
            distorted = blurred(distorted, value) if isinstance(item, GaussianBlur) else self._noisy(distorted, value)
        inner = slice(MARGIN, MARGIN + self.crop)
        rounded = (distorted[..., inner, inner].clamp(0, 1) * 255).round() / 255
        return tuple(  # type: ignore[return-value]
            images.contiguous(memory_format=torch.channels_last) for images in (rounded, window[..., inner, inner])
        )

    def _windows(self) -> Tensor:
        """Clean windows with a margin for the blur, float32 (batch, 3, h, w), mirrored and transposed at random."""
        photo = self._whole(torch.full((self.batch_size,), len(self._counts), device=self.device))
        version = self._firsts[photo] + self._whole(self._counts[photo])
        start, height, width = self._versions[version].unbind(1)
        reach = torch.arange(-MARGIN, self.crop + MARGIN, device=self.device)
        # (batch, 1) + (window,) -> (batch, window); beyond the photo its last row and column are repeated
        rows = (self._whole(height - self.crop + 1)[:, None] + reach).clamp(min=0).minimum(height[:, None] - 1)
        columns = (self._whole(width - self.crop + 1)[:, None] + reach).clamp(min=0).minimum(width[:, None] - 1)
        rows, columns = self._mirrored(rows), self._mirrored(columns)
        places = start[:, None, None] + rows[:, :, None] * width[:, None, None] + columns[:, None, :]
        places = torch.where(self._coin()[:, None, None], places.transpose(1, 2), places)
        return bytes_to_floats(self._pixels[places])

    def _mirrored(self, places: Tensor) -> Tensor:
        return torch.where(self._coin()[:, None], places.flip(1), places)

    def _noisy(self, images: Tensor, sigma: Tensor) -> Tensor:
        noise = torch.randn(images.shape, generator=self._generator, device=self.device)
        return (images + noise * (sigma / 255)[:, None, None, None]).clamp(0, 1)

    def _uniform(self) -> Tensor:
        """One number in [0, 1) for each patch."""
        return torch.rand(self.batch_size, generator=self._generator, device=self.device)

    def _whole(self, below: Tensor) -> Tensor:
        """One whole number for each patch, less than its own bound."""
        return (self._uniform().double() * below).long().minimum(below - 1)

    def _coin(self) -> Tensor:
        return self._uniform() < 0.5


def blurred(images: Tensor, sigma: Tensor) -> Tensor:
    """Blur each image with a Gaussian kernel of its own; (n, 3, h, w) and (n,) standard deviations in pixels."""
    n, channels, height, width = images.shape
    reach = torch.arange(-MARGIN, MARGIN + 1, device=images.device)
    weights = torch.exp(-0.5 * (reach / sigma.clamp(min=0.05)[:, None]).square())
    weights = (weights / weights.sum(1, keepdim=True)).repeat_interleave(channels, 0)  # (n x channels, kernel)
    # each channel of each image is a group of its own: (1, n x channels, h, w)
    result = images.reshape(1, n * channels, height, width)
    result = conv2d(result, weights[:, None, :, None], padding=(MARGIN, 0), groups=n * channels)
    result = conv2d(result, weights[:, None, None, :], padding=(0, MARGIN), groups=n * channels)
    return result.view(n, channels, height, width)

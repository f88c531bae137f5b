"""An auxiliary loss for the encoder: predict how strongly fresh patches are blurred, noisy and compressed.

Playing shows an agent a few thousand images an hour, because tools take time. Distorting photos shows it a hundred
images a second.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import smooth_l1_loss

from restore_env.constants import BLUR_EDGES, JPEG_EDGES, NOISE_EDGES
from restore_env.data.sources import PairSource
from restore_env.policies.recurrent_q import RecurrentQNetwork
from restore_env.utils.tensors import bytes_to_floats

SCALES: Final = {
    "blur_sigma": (BLUR_EDGES[0], BLUR_EDGES[-1]),
    "noise_sigma": (NOISE_EDGES[0], NOISE_EDGES[-1]),
    "jpeg_quality": (JPEG_EDGES[0], JPEG_EDGES[-1]),
}
"""For each distortion's parameter, the values that have the strengths 0 (none) and 1 (the strongest)."""

BATCH: Final = 64
"""Patches in an update."""

BETA: Final = 0.1
"""Error up to which the loss is quadratic; it is linear beyond."""


class FreshPatches(NamedTuple):
    """Distorted patches and how strongly they are distorted.

    Attributes:
        image: uint8 (n, h, w, 3).
        strength: float32 (n, 3), strengths of blur, noise and JPEG, 0 to 1 for the paper's distortions.
    """

    image: Tensor
    strength: Tensor


class AuxiliaryTask(nn.Module):
    """Predicts the strengths from the encoder's features by one linear layer.

    Args:
        network: the network whose encoder learns.
        source: where the patches come from.
        seed: seed of the layer's first weights, and of the patches.
    """

    def __init__(self, network: RecurrentQNetwork, source: PairSource, seed: int) -> None:
        super().__init__()
        self._source, self._seed = source, seed
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.linear = nn.Linear(network.encoder.projection.out_features, len(SCALES))

    def draw(self, n: int, iteration: int) -> FreshPatches | None:
        """Return the n patches of an iteration; None if the source does not say how its images were distorted."""
        numbers = range(iteration * n, (iteration + 1) * n)
        pairs = [self._source.sample(np.random.default_rng([self._seed, 2, number])) for number in numbers]
        known = [pair.distortion for pair in pairs if pair.distortion is not None]
        if len(known) < len(pairs):
            return None
        images = torch.from_numpy(np.stack([pair.distorted for pair in pairs]))
        device = self.linear.weight.device
        return FreshPatches(images.to(device), torch.tensor([strengths(item) for item in known]).to(device))

    def loss(self, network: RecurrentQNetwork, patches: FreshPatches, rng: np.random.Generator) -> Tensor:
        """Return the mean loss of the predictions for a batch of the patches, drawn by `rng`."""
        batch = torch.from_numpy(rng.integers(len(patches.image), size=BATCH)).to(patches.image.device)
        predicted = self.linear(network.embed(bytes_to_floats(patches.image[batch])))
        return smooth_l1_loss(predicted, patches.strength[batch], beta=BETA)


def strengths(parameters: Mapping[str, float]) -> list[float]:
    """Return the strengths of blur, noise and JPEG; a distortion without a parameter has the strength 0."""
    return [(parameters.get(name, none) - none) / (strongest - none) for name, (none, strongest) in SCALES.items()]

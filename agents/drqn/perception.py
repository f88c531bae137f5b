"""A lesson beside the play: to see how strongly an image is blurred, noisy and compressed.

Playing shows an agent a few thousand images an hour, because tools take time; distorting photos shows it a hundred a
second. Convolutions that tell blur, noise and JPEG apart on those need not learn it from the rewards of a few.
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
"""For each distortion's parameter, what is called 0 (none) and 1 (the strongest)."""

BATCH: Final = 64
"""Patches in an update."""

SHARP: Final = 0.1
"""Up to this error the loss is squared, beyond it absolute."""


class Glances(NamedTuple):
    """Distorted patches and how strongly they are distorted.

    Attributes:
        image: uint8 (n, h, w, 3).
        strength: float32 (n, 3), of blur, noise and JPEG, 0 to 1 for the distortions of the paper.
    """

    image: Tensor
    strength: Tensor


def draw_glances(source: PairSource, numbers: range, seed: int, device: torch.device) -> Glances | None:
    """Patches of those numbers; None where the source does not say how its images were distorted."""
    pairs = [source.sample(np.random.default_rng([seed, 2, number])) for number in numbers]
    known = [pair.distortion for pair in pairs if pair.distortion is not None]
    if len(known) < len(pairs):
        return None
    images = torch.from_numpy(np.stack([pair.distorted for pair in pairs]))
    return Glances(images.to(device), torch.tensor([strengths(item) for item in known]).to(device))


def strengths(parameters: Mapping[str, float]) -> list[float]:
    """How strong blur, noise and JPEG are; what a distortion has no parameter of is none."""
    return [(parameters.get(name, none) - none) / (strongest - none) for name, (none, strongest) in SCALES.items()]


class Perception(nn.Module):
    """Reads the strengths off an image's description by one linear layer."""

    def __init__(self, network: RecurrentQNetwork, seed: int) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.read = nn.Linear(network.describe.out_features, len(SCALES))

    def loss(self, network: RecurrentQNetwork, glances: Glances) -> Tensor:
        """How far what is read is from the strengths, a mean."""
        read = self.read(network.features(bytes_to_floats(glances.image)))
        return smooth_l1_loss(read, glances.strength, beta=SHARP)

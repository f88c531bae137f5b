"""A distortion of one's own, as a description of tools names it: "fading:Fading"."""

from dataclasses import dataclass

import numpy as np

from restore_env.data.distortions import Distortion


@dataclass(frozen=True)
class Fading(Distortion):
    """Less contrast."""

    parameter = "contrast"
    edges = (1.0, 0.5)
    bounds = (0.0, 1.0)

    def apply(self, image, value, rng):
        return np.float32(0.5) + (image - np.float32(0.5)) * np.float32(value)


class Grey:
    """No `Distortion` at all."""

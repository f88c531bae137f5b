"""What the tools of a toolbox are: paper, Table 1."""

from dataclasses import dataclass, field
from typing import Final

import torch

from restore_env.distortions import Distortion, GaussianBlur, GaussianNoise, JPEGCompression, MixedDistortion
from restore_env.toolbox.storage import build_network
from restore_env.toolbox.tool import Tool

DISTORTIONS: Final = {"blur": GaussianBlur, "noise": GaussianNoise, "jpeg": JPEGCompression}

SLIGHT: Final[tuple[Distortion, ...]] = (GaussianNoise(0, 5), JPEGCompression(80, 100))
"""What makes a tool robust to the middle states of a toolchain: the paper's "slight Gaussian noise and JPEG"
(section 3.3), which it gives no numbers for; these are the mildest level of noise and of JPEG."""


@dataclass(frozen=True)
class ToolSpec:
    """One tool to train.

    Args:
        name: the tool's name.
        removes: "blur", "noise" or "jpeg".
        interval: the parameter's interval, from the milder to the stronger end.
        architecture: "three-layer" or "eight-layer".
        arguments: sizes of the network where they differ from the paper's.
    """

    name: str
    removes: str
    interval: tuple[float, float]
    architecture: str
    arguments: dict[str, int] = field(default_factory=dict)

    def distortion(self, robust: bool = True) -> MixedDistortion:
        """What the tool is trained to undo, with the slight noise and JPEG after it if `robust`."""
        own = DISTORTIONS[self.removes](*sorted(self.interval))
        return MixedDistortion([own, *(SLIGHT if robust else ())])

    def network(self, seed: int) -> torch.nn.Module:
        """A new network with weights drawn from `seed`; PyTorch's global generator is left as it was."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return build_network(self.architecture, self.arguments, f"tool {self.name!r}")

    def tool(self, network: torch.nn.Module) -> Tool:
        """The trained network as a tool."""
        return Tool.from_module(self.name, network, removes=self.removes, interval=self.interval)


def _specs(removes: str, *edges: float) -> list[ToolSpec]:
    """Four tools between five edges; the two milder ones have three layers, the two stronger ones eight."""
    architectures = ("three-layer", "three-layer", "eight-layer", "eight-layer")
    intervals = zip(edges[:-1], edges[1:], architectures, strict=True)
    return [ToolSpec(f"{removes}-{n}", removes, (a, b), kind) for n, (a, b, kind) in enumerate(intervals, start=1)]


RL_RESTORE_12: Final = [
    *_specs("blur", 0, 1.25, 2.5, 3.75, 5),
    *_specs("noise", 0, 12.5, 25, 37.5, 50),
    *_specs("jpeg", 100, 60, 35, 20, 10),
]
"""The twelve tools of the paper's Table 1."""

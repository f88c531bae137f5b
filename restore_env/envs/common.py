"""What the single and the vector environment share: options, spaces, the pairs of new episodes, observations, infos."""

from collections.abc import Callable, Sequence
from math import isfinite
from numbers import Real
from typing import Any, Final, TypedDict

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray

from restore_env.data.distortions import DistortionModel
from restore_env.data.image_io import check_bytes
from restore_env.data.pairs import Pair, check_same_size, pairs_to_tensors
from restore_env.data.sources import PairSource
from restore_env.restoration.batch import RestorationBatch
from restore_env.restoration.rewards import Reward

ObservationDict = dict[str, Any]
Info = dict[str, Any]
ResetOptions = dict[str, Any]

RENDER_MODES: Final = (None, "rgb_array")

DISTORTION_KEYS: Final = ("blur_sigma", "noise_sigma", "jpeg_quality")
"""The parameters of distortions that infos hold."""

UNKNOWN: Final = -1.0
"""Stands for a parameter that is unknown, or whose distortion was not applied."""


class EnvOptions(TypedDict, total=False):
    """The options of `ImageRestoreEnv`, which the vector environments take too."""

    images: Any
    severity: str | DistortionModel
    toolbox: Any
    reward: str | Reward
    patch_size: int
    max_steps: int
    stop_action: bool
    time_limit: str
    stop_if_worse: bool
    include_step: bool
    device: str
    dtype: str | None
    render_mode: str | None


class EnvCore:
    """n episodes with the spaces, observations and infos of the environment.

    Args:
        source: the source of pairs for new episodes.
        batch: the batch that plays the episodes.
        patch_size: height and width of the images in pixels.
        include_step: whether observations hold the step.
        device: device of the batch.
    """

    def __init__(
        self, source: PairSource, batch: RestorationBatch, patch_size: int, include_step: bool, device: torch.device
    ) -> None:
        self.source, self.batch, self.include_step, self.device = source, batch, include_step, device
        self.shape = (patch_size, patch_size, 3)
        parts: dict[str, spaces.Space[Any]] = {
            "image": spaces.Box(0, 255, self.shape, np.uint8),
            "previous_action": spaces.Discrete(len(batch.toolbox) + 1),
        }
        if include_step:
            parts["step"] = spaces.Discrete(batch.max_steps + 1)
        self.observation_space = spaces.Dict(parts)
        self.action_space = spaces.Discrete(len(batch.toolbox) + batch.stop_action)
        self._parameters: NDArray[np.float64] = np.empty((0, len(DISTORTION_KEYS)))

    def sample(self, rng: np.random.Generator) -> Pair:
        """Draw a pair from the source."""
        return _copied(self.source.sample(rng))

    def pair(self, options: ResetOptions | None, draw: Callable[[], Pair]) -> Pair:
        """Return the pair of a new episode: a copy of that in the reset options, or the one that `draw` returns.

        Raises:
            TypeError, ValueError: if the options hold anything but two images of the environment's size.
        """
        pair = _given(options or {}) or draw()
        if pair.distorted.shape != self.shape or pair.reference.shape != self.shape:
            raise ValueError(
                f"a pair of the shape {pair.distorted.shape}; the patch_size of this environment needs {self.shape}"
            )
        return pair

    def start(self, pairs: Sequence[Pair]) -> None:
        """Begin all episodes."""
        self.batch.start(*pairs_to_tensors(pairs, self.device))
        self._parameters = np.array([_parameters(pair) for pair in pairs])

    def restart(self, rows: NDArray[np.int64], pairs: Sequence[Pair]) -> None:
        """Begin new episodes in some rows."""
        self.batch.restart(torch.from_numpy(rows).to(self.device), *pairs_to_tensors(pairs, self.device))
        self._parameters[rows] = [_parameters(pair) for pair in pairs]

    def observations(self, rows: NDArray[np.int64] | None = None) -> ObservationDict:
        """Return the observations of some episodes, by default of all, in new arrays."""
        observed = self.batch.observe(None if rows is None else torch.from_numpy(rows).to(self.device))
        result = {"image": observed.image.cpu().numpy(), "previous_action": observed.previous_action.cpu().numpy()}
        return result | ({"step": observed.step.cpu().numpy()} if self.include_step else {})

    def infos(self, rows: NDArray[np.int64]) -> Info:
        """Return the infos of k episodes: for each key a new array (k, ...)."""
        wanted = torch.from_numpy(rows).to(self.device)
        columns = {"psnr": self.batch.psnr, "step": self.batch.steps, "toolchain": self.batch.toolchains}
        infos: Info = {key: column[wanted].cpu().numpy() for key, column in columns.items()}
        infos["action_mask"] = self.action_masks(len(rows))
        return infos | dict(zip(DISTORTION_KEYS, self._parameters[rows].T.copy(), strict=True))

    def action_masks(self, *n: int) -> NDArray[np.bool_]:
        """Return a new mask of valid actions, bool (*n, actions); all actions are always valid."""
        return np.ones((*n, int(self.action_space.n)), dtype=np.bool_)


def _copied(pair: Pair) -> Pair:
    """Return a pair with images of its own: callers and sources may write over theirs."""
    return pair._replace(distorted=pair.distorted.copy(), reference=pair.reference.copy())


def _parameters(pair: Pair) -> list[float]:
    """Return the parameters of a pair's distortion that infos hold."""
    found = [(pair.distortion or {}).get(key) for key in DISTORTION_KEYS]
    return [float(value) if isinstance(value, Real) and isfinite(value) else UNKNOWN for value in found]


def _given(options: ResetOptions) -> Pair | None:
    """Return the pair that the options of a reset hold, or None."""
    unknown = options.keys() - {"distorted", "reference"}
    if unknown:
        raise ValueError(f"options has the key {min(unknown)!r}; 'distorted' and 'reference' are known")
    if not options:
        return None
    if len(options) < 2:
        raise ValueError("options holds one of 'distorted' and 'reference'; both are needed")
    distorted = check_bytes("options['distorted']", options["distorted"])
    reference = check_bytes("options['reference']", options["reference"])
    check_same_size(distorted, reference)
    return _copied(Pair(distorted, reference))

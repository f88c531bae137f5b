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
from restore_env.restoration.rewards import Reward, check_size
from restore_env.utils.checks import check_choice, check_flag

EnvObservation = dict[str, Any] | NDArray[np.uint8]
"""An observation: a dictionary, or the image alone."""

Info = dict[str, Any]
ResetOptions = dict[str, Any]

RENDER_MODES: Final = (None, "rgb_array")
OBSERVATIONS: Final = ("dict", "image")

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
    observation: str
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
        observation: "dict" or "image".
        device: device of the batch.

    Raises:
        TypeError, ValueError: if `include_step` or `observation` is none of these, they do not fit each other, or the
            patches are too small for the reward.
    """

    def __init__(
        self,
        source: PairSource,
        batch: RestorationBatch,
        patch_size: int,
        include_step: bool,
        observation: str,
        device: torch.device,
    ) -> None:
        check_size(batch.reward, patch_size)
        self.source, self.batch, self.device = source, batch, device
        self.shape = (patch_size, patch_size, 3)
        self.observation_space: spaces.Space[Any] = self._space(check_flag("include_step", include_step), observation)
        self.action_space = spaces.Discrete(len(batch.toolbox) + batch.stop_action)
        self._parameters: NDArray[np.float64] = np.empty((0, len(DISTORTION_KEYS)))

    def _space(self, include_step: bool, observation: str) -> spaces.Dict | spaces.Box:
        """Return the space of an observation."""
        check_choice("observation", observation, OBSERVATIONS)
        image = spaces.Box(0, 255, self.shape, np.uint8)
        if observation == "image":
            if include_step:
                raise ValueError("include_step=True needs observation='dict'; observation='image' is the image alone")
            return image
        counts = {"previous_action": len(self.batch.toolbox) + 1}
        counts |= {"step": self.batch.max_steps + 1} if include_step else {}
        return spaces.Dict({"image": image} | {key: spaces.Discrete(count) for key, count in counts.items()})

    def sample(self, rng: np.random.Generator) -> Pair:
        """Draw a pair from the source.

        Raises:
            TypeError, ValueError: if the source draws anything else.
        """
        pair = self.source.sample(rng)
        if not isinstance(pair, Pair):
            raise TypeError(f"the source of images drew {type(pair).__name__}; a restore_env.data.pairs.Pair is needed")
        check_bytes("the distorted image of a pair", pair.distorted)
        check_bytes("the reference image of a pair", pair.reference)
        return _copied(pair)

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
        self.batch.start(*pairs_to_tensors(pairs, self.device), [pair.label for pair in pairs])
        self._parameters = np.array([_parameters(pair) for pair in pairs])

    def restart(self, rows: NDArray[np.int64], pairs: Sequence[Pair]) -> None:
        """Begin new episodes in some rows."""
        images = pairs_to_tensors(pairs, self.device)
        self.batch.restart(torch.from_numpy(rows).to(self.device), *images, [pair.label for pair in pairs])
        self._parameters[rows] = [_parameters(pair) for pair in pairs]

    def observations(self, rows: NDArray[np.int64] | None = None) -> EnvObservation:
        """Return the observations of some episodes, by default of all, in new arrays."""
        observed = self.batch.observe(None if rows is None else torch.from_numpy(rows).to(self.device))
        if isinstance(self.observation_space, spaces.Dict):
            return {key: getattr(observed, key).cpu().numpy() for key in self.observation_space}
        images: NDArray[np.uint8] = observed.image.cpu().numpy()
        return images

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


def one_of(observations: EnvObservation, index: int) -> EnvObservation:
    """Return the observation of one of several episodes, in arrays of its own."""
    if isinstance(observations, dict):
        return {key: values[index].copy() for key, values in observations.items()}
    image: NDArray[np.uint8] = observations[index].copy()
    return image


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

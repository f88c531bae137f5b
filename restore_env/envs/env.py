"""The environments `ImageRestore-v1` and `ImageRestore-v0`."""

from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray

from restore_env.constants import DEFAULT_TOOLBOX, MAX_STEPS, PATCH_SIZE
from restore_env.data.distortions import DistortionModel
from restore_env.data.pairs import Pair
from restore_env.data.sources import as_source
from restore_env.envs.common import RENDER_MODES, EnvCore, EnvObservation, Info, ResetOptions, one_of
from restore_env.envs.rendering import draw_episode
from restore_env.restoration.batch import RestorationBatch
from restore_env.restoration.metrics import SMALLEST_SIDE
from restore_env.restoration.rewards import Reward
from restore_env.toolbox import Toolbox, load_toolbox
from restore_env.utils.checks import check_choice, check_device, check_whole
from restore_env.utils.threads import one_core


class ImageRestoreEnv(gym.Env[EnvObservation, np.int64]):
    """An environment in which an agent restores a distorted image with a toolbox of small restoration tools.

    ## Description
    A patch of a photo is blurred, noisy and compressed. At each step the agent sees the current image and chooses a
    tool, which is applied to the whole image, or it stops. This is the task of RL-Restore (Yu et al., CVPR 2018).
    `ImageRestore-v0` has the paper's tools, `ImageRestore-v1` has better ones.

    ## Action Space
    `Discrete(N + 1)` for a toolbox of N tools. These are the actions of `ImageRestore-v1`, with the toolbox
    `restore-12`:

    | action | meaning |
    | --- | --- |
    | 0, 1 | apply `blur-1` or `blur-2`: remove weak or strong Gaussian blur |
    | 2, 3 | apply `noise-1` or `noise-2`: remove weak or strong Gaussian noise |
    | 4, 5 | apply `jpeg-1` or `jpeg-2`: remove weak or strong JPEG artefacts |
    | 6 | apply `light`: remove a little blur, noise and JPEG artefacts |
    | 7 to 9 | apply `mild`, `moderate` or `severe`: remove all three at once, with a larger network |
    | 10, 11 | apply `refine-1` or `refine-2`: remove all three at once, with a small network |
    | 12 | stop: leave the image as it is and end the episode |

    `ImageRestore-v0` has the paper's toolbox `rl-restore-12` instead, with four tools against each distortion:

    | action | meaning |
    | --- | --- |
    | 0 to 3 | apply `blur-1` to `blur-4`: remove Gaussian blur, from mild to strong |
    | 4 to 7 | apply `noise-1` to `noise-4`: remove Gaussian noise, from mild to strong |
    | 8 to 11 | apply `jpeg-1` to `jpeg-4`: remove JPEG artefacts, from mild to strong |
    | 12 | stop: leave the image as it is and end the episode |

    With `stop_action=False` there is no stop action, and the space is `Discrete(N)`.

    ## Observation Space
    A `Dict` with these keys:

    | key | space | meaning |
    | --- | --- | --- |
    | `image` | `Box(0, 255, (63, 63, 3), uint8)` | current image, RGB, clipped and rounded |
    | `previous_action` | `Discrete(N + 1)` | last tool applied; N at first |
    | `step` | `Discrete(max_steps + 1)` | number of steps taken; only with `include_step=True` |

    `patch_size` changes the 63 pixels. With `observation="image"` an observation is the image alone, the same `Box`,
    for libraries that take nothing else. An agent then sees neither the previous action nor the step; infos hold both.

    ## Rewards
    The default `reward="step_psnr"` is the increase of the PSNR in dB (equation 1 of the paper). The other names are
    `"step_ssim"`, `"step_niqe"`, `"final_psnr"`, `"final_mse"`, `"cost"` and `"tools"`; `restore_env.Weighted` adds
    them up. A function of a `restore_env.Transition` is accepted too.

    ## Starting State
    A patch is drawn from the photos and distorted. To start from a given pair, call
    `reset(options={"distorted": ..., "reference": ...})` with two uint8 arrays (patch_size, patch_size, 3).

    ## Episode End
    - Termination: the agent stops. With `stop_if_worse=True` the episode also terminates when the PSNR falls below
      that of the input.
    - Truncation: the episode has `max_steps` steps. With `time_limit="terminate"` this is a termination instead.
      Algorithms that bootstrap from truncated episodes, such as PPO and DQN of SB3, need that.

    `env.spec.max_episode_steps` is None, because the environment counts the steps itself. With a number there,
    `gymnasium.make` would add a `TimeLimit`, which knows neither `max_steps` nor `time_limit`. Code that needs the
    length of an episode reads `env.get_wrapper_attr("max_steps")`.

    ## Information
    Infos have the same keys at each reset and step. The values are NumPy scalars and new arrays:

    | key | dtype | meaning |
    | --- | --- | --- |
    | `psnr` | float64 | PSNR of the current image in dB |
    | `step` | int64 | number of steps taken, *stop* included |
    | `toolchain` | int64 (max_steps,) | numbers of the tools applied so far, then -1 |
    | `action_mask` | bool (actions,) | actions that are valid in the next step: always all |
    | `blur_sigma` | float64 | standard deviation of the blur in pixels |
    | `noise_sigma` | float64 | standard deviation of the noise on the 0-255 scale |
    | `jpeg_quality` | float64 | JPEG quality from 1 to 100, where 100 is the best |

    The last three describe the distortion of the episode's first image. They are -1 where the distortion is unknown or
    was not applied. `pair.distortion` holds all parameters, those of your own distortions too.

    The mask is True for each tool and for *stop*: a tool may be applied twice, and an episode may stop at once. With
    `stop_action=False` there is no entry for *stop*. `action_masks()` returns the same mask, for MaskablePPO.

    ## Arguments
    Args:
        images: "embedded" (the photos that scikit-image ships), a folder of photos, a pairs file (.npz) or folder, a
            sequence of uint8 (h, w, 3) photos, or an object with `sample(rng) -> Pair`.
        severity: "mild", "moderate", "severe", "any", "everyday", "light", other damage ("motion", "defocus",
            "low-light", "salt-and-pepper", "web", "wild"), or a distortion such as `MixedDistortion([...])`.
        toolbox: "restore-12" (default of v1), "rl-restore-12" (default of v0), "classical", a toolbox folder, or a
            `Toolbox`.
        reward: the name of a reward, or a function.
        patch_size: height and width of the image in pixels, at least 11.
        max_steps: largest number of steps in an episode.
        stop_action: whether there is a stop action.
        time_limit: "truncate" or "terminate".
        stop_if_worse: whether an episode ends when its PSNR falls below that of the input.
        include_step: whether the observation holds the step; needs `observation="dict"`.
        observation: "dict", or "image" for the image alone.
        device: device of the tools, "cpu" or "cuda".
        dtype: precision of the networks' convolutions, "float32" or "bfloat16"; None keeps that of the toolbox.
        render_mode: None or "rgb_array".

    Raises:
        TypeError, ValueError: if an argument is none of these; the message names the argument.

    Example:
        >>> import gymnasium as gym
        >>> import restore_env
        >>> env = gym.make("ImageRestore-v1", toolbox="classical")
        >>> observation, info = env.reset(seed=0)
        >>> observation["image"].shape
        (63, 63, 3)
        >>> observation, reward, terminated, truncated, info = env.step(0)
        >>> int(info["step"]), info["toolchain"].tolist()
        (1, [0, -1, -1])

    ## Vectorized environment
    `gymnasium.make_vec("ImageRestore-v1", num_envs=64)` makes one batched environment instead of 64 copies. See
    `restore_env.ImageRestoreVectorEnv`.

    ## Version History
    - v1: the toolbox is `restore-12`. All else is as in v0.
    - v0: first version. Infos changed in 0.2: `toolchain` held names, `distortion` was a dictionary, only at reset, and
      there was no `action_mask`. Observations, rewards and transitions are the same.

    ## References
    Yu, Dong, Lin, Loy: Crafting a Toolchain for Image Restoration by Deep Reinforcement Learning, CVPR 2018.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"], "render_fps": 1}  # type: ignore[misc]

    def __init__(
        self,
        *,
        images: Any = "embedded",
        severity: str | DistortionModel = "moderate",
        toolbox: Any = DEFAULT_TOOLBOX,
        reward: str | Reward = "step_psnr",
        patch_size: int = PATCH_SIZE,
        max_steps: int = MAX_STEPS,
        stop_action: bool = True,
        time_limit: str = "truncate",
        stop_if_worse: bool = False,
        include_step: bool = False,
        observation: str = "dict",
        device: str = "cpu",
        dtype: str | None = None,
        render_mode: str | None = None,
    ) -> None:
        check_choice("render_mode", render_mode, RENDER_MODES)
        self.render_mode = render_mode
        self.patch_size = check_whole("patch_size", patch_size, SMALLEST_SIDE)
        found = check_device(device)
        self.toolbox: Toolbox = load_toolbox(toolbox, found, dtype)
        batch = RestorationBatch(
            self.toolbox,
            max_steps=max_steps,
            stop_action=stop_action,
            time_limit=time_limit,
            stop_if_worse=stop_if_worse,
            reward=reward,
            record=render_mode is not None,
        )
        source = as_source(images, severity, self.patch_size)
        self._core = EnvCore(source, batch, self.patch_size, include_step, observation, found)
        self.max_steps = batch.max_steps
        self.observation_space = self._core.observation_space
        self.action_space = self._core.action_space
        self._pair: Pair | None = None

    @property
    def pair(self) -> Pair:
        """The distorted and the reference image of the current episode, uint8 (h, w, 3).

        Raises:
            gymnasium.error.ResetNeeded: before the first reset.
        """
        if self._pair is None:
            raise gym.error.ResetNeeded("no episode has begun; call reset() first")
        return self._pair

    @one_core()  # an image is too small to share
    def reset(self, *, seed: int | None = None, options: ResetOptions | None = None) -> tuple[EnvObservation, Info]:
        """Begin an episode.

        Args:
            seed: seed of all later random numbers; None continues with the current generator.
            options: the pair of the episode, instead of a drawn one: `distorted` and `reference`, two uint8 arrays
                (patch_size, patch_size, 3).

        Returns:
            The observation and the info.

        Raises:
            TypeError, ValueError: if `options` holds anything else.
        """
        super().reset(seed=seed)
        pair = self._core.pair(options, lambda: self._core.sample(self.np_random))
        self._core.start([pair])
        self._pair = pair
        return self._observation(), self._info()

    @one_core()
    def step(self, action: Any) -> tuple[EnvObservation, float, bool, bool, Info]:
        """Apply a tool, or stop.

        Args:
            action: number of the tool, or of the stop action.

        Returns:
            The observation, the reward, whether the episode has terminated, whether it was truncated, and the info.

        Raises:
            ValueError: if `action` is out of range.
            ToolError: if the tool fails; the episode does not change.
            gymnasium.error.ResetNeeded: before the first reset, and after the end of an episode.
        """
        if self._pair is None or bool(self._core.batch.ended[0]):
            raise gym.error.ResetNeeded("the episode has ended or not begun; call reset() before step()")
        reward, terminated, truncated = self._core.batch.step(_one_action(action))
        return self._observation(), float(reward), bool(terminated), bool(truncated), self._info()

    def action_masks(self) -> NDArray[np.bool_]:
        """Return the mask of valid actions, bool (actions,), for MaskablePPO; all actions are always valid."""
        return self._core.action_masks()

    def render(self) -> NDArray[np.uint8] | None:
        """Draw the episode so far: the distorted image, the image after each step, and the reference.

        Returns:
            uint8 (h, w, 3), or None without a render mode.

        Raises:
            gymnasium.error.ResetNeeded: before the first reset.
        """
        if self.render_mode is None:
            gym.logger.warn("render() needs an environment made with render_mode='rgb_array'")
            return None
        if self._pair is None:
            raise gym.error.ResetNeeded("nothing to render yet; call reset() first")
        return draw_episode(self._core.batch, 0)

    def _info(self) -> Info:
        """Return the info."""
        return {key: value[0] for key, value in self._core.infos(np.zeros(1, np.int64)).items()}

    def _observation(self) -> EnvObservation:
        """Return the observation."""
        return one_of(self._core.observations(), 0)


def _one_action(action: Any) -> torch.Tensor:
    """Return an action as int64 (1,)."""
    array = np.asarray(action)
    if array.shape not in ((), (1,)) or not np.issubdtype(array.dtype, np.integer):
        raise ValueError(f"action {action!r} is not an integer")
    return torch.from_numpy(array.reshape(1).astype(np.int64))  # () or (1,) -> (1,)

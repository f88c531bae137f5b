"""The environment `ImageRestore-v0`."""

from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray

from restore_env.constants import DEFAULT_TOOLBOX, MAX_STEPS, PATCH_SIZE
from restore_env.data.distortions import DistortionModel
from restore_env.data.pairs import Pair
from restore_env.envs.common import Episodes, Info, ObservationDict, Options
from restore_env.envs.rendering import draw_episode
from restore_env.restoration.rewards import Reward


class ImageRestoreEnv(gym.Env[ObservationDict, np.int64]):
    """Restore a distorted image by choosing one small restoration tool after another.

    ## Description
    A patch of a photo has been blurred, made noisy and compressed. At every step the agent sees it as it is now and
    chooses a tool to apply to it, or stops. This is the task of RL-Restore (Yu et al., CVPR 2018).

    ## Action Space
    `Discrete(N + 1)` for a toolbox of N tools. With the shipped toolbox `rl-restore-12`:

    | action | meaning |
    | --- | --- |
    | 0 to 3 | `blur-1` to `blur-4`: remove Gaussian blur, mildest first |
    | 4 to 7 | `noise-1` to `noise-4`: remove Gaussian noise |
    | 8 to 11 | `jpeg-1` to `jpeg-4`: remove JPEG artefacts |
    | 12 | stop: leave the image as it is and end the episode |

    With `stop_action=False` it is `Discrete(N)`.

    ## Observation Space
    `Dict` of

    | key | space | meaning |
    | --- | --- | --- |
    | `image` | `Box(0, 255, (63, 63, 3), uint8)` | the present image, RGB, clipped and rounded |
    | `previous_action` | `Discrete(N + 1)` | the last tool applied; N: none yet |
    | `step` | `Discrete(max_steps + 1)` | steps taken; only with `include_step=True` |

    ## Rewards
    `reward="step_psnr"`: the rise of the PSNR in dB (paper, equation 1). Also `"step_ssim"`, `"final_psnr"`,
    `"final_mse"`, or a function of a `restore_env.Transition`.

    ## Starting State
    A patch drawn from the photos and distorted as a whole window, or what `reset(options={"distorted": ...,
    "reference": ...})` gives: two uint8 arrays (patch_size, patch_size, 3).

    ## Episode End
    Termination: the action stop; with `stop_if_worse=True` also when the PSNR falls below that of the input.
    Truncation: after `max_steps` steps; with `time_limit="terminate"` that is a termination too, which is what
    algorithms need that bootstrap through truncations.

    ## Information
    `psnr` in dB, `step`, `toolchain` (the names of the tools applied so far); at reset also `distortion`, the
    parameters drawn (`blur_sigma` in pixels, `noise_sigma` in levels of 0-255, `jpeg_quality`), where they are known.

    ## Arguments
    Args:
        images: "embedded" (the photos that scikit-image ships), a folder of photos, a pairs file (.npz) or folder, a
            sequence of uint8 (h, w, 3) photos, or an object with `sample(rng) -> Pair`.
        severity: "mild", "moderate", "severe", "any", "everyday", or a distortion such as `MixedDistortion([...])`.
        toolbox: "rl-restore-12", "classical", a toolbox folder, or a `Toolbox`.
        reward: a name as above, or a function.
        patch_size: height and width of the image in pixels, at least 11.
        max_steps: tools in an episode at most.
        stop_action: whether there is an action to stop.
        time_limit: "truncate" or "terminate".
        stop_if_worse: whether an episode ends that fell below its input.
        include_step: whether the observation holds the step.
        device: where the tools compute, "cpu" or "cuda".
        dtype: in which precision networks convolve, "float32" or "bfloat16"; None leaves the toolbox as it is.
        render_mode: None or "rgb_array".

    Raises:
        TypeError, ValueError: for an argument that is none of these; the message names it.

    ## Vectorized environment
    `gymnasium.make_vec("ImageRestore-v0", num_envs=64)` makes one batched environment, not 64 copies.

    ## Version History
    - v0: first version.

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
        device: str = "cpu",
        dtype: str | None = None,
        render_mode: str | None = None,
    ) -> None:
        self.render_mode = render_mode
        self._episodes = Episodes(
            images=images,
            severity=severity,
            toolbox=toolbox,
            reward=reward,
            patch_size=patch_size,
            max_steps=max_steps,
            stop_action=stop_action,
            time_limit=time_limit,
            stop_if_worse=stop_if_worse,
            include_step=include_step,
            device=device,
            dtype=dtype,
            render_mode=render_mode,
        )
        self.toolbox = self._episodes.toolbox
        self.patch_size, self.max_steps = self._episodes.patch_size, self._episodes.batch.max_steps
        self.observation_space = self._episodes.observation_space
        self.action_space = self._episodes.action_space
        self._pair: Pair | None = None

    @property
    def pair(self) -> Pair:
        """The distorted and the reference image of the present episode, uint8 (h, w, 3).

        Raises:
            gymnasium.error.ResetNeeded: before the first reset.
        """
        if self._pair is None:
            raise gym.error.ResetNeeded("no episode has begun; call reset() first")
        return self._pair

    def reset(self, *, seed: int | None = None, options: Options | None = None) -> tuple[ObservationDict, Info]:
        """Begin an episode.

        Args:
            seed: seed of all that is drawn from now on.
            options: `distorted` and `reference`, two uint8 arrays (patch_size, patch_size, 3), to use instead of
                drawing.
        """
        super().reset(seed=seed)
        pair = self._episodes.pair(options, lambda: self._episodes.source.sample(self.np_random))
        self._episodes.start([pair])
        self._pair = pair
        return self._observation(), self._info(pair)

    def step(self, action: Any) -> tuple[ObservationDict, float, bool, bool, Info]:
        """Apply the tool `action`, or stop.

        Raises:
            ValueError: if `action` is out of range.
            ToolError: if the tool fails; the episode stays where it was.
            gymnasium.error.ResetNeeded: before the first reset and after the end of an episode.
        """
        if self._pair is None or bool(self._episodes.batch.ended[0]):
            raise gym.error.ResetNeeded("the episode has ended or not begun; call reset() before step()")
        reward, terminated, truncated = self._episodes.batch.step(_one_action(action))
        return self._observation(), float(reward), bool(terminated), bool(truncated), self._info()

    def action_masks(self) -> NDArray[np.bool_]:
        """Which actions can be taken, bool (actions,), as MaskablePPO asks for it: always all."""
        return np.ones(int(self._episodes.action_space.n), dtype=np.bool_)

    def render(self) -> NDArray[np.uint8] | None:
        """The episode so far as uint8 (h, w, 3): distorted, after each step, reference; None without a render mode."""
        if self.render_mode is None:
            gym.logger.warn("render() needs an environment made with render_mode='rgb_array'")
            return None
        if self._pair is None:
            raise gym.error.ResetNeeded("nothing to render yet; call reset() first")
        return draw_episode(self._episodes.batch, 0)

    def _info(self, *pair: Pair) -> Info:
        return self._episodes.infos(np.zeros(1, np.int64), pair)[0]

    def _observation(self) -> ObservationDict:
        rows = self._episodes.observations()
        return {key: value[0] if key == "image" else np.int64(value[0]) for key, value in rows.items()}


def _one_action(action: Any) -> torch.Tensor:
    array = np.asarray(action)
    if array.shape not in ((), (1,)) or not np.issubdtype(array.dtype, np.integer):
        raise ValueError(f"action {action!r} is not an integer")
    return torch.from_numpy(array.reshape(1).astype(np.int64))

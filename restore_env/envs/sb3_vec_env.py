"""The batched environment for Stable-Baselines3.

Needs stable-baselines3, which the extra `train` installs. Nothing else in the package imports this module.
"""

from collections.abc import Sequence
from typing import Any, Unpack

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray
from stable_baselines3.common.vec_env.base_vec_env import VecEnv, VecEnvIndices, VecEnvObs, VecEnvStepReturn

from restore_env.envs.common import EnvOptions
from restore_env.envs.vector_env import ImageRestoreVectorEnv


class SB3VecEnv(VecEnv):
    """A `VecEnv` of SB3 with `num_envs` environments `ImageRestore-v1`, computed as one batch.

    It returns the same values as SB3's `DummyVecEnv` over single environments. It is faster, because each tool is
    applied once to all images that need it. Set `time_limit="terminate"`: SB3 bootstraps from truncated episodes, which
    makes the values wrong here. `CnnPolicy` and `VecFrameStack` need `observation="image"`. MaskablePPO finds
    `action_masks`, as in single environments.

    Args:
        num_envs: number of environments.
        prefetch: whether a thread draws the pairs of the next episodes ahead.
        **options: the options of `ImageRestoreEnv`.

    Raises:
        TypeError, ValueError: if an argument is none of these; the message names the argument.

    Example:
        >>> from stable_baselines3 import PPO
        >>> from stable_baselines3.common.vec_env import VecMonitor
        >>> envs = SB3VecEnv(2, toolbox="classical", time_limit="terminate")
        >>> model = PPO("MultiInputPolicy", VecMonitor(envs), n_steps=4, batch_size=8, n_epochs=1)
        >>> model.learn(8).num_timesteps
        8
        >>> envs.close()
    """

    def __init__(self, num_envs: int = 1, *, prefetch: bool = True, **options: Unpack[EnvOptions]) -> None:
        self.envs = ImageRestoreVectorEnv(
            num_envs, prefetch=prefetch, autoreset_mode=AutoresetMode.SAME_STEP, **options
        )
        self._actions: NDArray[np.int64] = np.empty(0, np.int64)
        super().__init__(num_envs, self.envs.single_observation_space, self.envs.single_action_space)

    def reset(self) -> VecEnvObs:
        """Begin all episodes and return the observations; seeds and options that were set are used once."""
        observations, infos = self.envs.reset(seed=self._seeds, options=self._stacked_options())
        self.reset_infos = [_row(infos, row) for row in range(self.num_envs)]
        self._reset_seeds()
        self._reset_options()
        return observations

    def step_async(self, actions: NDArray[Any]) -> None:
        """Store the actions, integers (num_envs,), for `step_wait`."""
        self._actions = np.asarray(actions)

    def step_wait(self) -> VecEnvStepReturn:
        """Take the step and return observations, rewards, dones and infos.

        Episodes that end begin anew. Their last observation is `terminal_observation` in their info.
        """
        observations, rewards, terminated, truncated, infos = self.envs.step(self._actions)
        done = terminated | truncated
        rows = [_row(infos, row) for row in range(self.num_envs)]
        for row in np.flatnonzero(done).tolist():
            last, final = rows[row].pop("final_obs"), rows[row].pop("final_info")
            self.reset_infos[row] = rows[row]
            rows[row] = final | {"terminal_observation": last}
        for row, info in enumerate(rows):
            info["TimeLimit.truncated"] = bool(truncated[row] and not terminated[row])
        return observations, rewards.astype(np.float32), done, rows

    def close(self) -> None:
        """Close the environment."""
        self.envs.close()

    def get_images(self) -> Sequence[NDArray[np.uint8] | None]:
        """Return a picture of each episode, uint8 (h, w, 3); None without a render mode."""
        return self.envs.render() or [None] * self.num_envs

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """Return an attribute of the batched environment, once for each index: all environments share it."""
        return [getattr(self.envs, attr_name) for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Set an attribute of the batched environment, which all environments share.

        Raises:
            ValueError: if `indices` does not name all environments.
        """
        if sorted(self._get_indices(indices)) != list(range(self.num_envs)):
            raise ValueError(f"indices={indices!r}: {attr_name!r} can be set for all environments only")
        setattr(self.envs, attr_name, value)

    def env_method(
        self, method_name: str, *method_args: Any, indices: VecEnvIndices = None, **method_kwargs: Any
    ) -> list[Any]:
        """Call a method of the batched environment that returns one row per environment; return those of `indices`."""
        rows = getattr(self.envs, method_name)(*method_args, **method_kwargs)
        return [rows[index] for index in self._get_indices(indices)]

    def env_is_wrapped(
        self, wrapper_class: type[gym.Wrapper[Any, Any, Any, Any]], indices: VecEnvIndices = None
    ) -> list[bool]:
        """Return False for each index: there are no single environments. Wrap this one instead, as in `VecMonitor`."""
        return [False for _ in self._get_indices(indices)]

    def _stacked_options(self) -> dict[str, Any]:
        """Return the reset options of all environments as those of the batched environment."""
        keys = {key for options in self._options for key in options}
        missing = [row for row, options in enumerate(self._options) if options.keys() != keys]
        if missing:
            raise ValueError(f"options of environment {missing[0]}: all environments need the same, {sorted(keys)}")
        return {key: np.stack([options[key] for options in self._options]) for key in keys}


def _row(infos: dict[str, Any], row: int) -> dict[str, Any]:
    """Return the info of one environment as a single environment returns it."""
    return {
        key: _row(values, row) if isinstance(values, dict) else values[row]
        for key, values in infos.items()
        if not key.startswith("_") and infos[f"_{key}"][row]
    }

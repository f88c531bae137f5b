"""Stable-Baselines3 on the batched environment.

    from restore_env import SB3VecEnv

    envs = SB3VecEnv(64, time_limit="terminate")
    model = PPO("MultiInputPolicy", VecMonitor(envs))

Needs stable-baselines3; nothing else of the package imports this module.
"""

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray
from stable_baselines3.common.vec_env.base_vec_env import VecEnv, VecEnvIndices, VecEnvObs, VecEnvStepReturn

from restore_env.envs.vector_env import ImageRestoreVectorEnv


class SB3VecEnv(VecEnv):
    """The batched environment as the `VecEnv` that SB3's algorithms take.

    It returns, step by step, what SB3's `DummyVecEnv` over as many single environments would, but applies each tool
    once to all images that chose it. SB3 bootstraps through truncations: without `time_limit="terminate"` its values
    are wrong.

    Args:
        num_envs: how many environments.
        options: as in `ImageRestoreEnv`.

    Raises:
        TypeError, ValueError: for an argument that is none of these; the message names it.
    """

    def __init__(self, num_envs: int = 1, **options: Any) -> None:
        self.envs = ImageRestoreVectorEnv(num_envs, autoreset_mode=AutoresetMode.SAME_STEP, **options)
        self._actions: NDArray[np.int64] = np.empty(0, np.int64)
        super().__init__(num_envs, self.envs.single_observation_space, self.envs.single_action_space)

    def reset(self) -> VecEnvObs:
        """Begin all episodes; seeds and options that were set are used once."""
        observations, infos = self.envs.reset(seed=self._seeds, options=self._stacked_options())
        self.reset_infos = [_row(infos, row) for row in range(self.num_envs)]
        self._reset_seeds()
        self._reset_options()
        return observations

    def step_async(self, actions: NDArray[Any]) -> None:
        """Take note of the actions, (num_envs,) integers."""
        self._actions = np.asarray(actions)

    def step_wait(self) -> VecEnvStepReturn:
        """Take the step; episodes that end begin anew, their last observation is in their info."""
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
        """A picture of each episode, None without a render mode."""
        return self.envs.render() or [None] * self.num_envs

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """An attribute of the batched environment, once for each index: all environments share it."""
        return [getattr(self.envs, attr_name) for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Set an attribute for all environments; they have none of their own.

        Raises:
            ValueError: if `indices` are not all.
        """
        if sorted(self._get_indices(indices)) != list(range(self.num_envs)):
            raise ValueError(f"indices={indices!r}: {attr_name!r} can be set for all environments only")
        setattr(self.envs, attr_name, value)

    def env_method(
        self, method_name: str, *method_args: Any, indices: VecEnvIndices = None, **method_kwargs: Any
    ) -> list[Any]:
        """Call a method of the batched environment that returns a row for each environment; those of the indices."""
        rows = getattr(self.envs, method_name)(*method_args, **method_kwargs)
        return [rows[index] for index in self._get_indices(indices)]

    def env_is_wrapped(
        self, wrapper_class: type[gym.Wrapper[Any, Any, Any, Any]], indices: VecEnvIndices = None
    ) -> list[bool]:
        """No single environment is wrapped, for there is none; wrap this one, in `VecMonitor` for example."""
        return [False for _ in self._get_indices(indices)]

    def _stacked_options(self) -> dict[str, Any]:
        """The environments' options as those of the batched one."""
        keys = {key for options in self._options for key in options}
        missing = [row for row, options in enumerate(self._options) if options.keys() != keys]
        if missing:
            raise ValueError(f"options of environment {missing[0]}: all environments need the same, {sorted(keys)}")
        return {key: np.stack([options[key] for options in self._options]) for key in keys}


def _row(infos: dict[str, Any], row: int) -> dict[str, Any]:
    """The info of one environment, as the single environment would give it."""
    return {
        key: _value(values, row) for key, values in infos.items() if not key.startswith("_") and infos[f"_{key}"][row]
    }


def _value(values: Any, row: int) -> Any:
    if isinstance(values, dict):
        return _row(values, row)
    value = values[row]
    return value.item() if isinstance(value, np.generic) else value

"""A wrapper that writes down what any agent does."""

from os import PathLike
from typing import Any

import gymnasium as gym
import numpy as np

from restore_env.data.toolchain_log import LogHeader, ToolchainLogWriter, Toolchains
from restore_env.envs.common import Info, ObservationDict
from restore_env.envs.env import ImageRestoreEnv
from restore_env.restoration.batch import NO_TOOL
from restore_env.toolbox.fingerprint import digest_of_toolbox


class RecordToolchains(
    gym.Wrapper[ObservationDict, np.int64, ObservationDict, np.int64], gym.utils.RecordConstructorArgs
):
    """Writes the toolchain of every finished episode to a toolchain log (`restore_env.data.toolchain_log`).

    Episodes that are reset before their end are left out. Call `close`, or use the environment in a `with` block, so
    that the last toolchains are written; a log that is there already is gone on with.

    Args:
        env: `ImageRestore-v0`, wrapped or not.
        folder: of the log.
        policy: name of who acts, for the record.

    Raises:
        TypeError: if it is another environment.
        ValueError: if the folder holds a log of another environment, of other tools, or of a policy of another name.
    """

    def __init__(
        self, env: gym.Env[ObservationDict, np.int64], folder: str | PathLike[str], policy: str = "unknown"
    ) -> None:
        gym.utils.RecordConstructorArgs.__init__(self, folder=folder, policy=policy)
        super().__init__(env)
        if not isinstance(env.unwrapped, ImageRestoreEnv):
            raise TypeError(f"env={env} is not ImageRestore-v0")
        self._inner = env.unwrapped
        toolbox = self._inner.toolbox
        header = LogHeader(
            policy,
            toolbox.name,
            toolbox.action_names,
            self._inner.patch_size,
            self._inner.max_steps,
            "RecordToolchains",
            digest=digest_of_toolbox(toolbox),
        )
        self._log = ToolchainLogWriter(folder, header)

    def step(self, action: Any) -> tuple[ObservationDict, Any, bool, bool, Info]:
        """Take a step; at the end of an episode its toolchain is written down."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        if terminated or truncated:
            self._record(info["toolchain"])
        return observation, reward, terminated, truncated, info

    def close(self) -> None:
        """Write what is waiting, and close the environment."""
        self._log.flush()
        super().close()

    def _record(self, names: tuple[str, ...]) -> None:
        tools = self._inner.toolbox.names
        chain = [tools.index(name) for name in names]
        chain += [NO_TOOL] * (self._inner.max_steps - len(chain))
        pair = self._inner.pair
        self._log.add(Toolchains(pair.distorted[None], pair.reference[None], np.array([chain])))

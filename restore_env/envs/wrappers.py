"""A wrapper that records the toolchains of any agent."""

from os import PathLike
from typing import Any

import gymnasium as gym
import numpy as np

from restore_env.data.toolchain_log import LogHeader, ToolchainLogWriter, Toolchains
from restore_env.envs.common import EnvObservation, Info
from restore_env.envs.env import ImageRestoreEnv
from restore_env.toolbox.fingerprint import digest_of_toolbox


class RecordToolchains(
    gym.Wrapper[EnvObservation, np.int64, EnvObservation, np.int64], gym.utils.RecordConstructorArgs
):
    """Records the toolchain of each finished episode in a toolchain log (`restore_env.load_toolchain_log`).

    Episodes that are reset before their end are not recorded. Call `close` or use a `with` block, so that the last
    toolchains are written. An existing log of the same policy and environment is extended. Several environments may
    record into one folder, such as those of a vector environment.

    Args:
        env: an environment `ImageRestore-v1` or `ImageRestore-v0`, which may be wrapped.
        folder: the folder of the log.
        policy: name of the agent, for the record.

    Raises:
        TypeError: if `env` is another environment.
        ValueError: if the folder holds a log of another environment, of other tools or of another policy.

    Example:
        >>> import tempfile
        >>> import gymnasium as gym
        >>> import restore_env
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with RecordToolchains(gym.make("ImageRestore-v1", toolbox="classical"), folder, "mine") as env:
        ...         _ = env.reset(seed=0)
        ...         ends = [env.step(action)[3] for action in (0, 0, 1)]
        ...     log = restore_env.load_toolchain_log(folder)
        >>> ends, len(log)
        ([False, False, True], 1)
    """

    def __init__(
        self, env: gym.Env[EnvObservation, np.int64], folder: str | PathLike[str], policy: str = "unknown"
    ) -> None:
        gym.utils.RecordConstructorArgs.__init__(self, folder=folder, policy=policy)
        super().__init__(env)
        if not isinstance(env.unwrapped, ImageRestoreEnv):
            raise TypeError(f"env={env} is no ImageRestoreEnv")
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

    def step(self, action: Any) -> tuple[EnvObservation, Any, bool, bool, Info]:
        """Take a step, and record the toolchain if the episode ends; see `ImageRestoreEnv.step`."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        if terminated or truncated:
            pair, chain = self._inner.pair, self._inner._core.batch.toolchains
            images = pair.distorted[None], pair.reference[None]
            self._log.add(Toolchains(*images, chain.cpu().numpy().copy(), [pair.distortion]))
        return observation, reward, terminated, truncated, info

    def close(self) -> None:
        """Write the toolchains that are still in memory, and close the environment."""
        self._log.flush()
        super().close()

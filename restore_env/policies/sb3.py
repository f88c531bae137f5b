"""The deprecated name of `restore_env.envs.sb3_vec_env`."""

from warnings import warn

from restore_env.envs.sb3_vec_env import *  # noqa: F403

warn(
    "restore_env.policies.sb3 is deprecated and goes with version 0.3; import SB3VecEnv from restore_env",
    DeprecationWarning,
    stacklevel=2,
)

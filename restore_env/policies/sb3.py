"""Old name of `restore_env.envs.sb3_vec_env`; it goes with version 0.3."""

from warnings import warn

from restore_env.envs.sb3_vec_env import *  # noqa: F403

warn(
    "restore_env.policies.sb3 goes with version 0.3; SB3VecEnv comes from restore_env", DeprecationWarning, stacklevel=2
)

"""The deprecated name of `restore_env.restoration.rewards`."""

from warnings import warn

from restore_env.restoration.rewards import *  # noqa: F403

warn(
    "restore_env.rewards is deprecated and goes with version 0.3; import Transition from restore_env",
    DeprecationWarning,
    stacklevel=2,
)

"""Old name of `restore_env.restoration.rewards`; it goes with version 0.3."""

from warnings import warn

from restore_env.restoration.rewards import *  # noqa: F403

warn("restore_env.rewards goes with version 0.3; Transition comes from restore_env", DeprecationWarning, stacklevel=2)

"""The deprecated name of `restore_env.data.distortions` and `restore_env.utils.tensors`."""

from warnings import warn

from restore_env.data.distortions import *  # noqa: F403
from restore_env.utils.tensors import *  # noqa: F403

warn(
    "restore_env.distortions is deprecated and goes with version 0.3; import the distortions from restore_env",
    DeprecationWarning,
    stacklevel=2,
)

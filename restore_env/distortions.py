"""Old name of `restore_env.data.distortions`, `restore_env.utils.tensors`; it goes with version 0.3."""

from warnings import warn

from restore_env.data.distortions import *  # noqa: F403
from restore_env.utils.tensors import *  # noqa: F403

warn(
    "restore_env.distortions goes with version 0.3; the distortions come from restore_env",
    DeprecationWarning,
    stacklevel=2,
)

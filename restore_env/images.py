"""Old name of `restore_env.data.image_io`, `restore_env.data.photos`; it goes with version 0.3."""

from warnings import warn

from restore_env.data.image_io import *  # noqa: F403
from restore_env.data.photos import *  # noqa: F403

warn(
    "restore_env.images goes with version 0.3; read_image and write_image come from restore_env",
    DeprecationWarning,
    stacklevel=2,
)

"""The deprecated name of `restore_env.data.image_io` and `restore_env.data.photos`."""

from warnings import warn

from restore_env.data.image_io import *  # noqa: F403
from restore_env.data.photos import *  # noqa: F403

warn(
    "restore_env.images is deprecated and goes with version 0.3; import read_image and write_image from restore_env",
    DeprecationWarning,
    stacklevel=2,
)

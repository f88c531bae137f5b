"""The deprecated name of `restore_env.data.pairs`, `.sampling` and `.sources`."""

from warnings import warn

from restore_env.data.pairs import *  # noqa: F403
from restore_env.data.sampling import *  # noqa: F403
from restore_env.data.sources import *  # noqa: F403

warn(
    "restore_env.pairs is deprecated and goes with version 0.3; import Pairs, as_source, ... from restore_env",
    DeprecationWarning,
    stacklevel=2,
)

"""Old name of `restore_env.data.pairs`, `restore_env.data.sampling`, `restore_env.data.sources`; it goes with version 0.3."""

from warnings import warn

from restore_env.data.pairs import *  # noqa: F403
from restore_env.data.sampling import *  # noqa: F403
from restore_env.data.sources import *  # noqa: F403

warn(
    "restore_env.pairs goes with version 0.3; Pairs, draw_pairs and as_source come from restore_env",
    DeprecationWarning,
    stacklevel=2,
)

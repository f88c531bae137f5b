"""One program per published number, with its results beside it."""

import restore_env  # noqa: F401 - before imports that take time; see `restore_env.utils.interrupts`

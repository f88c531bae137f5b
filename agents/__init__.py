"""Recipes that produce policies; run them from a checkout."""

import restore_env  # noqa: F401 - before imports that take time; see `restore_env.utils.interrupts`

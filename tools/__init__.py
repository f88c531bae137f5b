"""Recipes that produce toolboxes; run them from a checkout, as `python -m tools.train_toolbox`."""

import restore_env  # noqa: F401 - before imports that take time; see `restore_env.utils.interrupts`

"""The command `restore-env`."""

from restore_env.cli.main import main

__all__ = ["main"]

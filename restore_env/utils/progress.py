"""What a program shows on the terminal: a progress bar, and names that it cannot show."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import TextIOWrapper

from rich import progress
from rich.console import Console

Progress = Callable[[float], None]
"""Function that is called with the share of the work that is done, from 0 to 1."""


def escape_names() -> None:
    """Let standard output escape what it cannot encode, such as the name of a file that is not in UTF-8.

    Standard error does so already. A program would otherwise fail after it has written the file.
    """
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


@contextmanager
def progress_bar(what: str) -> Iterator[Progress]:
    """Show a progress bar on standard error while the block runs; show nothing if that is not a terminal.

    Args:
        what: name of the work, shown before the bar.

    Yields:
        The function that moves the bar.
    """
    console = Console(stderr=True)
    columns = (progress.TextColumn("{task.description}"), progress.BarColumn(), progress.TimeRemainingColumn())
    with progress.Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=1.0)
        yield lambda done: bar.update(task, completed=done)

"""How far some work has come, as a bar on the terminal."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich import progress
from rich.console import Console

Progress = Callable[[float], None]
"""Called with the share of some work that is done, up to 1."""


@contextmanager
def progress_bar(what: str) -> Iterator[Progress]:
    """Yield a function to call with the share that is done; the bar is on standard error, where that is a terminal."""
    console = Console(stderr=True)
    columns = (progress.TextColumn("{task.description}"), progress.BarColumn(), progress.TimeRemainingColumn())
    with progress.Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=1.0)
        yield lambda done: bar.update(task, completed=done)

"""What the commands share: checks before all work, messages, and jobs of many photos."""

from collections.abc import Callable, Mapping, Sequence

import click

from restore_env.cli.folders import Job, run_jobs
from restore_env.utils.files import Paths, check_outputs
from restore_env.utils.progress import Progress, progress_bar


def begin(inputs: Mapping[str, Paths], files: Mapping[str, Paths]) -> None:
    """Check what a command reads and writes before all work, as `check_outputs` does; limit threads and memory."""
    from restore_env.policies import available_policies
    from restore_env.toolbox import available_toolboxes
    from restore_env.utils.memory import return_large_pieces
    from restore_env.utils.threads import limit_threads

    limit_threads()
    return_large_pieces()
    check_outputs(inputs, files=files, names=(*available_toolboxes(), *available_policies()))


def run_all(jobs: Sequence[Job], one: Callable[[Job, Progress], None], at_once: int = 1) -> int:
    """Do all jobs, print a line for each that fails, and return 1 if one failed."""
    with progress_bar("photos") as progress:
        return min(1, run_jobs(jobs, one, at_once, say, progress))


def say(message: object) -> None:
    """Print a message as one line on standard error."""
    click.echo(f"restore-env: {' '.join(str(message).split())}", err=True)

"""What every program shares: the folder of its run, and how it ends."""

import sys
from collections.abc import Callable
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from restore_env.errors import ToolError
from restore_env.training.signals import Stopped


def run_folder(output: Path, checkpoints: Path | None) -> Path:
    """Return the folder of all that belongs to an unfinished run.

    Args:
        output: what the program writes at its end.
        checkpoints: the folder that the user named; None stands for `runs/` and the output's name.

    Example:
        >>> run_folder(Path("agents/mine"), None).as_posix()
        'runs/mine'
    """
    return checkpoints or Path("runs") / output.resolve().name.removesuffix(".zip")


def run_program(main: Callable[[], object]) -> None:
    """Call a program; wrong input, a lost process or a signal end it with one line instead of a traceback.

    Raises:
        SystemExit: with the exit code that a shell expects, where the program did not end well.
    """
    name = Path(sys.argv[0]).stem
    try:
        main()
    except (ValueError, ToolError, OSError) as error:
        sys.exit(f"{name}: {error}")
    except BrokenProcessPool:
        sys.exit(f"{name}: a process died (killed, or out of memory?); run the same command again to go on")
    except Stopped as error:
        print(f"{name}: {error}; run the same command again to go on", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        print(f"{name}: stopped; run the same command again", file=sys.stderr)
        sys.exit(130)

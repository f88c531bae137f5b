"""What every program shares: the folder of its run, and how it ends."""

import sys
from collections.abc import Callable
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import TypeVar

import torch
import tyro

from restore_env.errors import ToolError
from restore_env.training.signals import Stopped
from restore_env.utils.files import make_folders

Args = TypeVar("Args")


def program_name() -> str | None:
    """Return how the running program is called, such as `python -m agents.train_drqn`; None if it is no module."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    return f"python -m {spec.name}" if spec else None


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


def make_run_folder(output: Path, checkpoints: Path | None, part: str = "") -> Path:
    """Make the folder that a program writes, and that of its unfinished run; return the second.

    Args:
        output: the folder, or a .zip file, whose parent is made.
        checkpoints: the folder that the user named for the run, or None; see `run_folder`.
        part: folder within that of the run, for a program whose runs share one.
    """
    folder = run_folder(output, checkpoints) / part
    make_folders(output.resolve().parent if output.suffix == ".zip" else output, folder)
    return folder


def flush_denormals() -> None:
    """Let numbers below 1e-38 be zero in this thread and in those that it starts.

    Where units of a network die, the optimizer's numbers decay so far after some thousand updates. The processor then
    computes with them fifty times slower.
    """
    torch.set_flush_denormal(True)


def run_program(main: Callable[[Args], object], options: type[Args] | Callable[[], Args]) -> None:
    """Call a program; wrong input, a lost process or a signal end it with one line instead of a traceback.

    Args:
        main: the program.
        options: dataclass of its options on the command line, or a function that reads these.

    Raises:
        SystemExit: with the exit code that a shell expects, where the program did not end well.
    """
    name = Path(sys.argv[0]).stem
    flush_denormals()
    try:
        main(tyro.cli(options, prog=program_name()) if isinstance(options, type) else options())
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

"""What every program shares: the folder of its run, and how it ends."""

import sys
from collections.abc import Callable
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import torch

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


def flush_denormals() -> None:
    """Let numbers below 1e-38 be zero in this thread and in those that it starts.

    Where units of a network die, the optimizer's numbers decay so far after some thousand updates. The processor then
    computes with them fifty times slower.
    """
    torch.set_flush_denormal(True)


def run_program(main: Callable[[], object]) -> None:
    """Call a program; wrong input, a lost process or a signal end it with one line instead of a traceback.

    Raises:
        SystemExit: with the exit code that a shell expects, where the program did not end well.
    """
    name = Path(sys.argv[0]).stem
    flush_denormals()
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

"""What every program shares: the folder of its run, and how it ends."""

import sys
from collections.abc import Callable, Mapping
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Final, TypeVar

import torch
import tyro
from filelock import BaseFileLock, FileLock, Timeout
from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

from restore_env.errors import DiskFullError, ToolError, is_out_of_memory
from restore_env.policies import available_policies
from restore_env.toolbox import available_toolboxes
from restore_env.training.signals import Stopped
from restore_env.utils.checks import one_line
from restore_env.utils.files import Paths, check_outputs, make_folders, real_path
from restore_env.utils.interrupts import raise_interrupts
from restore_env.utils.progress import escape_names
from restore_env.utils.threads import limit_threads

Args = TypeVar("Args")

LOCK: Final = ".lock"
"""File in a run's folder that the running program holds."""

_locks: Final[dict[Path, BaseFileLock]] = {}
"""What this process holds, by the folder."""


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
    return checkpoints or Path("runs") / real_path(output).name.removesuffix(".zip")


def check_paths(inputs: Mapping[str, Paths], **outputs: Mapping[str, Paths]) -> None:
    """Check what a program reads and writes before all work, as `check_outputs` does.

    Args:
        inputs: what it reads, by the names of the options; names of shipped toolboxes and policies are no paths.
        outputs: `files`, `folders` and `work`, as for `check_outputs`.
    """
    check_outputs(inputs, **outputs, names=("embedded", *available_toolboxes(), *available_policies()))


def check_run(inputs: Mapping[str, Paths], output: Path, checkpoints: Path | None, part: str = "") -> None:
    """Check what a program with an unfinished run reads and writes, before all work.

    Args:
        inputs: what it reads, by the names of the options.
        output: the folder, or a .zip file beside which a .json file is written.
        checkpoints: the folder that the user named for the run, or None; see `run_folder`.
        part: folder within that of the run, for a program whose runs share one.
    """
    is_file = output.suffix == ".zip"
    written: Mapping[str, Paths] = {"--output": [output, output.with_suffix(".json")] if is_file else output}
    work = {"--checkpoints": run_folder(output, checkpoints) / part}
    check_paths(inputs, work=work, **{"files" if is_file else "folders": written})


def make_run_folder(output: Path, checkpoints: Path | None, part: str = "") -> Path:
    """Make the folder that a program writes, and that of its unfinished run, which is locked; return the second.

    Args:
        output: the folder, or a .zip file, whose parent is made.
        checkpoints: the folder that the user named for the run, or None; see `run_folder`.
        part: folder within that of the run, for a program whose runs share one.

    Raises:
        ValueError: if a folder cannot be made, or another program writes to that of the run.
    """
    folder = run_folder(output, checkpoints) / part
    make_folders(real_path(output).parent if output.suffix == ".zip" else output, folder)
    lock_folder(folder)
    return folder


def lock_folder(folder: Path) -> None:
    """Keep other programs from writing to a folder until this process ends, even if it is killed.

    Raises:
        ValueError: if another program writes to it.
    """
    place = real_path(folder)
    if place in _locks:
        return
    lock = FileLock(place / LOCK, timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise ValueError(
            f"{folder}: another program writes to this folder; wait for its end, or choose another folder"
        ) from error
    _locks[place] = lock


_PATHS: Final = ConstructorRegistry()
"""How tyro reads options."""


@_PATHS.primitive_rule
def _path(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Path] | None:
    """Refuse an empty path, which would stand for the folder that the program runs in."""

    def read(words: list[str]) -> Path:
        if not words[0]:
            raise ValueError("an empty path")
        return Path(words[0])

    if info.type is not Path:
        return None
    return PrimitiveConstructorSpec(1, "PATH", read, lambda value: isinstance(value, Path), lambda path: [str(path)])


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
    limit_threads()
    try:
        raise_interrupts()
        escape_names()
        with _PATHS:
            args = tyro.cli(options, prog=program_name()) if isinstance(options, type) else options()
        main(args)
    except DiskFullError as error:
        sys.exit(f"{name}: {error}; make room, and run the same command again to go on")
    except (ValueError, ToolError, OSError) as error:
        sys.exit(f"{name}: {one_line(error, longest=None)}")
    except BrokenProcessPool:
        sys.exit(f"{name}: a process died (killed, or out of memory?); run the same command again to go on")
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        sys.exit(f"{name}: not enough memory; smaller numbers need less ({one_line(error, longest=None)})")
    except Stopped as error:
        print(f"{name}: {error}; run the same command again to go on", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        print(f"{name}: stopped; run the same command again", file=sys.stderr)
        sys.exit(130)

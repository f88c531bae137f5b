"""How every program ends: well, or with one line that says why not."""

import sys
from collections.abc import Callable
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from restore_env.errors import ToolError
from restore_env.training.signals import Stopped


def run_program(main: Callable[[], object]) -> None:
    """Call what a program does; wrong input, a lost process or a signal end it with a line instead of a traceback.

    Raises:
        SystemExit: then, with what a shell expects.
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

"""Let Ctrl-C end a program without a traceback while it starts: its imports take seconds.

This module is imported before everything else, and imports nothing that takes time.
"""

import signal
import sys
from pathlib import Path

PACKAGES = ("agents", "tools", "benchmarks")


def is_program_starting() -> bool:
    """Return whether Python has just started a program of this project: `restore-env`, or `python -m agents....`."""
    started = sys.argv[0] if sys.argv else ""
    if started != "-m":  # what Python has for the name of a module that it is still looking for
        return Path(started).stem == "restore-env"
    words = sys.orig_argv
    module = words[words.index("-m") + 1] if "-m" in words[:-1] else ""
    return module.partition(".")[0] in PACKAGES


def raise_interrupts() -> None:
    """Let Ctrl-C raise `KeyboardInterrupt` again, once a program can answer it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)


# Where the caller ignores interrupts, as `nohup` does, they stay ignored.
if is_program_starting() and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)

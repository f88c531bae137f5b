"""Measure what busy cores cost: beside processes that never rest, with PyTorch's threads and with one thread.

    python -m benchmarks.busy_cores --output busy-cores.json

As many processes spin as there are cores. Each case runs in a process of its own, once as it is and once with
OMP_NUM_THREADS=1, in turns.
"""

import json
import multiprocessing
import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final

from benchmarks.common.report import Results, check_output, table_of, track, write_results
from restore_env.training.model_card import Blocks
from restore_env.training.program import run_program
from restore_env.utils.checks import Count, Options, Positive
from restore_env.utils.threads import available_cores

ENVIRONMENT: Final = """
import time, gymnasium, restore_env
env = gymnasium.make("ImageRestore-v1")
env.action_space.seed(0)
env.reset(seed=0)
def play(seconds):
    started, steps = time.perf_counter(), 0
    while time.perf_counter() - started < seconds:
        *_, terminated, truncated, _ = env.step(env.action_space.sample())
        steps += 1
        if terminated or truncated:
            env.reset()
    return steps / (time.perf_counter() - started)
play(1)
print(play({seconds}))
"""
"""Prints the steps per second of a single environment."""

PHOTO: Final = """
import time, numpy, restore_env, skimage.data
photo = numpy.tile(skimage.data.astronaut(), (3, 3, 1))[:{height}, :{width}]
restore_env.restore(photo[:128, :128], "drqn")
started = time.process_time()
restore_env.restore(photo, "drqn")
print(time.process_time() - started)
"""
"""Prints the CPU seconds that restoring a photo takes; this policy applies three tools."""


@dataclass(kw_only=True)
class Args(Options):
    """Measure what busy cores cost: beside processes that never rest, with PyTorch's threads and with one thread."""

    output: Path
    """Results file to write (.json). The report (.md) is written beside it."""
    seconds: Positive = 8.0
    """Seconds in which the environment takes steps."""
    height: Count = 1100
    """Height of the photo in pixels."""
    width: Count = 1500
    """Width of the photo in pixels."""
    rounds: Count = 3
    """How often each case is measured; the median is stated."""
    data: str = "a photo of scikit-image"
    """What is restored, for the report."""


def main(args: Args) -> Results:
    """Measure, write the results, and return them."""
    check_output(args.output, {})
    programs = {
        "single environment, steps/s": ENVIRONMENT.format(seconds=args.seconds),
        f"restore of {args.width}x{args.height} pixels, CPU seconds": PHOTO.format(**vars(args)),
    }
    found: dict[str, dict[str, list[float]]] = {name: {"default": [], "one": []} for name in programs}
    with ExitStack() as stack:
        for _ in range(available_cores()):
            spinner = multiprocessing.get_context("spawn").Process(target=_spin, daemon=True)
            spinner.start()
            stack.callback(spinner.terminate)
        cases = [(name, threads) for _ in range(args.rounds) for name in programs for threads in ("default", "one")]
        for name, threads in track("busy cores", cases):
            found[name][threads].append(_run(programs[name], threads))
    rows = [{"case": name, **{threads: median(values) for threads, values in by.items()}} for name, by in found.items()]
    return write_results("busy_cores", args, describe, rows=rows, measured=found)


def describe(results: Results) -> Blocks:
    """Return the paragraphs and the table of the report."""
    return [
        "# Busy cores",
        f"Median of {results['options']['rounds']} rounds, beside as many spinning processes as there are cores.",
        table_of([cells(row) for row in results["rows"]]),
    ]


def cells(row: Mapping[str, Any]) -> dict[str, str]:
    """Return the cells of one row of the table by the heads of their columns."""
    return {
        "case": row["case"],
        "as it is": f"{row['default']:.1f}",
        "with OMP_NUM_THREADS=1": f"{row['one']:.1f}",
        "ratio": f"{row['default'] / row['one']:.2f}",
    }


def _run(program: str, threads: str) -> float:
    """Return the number that a program prints in a process of its own."""
    environment = {key: value for key, value in os.environ.items() if key != "OMP_NUM_THREADS"}
    environment |= {"OMP_NUM_THREADS": "1"} if threads == "one" else {}
    return float(json.loads(subprocess.check_output([sys.executable, "-c", program], env=environment)))


def _spin() -> None:
    """Keep a core busy for ever."""
    while True:
        pass


if __name__ == "__main__":
    run_program(main, Args)

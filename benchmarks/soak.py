"""Use environments for a long time, and watch memory, threads and file handles.

    python -m benchmarks.soak --output soak.json

There are three parts: a batched environment takes steps, one environment is reset again and again, and environments are
made and dropped. Nothing may grow: what is stated is the mean over the second and over the last fifth of each part.
"""

import gc
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, Final

import gymnasium as gym
import psutil

from benchmarks.common.report import Results, check_output, table_of, write_results
from restore_env.constants import DEFAULT_TOOLBOX, ENV_ID
from restore_env.training.model_card import Blocks
from restore_env.training.program import run_program
from restore_env.utils.checks import Count, Natural, Options, Positive
from restore_env.utils.progress import progress_bar

SAMPLES: Final = 50
"""How often each part is looked at."""


@dataclass(kw_only=True)
class Args(Options):
    """Use environments for a long time, and watch memory, threads and file handles."""

    output: Path
    """Results file to write (.json). The report (.md) is written beside it."""
    toolbox: str = DEFAULT_TOOLBOX
    """Name or folder of the toolbox."""
    num_envs: Count = 1024
    """Environments in the batch."""
    minutes: Positive = 10.0
    """Minutes in which the batch takes steps."""
    resets: Count = 100_000
    """Resets of one environment."""
    made: Count = 200
    """Environments that are made and dropped; every second one is a batch of four."""
    seed: Natural = 0
    """Seed of the environments and the actions."""
    data: str = "the photos of scikit-image"
    """What the environments show, for the report."""


@dataclass(frozen=True)
class Sample:
    """What a process holds at one moment.

    Attributes:
        megabytes: memory in MB.
        threads: number of threads.
        handles: number of open files.
    """

    megabytes: float
    threads: int
    handles: int


def main(args: Args) -> Results:
    """Run all parts, write the results, and return them."""
    check_output(args.output, {"--toolbox": args.toolbox})
    parts: dict[str, Callable[[Args], Iterator[float]]] = {
        f"{args.num_envs} environments for {args.minutes:g} minutes": play_batch,
        f"{args.resets:,} resets": reset_one,
        f"{args.made} environments made and dropped": make_and_drop,
    }
    rows = [{"part": name, **watch(name, part(args))} for name, part in parts.items()]
    return write_results("soak", args, describe, rows=rows)


def play_batch(args: Args) -> Iterator[float]:
    """Take steps in a batched environment; yield the share that is done."""
    envs = gym.make_vec(ENV_ID, num_envs=args.num_envs, toolbox=args.toolbox)
    envs.reset(seed=args.seed)
    envs.action_space.seed(args.seed)
    started = time.monotonic()
    while (share := (time.monotonic() - started) / (60 * args.minutes)) < 1:
        envs.step(envs.action_space.sample())
        yield share
    envs.close()


def reset_one(args: Args) -> Iterator[float]:
    """Reset one environment; yield the share that is done."""
    env = gym.make(ENV_ID, toolbox=args.toolbox)
    env.reset(seed=args.seed)
    for number in range(args.resets):
        env.reset()
        yield number / args.resets
    env.close()


def make_and_drop(args: Args) -> Iterator[float]:
    """Make environments, use and drop them, every second one without closing it; yield the share that is done."""
    for number in range(args.made):
        env: Any
        if number % 2:
            env = gym.make_vec(ENV_ID, num_envs=4, toolbox=args.toolbox)
        else:
            env = gym.make(ENV_ID, toolbox=args.toolbox)
        env.reset(seed=args.seed)
        env.step(env.action_space.sample())
        if number % 4 < 2:
            env.close()
        del env
        yield number / args.made


def watch(name: str, part: Iterator[float]) -> dict[str, Any]:
    """Run a part and return what the process held over its second and its last fifth, and its length in seconds."""
    samples, started = list[Sample](), time.monotonic()
    with progress_bar(name) as report:
        for share in part:
            if share * SAMPLES >= len(samples):
                gc.collect()
                samples.append(take_sample())
                report(share)
    fifth = max(1, len(samples) // 5)
    early, late = samples[fifth : 2 * fifth] or samples, samples[-fifth:]
    means = {
        key: [fmean(getattr(sample, key) for sample in some) for some in (early, late)]
        for key in Sample.__dataclass_fields__
    }
    return {"seconds": time.monotonic() - started, **means}


def take_sample() -> Sample:
    """Return what this process holds now."""
    process = psutil.Process()
    handles = getattr(process, "num_handles" if sys.platform == "win32" else "num_fds")()
    return Sample(process.memory_info().rss / 1e6, process.num_threads(), handles)


def describe(results: Results) -> Blocks:
    """Return the paragraphs and the table of the report."""
    return [
        "# A soak",
        "Each pair of numbers is a mean over the second and over the last fifth of the part.",
        table_of([cells(row) for row in results["rows"]]),
    ]


def cells(row: Mapping[str, Any]) -> dict[str, str]:
    """Return the cells of one row of the table by the heads of their columns."""
    texts = {key: " / ".join(f"{value:.{digits}f}" for value in row[key]) for key, digits in FORMATS.items()}
    return {
        "part": row["part"],
        "seconds": f"{row['seconds']:.0f}",
        "memory, MB": texts["megabytes"],
        "threads": texts["threads"],
        "file handles": texts["handles"],
    }


FORMATS: Final = {"megabytes": 0, "threads": 1, "handles": 1}
"""Digits after the point of each number in the table."""


if __name__ == "__main__":
    run_program(main, Args)

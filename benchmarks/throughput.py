"""Measure steps per second, from single tools to the batched environment, and where the time goes.

    python -m benchmarks.throughput --output throughput.json

All cases take random actions on the same pairs, side by side in one run. There are several rounds, each with every case
once, so that a machine that changes its speed changes it for all. Ratios are formed inside a round; the median over the
rounds is stated. Run it while nothing else runs.
"""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, Final

import torch

from benchmarks import throughput_cases as cases
from benchmarks.common import profiling
from benchmarks.common.plots import save_figure, throughput_bars
from benchmarks.common.report import Results, check_output, track, write_results
from benchmarks.throughput_cases import Case
from restore_env import Pairs, Toolbox, as_source, draw_pairs, load_toolbox, save_pairs
from restore_env.constants import DEFAULT_TOOLBOX, PATCH_SIZE
from restore_env.training.model_card import Blocks, table
from restore_env.training.program import run_program
from restore_env.utils.checks import Count, Natural, Options, Positive, Text

NAIVE: Final = "networks of plain PyTorch, one image after another"
MAIN: Final = "batched environment, 64"
CHUNKS: Final = (1, 2, 4, 8, 16, 32, 64)
"""How many images a tool gets at once."""


@dataclass(kw_only=True)
class Args(Options):
    """Measure steps per second, from single tools to the batched environment."""

    output: Path
    """Results file to write (.json). The report (.md) and a plot (.png) are written beside it."""
    toolbox: Text = DEFAULT_TOOLBOX
    """Name or folder of the toolbox."""
    seconds: Positive = 4.0
    """Seconds that a case runs in a round, at least."""
    rounds: Count = 5
    """Rounds of all cases."""
    sizes: tuple[Count, ...] = (1, 8, 64, 256, 1024)
    """Environments in a batch."""
    cuda_sizes: tuple[Count, ...] = (4096, 16384)
    """Environments in a batch on a GPU, where there is one."""
    pairs: Count = 512
    """Pairs that episodes begin with."""
    seed: Natural = 0
    """Seed of the pairs and the actions."""
    data: str = "the photos of scikit-image"
    """What the pairs are made of, for the report."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is measured: a toolbox and the pairs that episodes begin with."""

    args: Args
    toolbox: Toolbox
    pairs: Pairs


def plan(args: Args) -> Plan:
    """Check the options and draw the pairs.

    Raises:
        ValueError: if an option is wrong.
    """
    check_output(args.output, {"--toolbox": args.toolbox}, ".png")
    toolbox = load_toolbox(args.toolbox)
    pairs = draw_pairs(as_source("embedded", "moderate", PATCH_SIZE), args.pairs, args.seed)
    return Plan(args=args, toolbox=toolbox, pairs=pairs)


def run(plan: Plan) -> Results:
    """Measure, write the results with a plot, and return them."""
    args = plan.args
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "pairs.npz"
        save_pairs(file, plan.pairs)
        results = write_results("throughput", args, describe, **measure(plan, str(file)))
    rates = medians(results["steps"])
    save_figure(args.output.with_suffix(".png"), (8, 6), lambda axes: throughput_bars(axes, rates))
    return results


def main(args: Args) -> Results:
    """Measure the throughput, write the results, and return them."""
    return run(plan(args))


def measure(plan: Plan, file: str) -> dict[str, Any]:
    """Return all measurements; `file` holds the pairs."""
    args, options = plan.args, {"images": file, "toolbox": plan.args.toolbox}
    return {
        "steps": rates_of(environments(plan, options) | tensors(plan), plan),
        "operations": profiling.operations(plan.toolbox),
        "sb3": rates_of(sb3_rollouts(args.seed, options | {"time_limit": "terminate"}), plan),
        "profile": profiling.profile(64, 20, args.seed, **options),
        "chunks": profiling.chunk_rates(plan.toolbox, CHUNKS, 64, args.seed),
        "costs": profiling.costs(plan.pairs),
        "memory": {n: profiling.memory(n, file, args.toolbox) for n in args.sizes},
        "precision": profiling.precision(plan.pairs, args.toolbox, args.seed),
        "start": profiling.start_times(args.toolbox),
    }


def environments(plan: Plan, options: dict[str, Any]) -> dict[str, Case]:
    """Return the cases that take images, from single tools to environments."""
    seed, threads = plan.args.seed, torch.get_num_threads()
    alone = partial(cases.one_by_one, plan.toolbox, plan.pairs, seed=seed)

    def batched(n: int, **changes: Any) -> Case:
        return cases.batched(n, seed, **options | changes)

    return {
        NAIVE: alone(plain=True),
        "our networks, one image after another": alone(plain=False),
        "single environment": cases.single(seed, **options),
        "SyncVectorEnv, 8": cases.synchronous(8, seed, **options),
        f"AsyncVectorEnv, {threads} processes": cases.asynchronous(threads, seed, **options),
        **{f"batched environment, {n}": batched(n) for n in plan.args.sizes},
        f"{MAIN}, pairs made from photos": batched(64, images="embedded"),
        f"{MAIN}, pairs made from photos, none ahead": batched(64, images="embedded", prefetch=False),
        f"{MAIN}, bfloat16": batched(64, dtype="bfloat16"),
    }


def tensors(plan: Plan) -> dict[str, Case]:
    """Return the cases that keep tensors on their device."""
    kinds = [("cpu", 64, "float32")]
    if torch.cuda.is_available():
        kinds += [("cuda", n, dtype) for n in plan.args.cuda_sizes for dtype in ("float32", "bfloat16")]
    make, last = partial(cases.on_device, plan.pairs), (plan.args.toolbox, plan.args.seed)
    return {f"transition on tensors, {', '.join(map(str, kind))}": make(*kind, *last) for kind in kinds}


def sb3_rollouts(seed: int, options: dict[str, Any]) -> dict[str, Case]:
    """Return SB3's PPO collecting 8 steps of 64 environments, over our adapter and over SB3's."""
    make = partial(cases.sb3_rollout, 64, 8, seed=seed, **options)
    return {"PPO over SB3VecEnv, 64": make(adapter=True), "PPO over DummyVecEnv, 64": make(adapter=False)}


def rates_of(made: Mapping[str, Case], plan: Plan) -> dict[str, list[float]]:
    """Return the steps per second of each case in each round; "bound" is what the arithmetic units would allow."""
    for play in made.values():
        play()  # warms up
    rates: dict[str, list[float]] = {name: [] for name in ("bound", *made)}
    needed = profiling.operations(plan.toolbox)
    for _ in track("throughput", range(plan.args.rounds)):
        rates["bound"].append(profiling.matrix_rate(plan.args.seconds) / needed)
        for name, play in made.items():
            rates[name].append(profiling.steps_per_second(play, plan.args.seconds))
    return rates


def medians(rates: Mapping[str, list[float]]) -> dict[str, float]:
    """Return the median over the rounds."""
    return {name: median(values) for name, values in rates.items()}


def ratio(rates: Mapping[str, list[float]], name: str, to: str) -> float:
    """Return the speed of one case relative to another's, median over the rounds."""
    return median(one / other for one, other in zip(rates[name], rates[to], strict=True))


def describe(results: Results) -> Blocks:
    """Return the paragraphs and tables of the report."""
    options, steps = results["options"], results["steps"]
    rows = [
        [name, f"{value:,.0f}", f"{ratio(steps, name, NAIVE):.2f}", _share_of_bound(steps, name)]
        for name, value in medians(steps).items()
    ]
    return [
        "# Throughput",
        f"Steps per second with the toolbox {options['toolbox']}, actions drawn evenly from all tools and stop, resets "
        f"included; median of {options['rounds']} rounds of {options['seconds']:g} s. The bound is the fastest matrix "
        f"product, kept up as long, over the {results['operations'] / 1e9:.3f} GFLOP of a mean step, all in float32.",
        table(["case", "steps/s", f"relative to {NAIVE}", "share of the bound"], rows),
        *describe_sb3(results["sb3"]),
        *describe_parts(results),
        f"![Steps per second]({Path(options['output']).stem}.png)",
    ]


def describe_sb3(rates: Mapping[str, list[float]]) -> Blocks:
    """Return the section about SB3."""
    adapter, dummy = (name for name in rates if name != "bound")
    return [
        "## SB3's PPO collecting experience",
        _table("", "steps/s", {name: medians(rates)[name] for name in (adapter, dummy)}, ",.0f"),
        f"The adapter is {ratio(rates, adapter, dummy):.2f} times as fast.",
    ]


def describe_parts(results: Results) -> Blocks:
    """Return the sections about the parts of a step, memory, precision and start."""
    chunks, precision = results["chunks"], results["precision"]
    lengths = list(next(iter(chunks.values())))
    return [
        f"## Where the time of the {MAIN} goes",
        _table("part", "share", results["profile"], ".1%"),
        "## What else a step or a reset needs",
        _table("", "ms", results["costs"], ".3f"),
        "## Images that a tool gets at once",
        "Patches per second.",
        table(["network", *lengths], [[kind, *map("{:,.0f}".format, row.values())] for kind, row in chunks.items()]),
        "## Memory",
        "Beyond a process with one environment.",
        _table("environments", "MB", {n: value / 1e6 for n, value in results["memory"].items()}, ",.0f"),
        "## bfloat16",
        f"After three random tools on {precision['n']} pairs, PSNR with bfloat16 minus PSNR with float32: "
        f"{precision['mean']:+.4f} dB in the mean, {precision['worst']:.4f} dB at worst.",
        "## Start",
        _table("", "seconds", results["start"], ".2f"),
    ]


def _share_of_bound(steps: Mapping[str, list[float]], name: str) -> str:
    """Return the share of the bound; empty for what has another bound than the CPU in float32."""
    return "" if "cuda" in name or "bfloat16" in name else f"{ratio(steps, name, 'bound'):.0%}"


def _table(first: str, second: str, values: Mapping[Any, float], form: str) -> list[str]:
    return table([first, second], [[name, format(value, form)] for name, value in values.items()])


if __name__ == "__main__":
    run_program(main, Args)

"""Steps per second, from single tools to the batched environment, and where the time goes.

    python -m benchmarks.throughput --output throughput.json

All contenders take random actions on the same pairs, side by side in one run: several rounds, each contender once a
round, so that a machine that changes its speed changes it for all. Ratios are formed inside a round; what is stated is
the median over the rounds. Run it while nothing else runs.
"""

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, Final

import torch
import tyro

from benchmarks.common.plots import save_figure, throughput_bars
from benchmarks.common.profiling import best_time, chunk_rates, matrix_rate, memory, operations, profile, start_times
from benchmarks.common.report import check_output, results_of, write_results
from benchmarks.throughput_cases import (
    Contender,
    asynchronous,
    batched,
    embedded_pairs,
    on_device,
    one_by_one,
    sb3_rollout,
    single,
    synchronous,
)
from restore_env.constants import DEFAULT_TOOLBOX
from restore_env.data.pairs import Pairs
from restore_env.data.sources import as_source, draw_pairs
from restore_env.restoration.batch import RestorationBatch
from restore_env.restoration.metrics import psnr, ssim
from restore_env.toolbox import load_toolbox
from restore_env.training.program import run_program
from restore_env.utils.checks import check_whole
from restore_env.utils.progress import progress_bar

NAIVE: Final = "networks of plain PyTorch, one image after another"
MAIN: Final = "batched environment, 64"
CHUNKS: Final = (1, 2, 4, 8, 16, 32, 64)


@dataclass
class Args:
    """Steps per second, from single tools to the batched environment."""

    output: Path
    """Results to write, ending in .json; a table and a plot are written beside it."""
    toolbox: str = DEFAULT_TOOLBOX
    """Name or folder of the toolbox."""
    seconds: float = 4.0
    """How long a contender runs in a round, at least."""
    rounds: int = 5
    """Rounds of all contenders."""
    sizes: tuple[int, ...] = (1, 8, 64, 256, 1024)
    """Environments in a batch."""
    cuda_sizes: tuple[int, ...] = (4096, 16384)
    """Environments in a batch on a GPU, where there is one."""
    pairs: int = 512
    """Pairs that episodes begin with."""
    seed: int = 0
    """Seed of the pairs and the actions."""
    data: str = "the photos of scikit-image"
    """What the pairs are made of, for the record."""


def main(args: Args) -> dict[str, Any]:
    """Measure, write the results with a plot, and return them."""
    for name in ("rounds", "pairs"):
        check_whole(name, getattr(args, name), 1)
    check_output(args.output)
    with tempfile.TemporaryDirectory() as folder, progress_bar("throughput") as report:
        pairs, file = embedded_pairs(args.pairs, args.seed, Path(folder))
        options = {"images": str(file), "toolbox": args.toolbox}
        steps = per_second(contenders(args, pairs, options), args, lambda share: report(0.6 * share))
        results = results_of(
            args,
            steps=steps,
            operations=operations(load_toolbox(args.toolbox)),
            sb3=per_second(sb3_contenders(args, options), args, lambda share: report(0.6 + 0.1 * share)),
            profile=profile(64, 20, args.seed, **options),
            chunks=chunk_rates(args.toolbox, CHUNKS, 64, args.seed),
            costs=costs(pairs),
            memory={n: memory(n, str(file), args.toolbox) for n in args.sizes},
            precision=precision(pairs, args.toolbox, args.seed),
            start=start_times(args.toolbox),
        )
    write_results(results, args.output, "throughput", text(results))
    save_figure(args.output.with_suffix(".png"), lambda axes: throughput_bars(axes, medians(steps)), (8, 6))
    return results


def contenders(args: Args, pairs: Pairs, options: dict[str, Any]) -> dict[str, Callable[[], Contender]]:
    """What is compared, and how each is made."""
    seed, toolbox = args.seed, load_toolbox(args.toolbox)
    photos = options | {"images": "embedded"}
    made: dict[str, Callable[[], Contender]] = {
        NAIVE: partial(one_by_one, toolbox, pairs, plain=True, seed=seed),
        "our networks, one image after another": partial(one_by_one, toolbox, pairs, plain=False, seed=seed),
        "single environment": partial(single, seed, **options),
        "SyncVectorEnv, 8": partial(synchronous, 8, seed, **options),
        f"AsyncVectorEnv, {torch.get_num_threads()} processes": partial(
            asynchronous, torch.get_num_threads(), seed, **options
        ),
    }
    made |= {f"batched environment, {n}": partial(batched, n, seed, **options) for n in args.sizes}
    made["batched environment, 64, pairs made from photos"] = partial(batched, 64, seed, **photos)
    made["batched environment, 64, pairs made from photos, none ahead"] = partial(
        batched, 64, seed, **photos, prefetch=False
    )
    made["batched environment, 64, bfloat16"] = partial(batched, 64, seed, **options, dtype="bfloat16")
    devices = [("cpu", (64,))] + ([("cuda", args.cuda_sizes)] if torch.cuda.is_available() else [])
    for device, sizes in devices:
        for n in sizes:
            for dtype in ("float32", "bfloat16") if device != "cpu" else ("float32",):
                name = f"transition on tensors, {device}, {n}, {dtype}"
                made[name] = partial(on_device, n, pairs, device, dtype, args.toolbox, seed)
    return made


def sb3_contenders(args: Args, options: dict[str, Any]) -> dict[str, Callable[[], Contender]]:
    """SB3's PPO collecting 8 steps of 64 environments."""
    terminate = options | {"time_limit": "terminate"}
    return {
        "PPO over SB3VecEnv, 64": partial(sb3_rollout, 64, 8, adapter=True, seed=args.seed, **terminate),
        "PPO over DummyVecEnv, 64": partial(sb3_rollout, 64, 8, adapter=False, seed=args.seed, **terminate),
    }


def per_second(
    made: dict[str, Callable[[], Contender]], args: Args, report: Callable[[float], None]
) -> dict[str, list[float]]:
    """Steps per second of each contender in each round; and, as "bound", what the arithmetic units would allow."""
    ready = {name: make() for name, make in made.items()}
    for play in ready.values():
        play()
    rates: dict[str, list[float]] = {name: [] for name in ("bound", *ready)}
    needed = operations(load_toolbox(args.toolbox))
    for number in range(args.rounds):
        rates["bound"].append(matrix_rate(args.seconds) / needed)
        for name, play in ready.items():
            rates[name].append(timed(play, args.seconds))
        report((number + 1) / args.rounds)
    return rates


def timed(play: Contender, seconds: float) -> float:
    """Steps per second over at least so many seconds."""
    started, steps = time.perf_counter(), 0
    while (spent := time.perf_counter() - started) < seconds:
        steps += play()
    return steps / spent


def costs(pairs: Pairs) -> dict[str, float]:
    """Milliseconds an image or a pair takes, beside the tools."""
    images, reference = pairs.first(64).to_tensors()
    source = as_source("embedded", "moderate", 63)
    seconds = {
        "PSNR": best_time(lambda: psnr(images, reference)) / len(images),
        "SSIM": best_time(lambda: ssim(images, reference)) / len(images),
        "a pair made from photos": best_time(lambda: draw_pairs(source, 64, 0)) / 64,
        "a pair of a file": best_time(lambda: draw_pairs(pairs, 64, 0)) / 64,
    }
    return {name: 1e3 * value for name, value in seconds.items()}


def precision(pairs: Pairs, toolbox: str, seed: int) -> dict[str, float]:
    """What bfloat16 changes in the PSNR (dB) after three random tools, over all pairs."""
    after = []
    for dtype in ("float32", "bfloat16"):
        batch = RestorationBatch(load_toolbox(toolbox, dtype=dtype))
        batch.start(*pairs.to_tensors())
        generator = torch.Generator().manual_seed(seed)
        for _ in range(batch.max_steps):
            batch.step(torch.randint(len(batch.toolbox), (len(pairs),), generator=generator))
        after.append(batch.psnr)
    by = after[1] - after[0]
    return {"mean": float(by.mean()), "worst": float(by.abs().max()), "n": len(pairs)}


def medians(rates: dict[str, list[float]]) -> dict[str, float]:
    """The median over the rounds."""
    return {name: median(values) for name, values in rates.items()}


def ratio(rates: dict[str, list[float]], name: str, to: str) -> float:
    """The median over the rounds of one contender's speed relative to another's."""
    return median(one / other for one, other in zip(rates[name], rates[to], strict=True))


def text(results: dict[str, Any]) -> str:
    """The results as Markdown."""
    options, steps, sb3 = results["options"], results["steps"], results["sb3"]
    lines = [
        "# Throughput",
        "",
        f"Steps per second with the toolbox {options['toolbox']}, actions drawn evenly from all tools and stop, resets "
        f"included; median of {options['rounds']} rounds of {options['seconds']:g} s. The bound is the fastest matrix "
        f"product, kept up as long, over the {results['operations'] / 1e9:.3f} GFLOP of a mean step, all in float32.",
        "",
        f"| contender | steps/s | relative to {NAIVE} | share of the bound |",
        "| --- | --- | --- | --- |",
    ]
    lines += [
        f"| {name} | {value:,.0f} | {ratio(steps, name, NAIVE):.2f} | {_share_of_bound(steps, name)} |"
        for name, value in medians(steps).items()
    ]
    adapter, dummy = (name for name in sb3 if name != "bound")
    lines += [
        "",
        "## SB3's PPO collecting experience",
        "",
        "| | steps/s |",
        "| --- | --- |",
        *(f"| {name} | {medians(sb3)[name]:,.0f} |" for name in (adapter, dummy)),
        "",
        f"The adapter is {ratio(sb3, adapter, dummy):.2f} times as fast.",
        "",
        f"## Where the time of the {MAIN} goes",
        "",
        *_table("part", "share", {name: f"{value:.1%}" for name, value in results["profile"].items()}),
        "",
        "## What else a step or a reset needs",
        "",
        *_table("", "ms", {name: f"{value:.3f}" for name, value in results["costs"].items()}),
        "",
        "## Images that a tool gets at once",
        "",
        "Patches per second.",
        "",
        "| network | " + " | ".join(map(str, CHUNKS)) + " |",
        "| --- " * (len(CHUNKS) + 1) + "|",
        *(
            f"| {kind} | " + " | ".join(f"{value:,.0f}" for value in rates.values()) + " |"
            for kind, rates in results["chunks"].items()
        ),
        "",
        "## Memory",
        "",
        "Beyond a process with one environment.",
        "",
        *_table("environments", "MB", {n: f"{value / 1e6:,.0f}" for n, value in results["memory"].items()}),
        "",
        "## bfloat16",
        "",
        f"After three random tools on {results['precision']['n']} pairs, PSNR with bfloat16 minus PSNR with float32: "
        f"{results['precision']['mean']:+.4f} dB in the mean, {results['precision']['worst']:.4f} dB at worst.",
        "",
        "## Start",
        "",
        *_table("", "seconds", {name: f"{value:.2f}" for name, value in results["start"].items()}),
        "",
        f"![Steps per second]({Path(options['output']).stem}.png)",
    ]
    return "\n".join(lines)


def _share_of_bound(steps: dict[str, list[float]], name: str) -> str:
    """Empty for what has another bound than the CPU in float32."""
    return "" if "cuda" in name or "bfloat16" in name else f"{ratio(steps, name, 'bound'):.0%}"


def _table(first: str, second: str, rows: dict[Any, str]) -> list[str]:
    return [f"| {first} | {second} |", "| --- | --- |", *(f"| {name} | {value} |" for name, value in rows.items())]


if __name__ == "__main__":
    run_program(lambda: main(tyro.cli(Args)))

"""What the parts of a step cost: a profile, the metrics, resets, memory, and the limit of the arithmetic units."""

import cProfile
import multiprocessing
import pstats
import subprocess
import sys
import time
import timeit
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

import torch
from torch.nn.functional import conv2d

from benchmarks.throughput_cases import ENV, batched
from restore_env import Pairs, Toolbox, as_source, draw_pairs, load_toolbox
from restore_env.constants import PATCH_SIZE
from restore_env.restoration.batch import RestorationBatch
from restore_env.restoration.metrics import psnr, ssim
from restore_env.toolbox.toolbox import CHUNK_PIXELS

PARTS: Final = {
    "tools": ("threads.py", "run_in_threads"),
    "Toolbox.apply": ("toolbox.py", "apply"),
    "RestorationBatch.step": ("batch.py", "step"),
    "observations": ("common.py", "observations"),
    "resets": ("vector_env.py", "_begin"),
    "step": ("vector_env.py", "step"),
}
"""Functions whose time the profile adds up, by file and name."""


def best_time(function: Callable[[], Any], repeats: int = 7) -> float:
    """Return the shortest time of some calls in seconds, after one call that does not count."""
    function()
    return min(timeit.repeat(function, number=1, repeat=repeats))


def matrix_rate(seconds: float, dtype: torch.dtype = torch.float32) -> float:
    """Return the operations per second of the CPU's fastest matrix product of a dtype, kept up for some seconds."""
    products: list[tuple[float, Callable[[], Any]]] = []
    for side in (512, 1024, 2048):
        products.append((2 * side**3, partial(torch.matmul, *torch.randn(2, side, side).to(dtype))))
    # A 1x1 convolution is a matrix product too, and on some processors its library is the faster one.
    maps = torch.randn(4, 256, 64, 64).to(dtype, memory_format=torch.channels_last)
    products.append((2 * 256 * 256 * 4 * 64 * 64, partial(conv2d, maps, torch.randn(256, 256, 1, 1).to(dtype))))
    count, product = max(products, key=lambda item: item[0] / best_time(item[1]))
    return count * steps_per_second(lambda: len(product()[:1]), seconds)


def steps_per_second(play: Callable[[], int], seconds: float) -> float:
    """Return the steps per second of a function that returns how many steps it takes, over at least so many seconds."""
    started, steps = time.perf_counter(), 0
    while (spent := time.perf_counter() - started) < seconds:
        steps += play()
    return steps / spent


def operations(toolbox: Toolbox, side: int = PATCH_SIZE) -> float:
    """Return the floating-point operations of a step on one patch, mean over all tools and stop.

    A multiplication and its addition are two operations.
    """
    modules = [tool.module for tool in toolbox if tool.module is not None]
    kernels = [weight for module in modules for weight in module.parameters() if weight.ndim == 4]
    return 2 * sum(weight.numel() for weight in kernels) * side**2 / (len(toolbox) + 1)


def profile(n: int, steps: int, seed: int, **options: Any) -> dict[str, float]:
    """Return the share of each part of the batched environment's time; they add up to 1.

    Args:
        n: environments in the batch.
        steps: steps to profile.
        seed: seed of the pairs and the actions.
        options: of the environment.
    """
    play = batched(n, seed, **options)
    play()
    with cProfile.Profile() as profiler:
        for _ in range(steps):
            play()
    spent = _time_of_parts(profiler)
    known = spent["RestorationBatch.step"] + spent["observations"] + spent["resets"]
    seconds = {
        "networks, with picking and placing their images": spent["tools"],
        "grouping images": spent["Toolbox.apply"] - spent["tools"],
        "PSNR, rewards, bookkeeping": spent["RestorationBatch.step"] - spent["Toolbox.apply"],
        "observations": spent["observations"],
        "resets, beyond what is drawn ahead": spent["resets"],
        "infos": spent["step"] - known,
    }
    return {part: value / spent["step"] for part, value in seconds.items()}


def _time_of_parts(profiler: cProfile.Profile) -> dict[str, float]:
    """Return the seconds that were spent in each of `PARTS` and in what it called."""
    spent = dict.fromkeys(PARTS, 0.0)
    entries: dict[Any, Any] = pstats.Stats(profiler).stats  # type: ignore[attr-defined]
    for (file, _, function), (_, _, _, cumulative, _) in entries.items():
        for part, place in PARTS.items():
            if (Path(file).name, function) == place and "restore_env" in file:
                spent[part] += cumulative
    return spent


def costs(pairs: Pairs) -> dict[str, float]:
    """Return the milliseconds that an image or a pair takes, beside the tools."""
    images, reference = pairs.first(64).to_tensors()
    source = as_source("embedded", "moderate", PATCH_SIZE)
    seconds = {
        "PSNR": best_time(lambda: psnr(images, reference)) / len(images),
        "SSIM": best_time(lambda: ssim(images, reference)) / len(images),
        "a pair made from photos": best_time(lambda: draw_pairs(source, 64, 0)) / 64,
        "a pair of a file": best_time(lambda: draw_pairs(pairs, 64, 0)) / 64,
    }
    return {name: 1e3 * value for name, value in seconds.items()}


def precision(pairs: Pairs, toolbox: str, seed: int) -> dict[str, float]:
    """Return by how many dB bfloat16 changes the PSNR after three random tools: mean and worst over all pairs."""
    after = []
    for dtype in ("float32", "bfloat16"):
        batch = RestorationBatch(load_toolbox(toolbox, dtype=dtype))
        batch.start(*pairs.to_tensors())
        generator = torch.Generator().manual_seed(seed)
        for _ in range(batch.max_steps):
            batch.step(torch.randint(len(batch.toolbox), (len(pairs),), generator=generator))
        after.append(batch.psnr)
    difference = after[1] - after[0]
    return {"mean": float(difference.mean()), "worst": float(difference.abs().max()), "n": len(pairs)}


def memory(n: int, pairs: str, toolbox: str) -> float:
    """Return the bytes that n environments take beyond one, at their peak; measured in a process of its own."""
    return float(apart(_memory, n, pairs, toolbox))


def apart(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function in a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, arguments)


def timed(function: Callable[..., Any], seconds: list[float]) -> Callable[..., Any]:
    """Return the function, which then notes how long each call takes."""

    def call(*args: Any, **kwargs: Any) -> Any:
        started = time.perf_counter()
        result = function(*args, **kwargs)
        seconds.append(time.perf_counter() - started)
        return result

    return call


def _memory(n: int, pairs: str, toolbox: str) -> float:
    batched(1, 0, images=pairs, toolbox=toolbox)()
    before = peak_memory()
    play = batched(n, 0, images=pairs, toolbox=toolbox)
    for _ in range(4):
        play()
    return peak_memory() - before


def peak_memory() -> float:
    """Return the largest memory in bytes that this process ever had, as Linux tells it."""
    # getrusage would include what the process was forked from.
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024.0 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


def chunk_rates(toolbox: Toolbox, lengths: Sequence[int], n: int, seed: int) -> dict[str, dict[int, float]]:
    """Return the patches per second of one tool of each architecture, by how many patches it gets at once."""
    images = torch.rand(n, 3, PATCH_SIZE, PATCH_SIZE, generator=torch.Generator().manual_seed(seed))
    kinds = {type(tool.module).__name__: action for action, tool in enumerate(toolbox) if tool.module is not None}
    rates: dict[str, dict[int, float]] = {kind: {} for kind in kinds}
    for length in lengths:
        with patch.dict(CHUNK_PIXELS, cpu=length * PATCH_SIZE**2):
            for kind, action in kinds.items():
                rates[kind][length] = n / best_time(partial(toolbox.apply, images, [action] * n), 5)
    return rates


def start_times(toolbox: str) -> dict[str, float]:
    """Return the seconds that imports and `gymnasium.make` take, each the best of five fresh processes."""
    programs = {
        "import torch": "import torch",
        "import restore_env": "import restore_env",
        "import restore_env, gymnasium.make": f"import gymnasium; gymnasium.make({ENV!r}, toolbox={toolbox!r})",
    }
    timed = "import time; start = time.perf_counter(); {}; print(time.perf_counter() - start)"
    return {
        name: min(float(subprocess.check_output([sys.executable, "-c", timed.format(program)])) for _ in range(5))
        for name, program in programs.items()
    }

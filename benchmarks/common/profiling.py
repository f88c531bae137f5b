"""What the parts of a step cost: a profile, the metrics, resets, memory, the limit of the arithmetic units."""

import cProfile
import multiprocessing
import pstats
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

import torch
from torch.nn.functional import conv2d

from benchmarks.throughput_cases import ENV, batched
from restore_env.toolbox import Toolbox, load_toolbox
from restore_env.toolbox import toolbox as toolbox_module

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
    """The shortest of some runs, in seconds, after one that does not count."""
    function()
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        function()
        times.append(time.perf_counter() - started)
    return min(times)


def matrix_rate(seconds: float) -> float:
    """float32 operations per second of the CPU's fastest matrix product, kept up for some seconds."""
    products: list[tuple[float, Callable[[], Any]]] = []
    for side in (512, 1024, 2048):
        products.append((2 * side**3, partial(torch.matmul, torch.randn(side, side), torch.randn(side, side))))
    # A 1x1 convolution is a matrix product too, and on some processors its library is the faster one.
    maps = torch.randn(4, 256, 64, 64).contiguous(memory_format=torch.channels_last)
    products.append((2 * 256 * 256 * 4 * 64 * 64, partial(conv2d, maps, torch.randn(256, 256, 1, 1))))
    count, product = max(products, key=lambda item: item[0] / best_time(item[1]))
    started, runs = time.perf_counter(), 0
    while (spent := time.perf_counter() - started) < seconds:
        product()
        runs += 1
    return runs * count / spent


def operations(toolbox: Toolbox, side: int = 63) -> float:
    """Floating-point operations of a step on a patch, mean over all tools and stop; two to a multiplication."""
    weights = [
        weight.numel()
        for tool in toolbox
        if tool.module is not None
        for weight in tool.module.parameters()
        if weight.ndim == 4
    ]
    return 2 * sum(weights) * side**2 / (len(toolbox) + 1)


def profile(n: int, steps: int, seed: int, **options: Any) -> dict[str, float]:
    """The share of each part of the batched environment's time; they add up to 1."""
    play = batched(n, seed, **options)
    play()
    profiler = cProfile.Profile()
    profiler.enable()
    for _ in range(steps):
        play()
    profiler.disable()
    spent = dict.fromkeys(PARTS, 0.0)
    entries: dict[Any, Any] = pstats.Stats(profiler).stats  # type: ignore[attr-defined]
    for (file, _, function), (_, _, _, cumulative, _) in entries.items():
        for part, (name, wanted) in PARTS.items():
            if Path(file).name == name and function == wanted and "restore_env" in file:
                spent[part] += cumulative
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


def memory(n: int, pairs: str, toolbox: str) -> float:
    """Bytes that n environments take beyond one, at their peak; measured in a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_memory, (n, pairs, toolbox))


def _memory(n: int, pairs: str, toolbox: str) -> float:
    batched(1, 0, images=pairs, toolbox=toolbox)()
    before = _peak()
    play = batched(n, 0, images=pairs, toolbox=toolbox)
    for _ in range(4):
        play()
    return _peak() - before


def _peak() -> float:
    """The largest memory this process ever had, in bytes; Linux tells it."""
    # getrusage would include what the process was forked from.
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024.0 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


def chunk_rates(toolbox: str, lengths: tuple[int, ...], n: int, seed: int) -> dict[str, dict[int, float]]:
    """Patches per second of one tool of each architecture, by how many patches it gets at once."""
    tools = load_toolbox(toolbox)
    images = torch.rand(n, 3, 63, 63, generator=torch.Generator().manual_seed(seed))
    kinds = {type(tool.module).__name__: action for action, tool in enumerate(tools) if tool.module is not None}
    kept = toolbox_module.CHUNK_PIXELS["cpu"]
    rates: dict[str, dict[int, float]] = {kind: {} for kind in kinds}
    try:
        for length in lengths:
            toolbox_module.CHUNK_PIXELS["cpu"] = length * 63**2
            for kind, action in kinds.items():
                rates[kind][length] = n / best_time(partial(tools.apply, images, [action] * n), 5)
    finally:
        toolbox_module.CHUNK_PIXELS["cpu"] = kept
    return rates


def start_times(toolbox: str) -> dict[str, float]:
    """Seconds, each the best of five fresh processes: PyTorch's import, ours, and `gymnasium.make` with PyTorch."""
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

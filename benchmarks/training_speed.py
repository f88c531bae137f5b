"""Measure how fast tools train: patches per second, and the share of what the processor's matrix products reach.

    OMP_NUM_THREADS=1 python -m benchmarks.training_speed --output training-speed.json

Each network of `restore_env.toolbox.networks` takes steps on random patches. Run it while nothing else runs.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any, Final

import numpy as np
import torch

from benchmarks.common.profiling import matrix_rate, timed
from benchmarks.common.report import Results, check_output, table_of, track, write_results
from restore_env import Pairs
from restore_env.toolbox.networks import ARCHITECTURES
from restore_env.training.model_card import Blocks
from restore_env.training.program import run_program
from restore_env.training.trainer import Budget
from restore_env.utils.checks import Count, Natural, Options
from tools.recipes import Precision, Recipe, choose_precision
from tools.single.pool import PoolBatches
from tools.single.trainer import ToolTraining
from tools.specs import ToolSpec

RATE_SECONDS: Final = 2.0
"""How long the fastest matrix product is kept up."""

POOL: Final = 256
"""Random patches that batches are drawn from."""


@dataclass(kw_only=True)
class Args(Options):
    """Measure how fast tools train: patches per second, and the share of what matrix products reach."""

    output: Path
    """Results file to write (.json). The report (.md) is written beside it."""
    batch_sizes: tuple[Count, ...] = (8, 32)
    """Patches in a batch."""
    updates: Count = 20
    """Updates that are timed for each network and batch size; their median is stated."""
    seed: Natural = 0
    """Seed of the patches and the weights."""
    data: str = "random patches"
    """What is trained on, for the report."""


def main(args: Args) -> Results:
    """Measure, write the results, and return them."""
    check_output(args.output, {})
    precisions: list[Precision] = ["float32"]
    if choose_precision("auto", "cpu") == "bfloat16":
        precisions.append("bfloat16")
    cases = list(product(ARCHITECTURES, args.batch_sizes, precisions))
    rows = [measure(*case, args) for case in track("training speed", cases)]
    return write_results("training_speed", args, describe, rows=rows)


def measure(architecture: str, batch_size: int, precision: Precision, args: Args) -> dict[str, Any]:
    """Return how fast one network trains, and how long the parts of an update take.

    The bound is what the fastest matrix product of the same precision reaches in the same minute. A layer needs three
    products: forward, and backward to its weights and to its input.
    """
    training = new_training(architecture, batch_size, precision, args.seed)
    in_optimizer, in_update = list[float](), list[float]()
    training.optimizer.step = timed(training.optimizer.step, in_optimizer)  # type: ignore[method-assign]
    for _ in range(3):  # the optimizer prepares in the first ones
        training.advance()
    in_optimizer.clear()
    for _ in range(args.updates):
        timed(training.advance, in_update)()
    update, optimizer = median(in_update), median(in_optimizer)
    needed = 2 * 3 * training.tool.cost * training.recipe.crop**2 * batch_size
    return {
        "architecture": architecture,
        "parameters": sum(parameter.numel() for parameter in training.network.parameters()),
        "precision": precision,
        "batch_size": batch_size,
        "patches_per_second": batch_size / update,
        "update_ms": 1e3 * update,
        "optimizer_ms": 1e3 * optimizer,
        "share_of_bound": needed / (update - optimizer) / matrix_rate(RATE_SECONDS, getattr(torch, precision)),
    }


def new_training(architecture: str, batch_size: int, precision: Precision, seed: int) -> ToolTraining:
    """Return a training of one network on random patches; it writes no checkpoint."""
    recipe = replace(Recipe(), batch_size=batch_size)
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (POOL, recipe.crop, recipe.crop, 3), dtype=np.uint8)
    pool = Pairs(list(images), list(images))
    return ToolTraining(
        spec=ToolSpec("tool", "everyday", None, architecture),
        batch=PoolBatches(pool, batch_size, seed).batch,
        data="random patches",
        validation=pool.first(1).to_tensors(),
        budget=Budget(iterations=1),
        checkpoint=Path("none"),  # such a file does not exist, and `advance` writes none
        recipe=recipe,
        seed=seed,
        precision=precision,
    )


def describe(results: Results) -> Blocks:
    """Return the paragraphs and the table of the report."""
    return [
        "# How fast tools train",
        f"Patches of {Recipe().crop}x{Recipe().crop}, the recipe `fast`. The optimizer's step takes the same time for "
        "any batch. The share of the bound is that of forward and backward alone: multiplications and additions a "
        "second, over those of the fastest matrix product of the same precision in the same minute.",
        table_of([cells(row) for row in results["rows"]]),
    ]


def cells(row: Mapping[str, Any]) -> dict[str, str]:
    """Return the cells of one row of the table by the heads of their columns."""
    return {
        "network": row["architecture"],
        "parameters": f"{row['parameters']:,}",
        "precision": row["precision"],
        "batch": str(row["batch_size"]),
        "patches/s": f"{row['patches_per_second']:.0f}",
        "update, ms": f"{row['update_ms']:.0f}",
        "of it the optimizer": f"{row['optimizer_ms']:.0f}",
        "share of the bound": f"{row['share_of_bound']:.0%}",
    }


if __name__ == "__main__":
    run_program(main, Args)

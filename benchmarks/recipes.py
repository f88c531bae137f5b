"""One tool, trained for the same time by several recipes.

    python -m benchmarks.recipes --photos train/ --validation valid/ --output recipes.json

Run it while nothing else runs: what fits into a minute is what is compared.
"""

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import torch
import tyro

from benchmarks.plots import curves, save_figure
from benchmarks.report import check_output, results_of, write_results
from restore_env.images import FolderPhotos
from restore_env.pairs import PatchSampler, draw_pairs
from restore_env.progress import progress_bar
from tools.program import run_program
from tools.recipes import RECIPES, Recipe
from tools.specs import ToolSpec, load_spec
from tools.tool_training import ToolTraining
from tools.training import Budget, Progress
from tools.training_data import Batch, PoolBatches, pairs_to_tensors, prepare_pool

FAST: Final = RECIPES["fast"]

COMPARED: Final[dict[str, Recipe]] = {
    "fast: SOAP, batches of 4": FAST,
    "fast, batches of 16": replace(FAST, batch_size=16),
    "fast, mean squared error": replace(FAST, loss="mse", clip=0.1),
    "fast, Adam at 1e-3": replace(FAST, optimizer="adam", learning_rate=1e-3),
    "fast, Adam at 1e-3, batches of 16, warm-up 500": replace(
        FAST, optimizer="adam", learning_rate=1e-3, batch_size=16, warm_up=500
    ),
    "paper: SGD, batches of 64": RECIPES["paper"],
}
"""What is compared, by the names that the table gives them."""


@dataclass
class Args:
    """One tool, trained for the same time by several recipes."""

    photos: Path
    """Folder of clean photos to train on."""
    validation: Path
    """Folder of other clean photos to measure on."""
    output: Path
    """Results to write, ending in .json; a table and a plot are written beside it."""
    tool: str = "noise-3"
    """Which of the tools of rl-restore-12."""
    minutes: float = 3.0
    """Minutes of training a recipe."""
    threads: int = 1
    """Threads to train with."""
    pool: int = 20_000
    """Distorted patches that are drawn ahead."""
    n: int = 256
    """Patches to measure on."""
    seed: int = 0
    """Seed of weights and data."""
    data: str = "not stated"
    """What the photos are, for the record."""


def main(args: Args) -> dict[str, Any]:
    """Train by each recipe, write the results with a plot, and return them."""
    check_output(args.output)
    torch.set_num_threads(args.threads)
    spec = load_spec("rl-restore-12").chosen([args.tool])[0]
    validation = draw_pairs(PatchSampler(FolderPhotos(args.validation), spec.task()), args.n, args.seed)
    rows = []
    with progress_bar("recipes") as report, tempfile.TemporaryDirectory() as folder:
        for number, (name, recipe) in enumerate(COMPARED.items()):
            rows.append(train(name, spec, recipe, pairs_to_tensors(validation), Path(folder), args))
            report((number + 1) / len(COMPARED))
    results = results_of(args, rows=rows)
    write_results(results, args.output, "recipes", text(results))
    lines = {row["recipe"]: (row["minutes"], row["psnr"]) for row in rows}
    save_figure(
        args.output.with_suffix(".png"), lambda axes: curves(axes, lines, "minutes of training", "PSNR (dB)"), (7, 4)
    )
    return results


def train(name: str, spec: ToolSpec, recipe: Recipe, validation: Batch, folder: Path, args: Args) -> dict[str, Any]:
    """Train the tool by one recipe; its PSNR over time."""
    source = PatchSampler(FolderPhotos(args.photos), spec.distortion(), recipe.crop, augment=True)
    pool = prepare_pool(folder, spec.name, source, str(recipe.crop), args.pool, args.seed, 1)
    seen: list[Progress] = []
    batches = PoolBatches(pool, recipe.batch_size, args.seed)
    budget = Budget(minutes=args.minutes)
    run = ToolTraining(spec, batches, "", validation, budget, folder / f"{name}.pt", recipe, args.seed)
    run.run(seen.append, every=args.minutes * 60 / 10)
    return {
        "recipe": name,
        "iterations": run.iteration,
        "minutes": [progress.seconds / 60 for progress in seen],
        "psnr": [progress.after for progress in seen],
        "psnr_in": seen[-1].before,
        "psnr_out": seen[-1].after,
    }


def text(results: dict[str, Any]) -> str:
    """The results as Markdown."""
    options, rows = results["options"], results["rows"]
    lines = [
        f"# Recipes for training the tool {options['tool']}",
        "",
        f"{options['minutes']:g} minutes of training each, on {options['threads']} thread(s); PSNR in dB on "
        f"{options['n']} patches of photos not trained on.",
        "",
        "| recipe | iterations | PSNR in | PSNR out | gain |",
        "| --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        gain = row["psnr_out"] - row["psnr_in"]
        cells = f"{row['iterations']:,} | {row['psnr_in']:.2f} | {row['psnr_out']:.2f} | {gain:+.2f}"
        lines.append(f"| {row['recipe']} | {cells} |")
    return "\n".join([*lines, "", f"![PSNR over time]({Path(options['output']).stem}.png)"])


if __name__ == "__main__":
    run_program(lambda: main(tyro.cli(Args)))

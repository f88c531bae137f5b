"""Train the tools of a toolbox from a folder of clean photos.

    python -m tools.train_toolbox --photos photos/ --output my-toolbox/

Run the same command again after an interruption: it goes on from its checkpoints.
"""

import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import partial
from multiprocessing import get_context
from os import cpu_count
from pathlib import Path

import cv2
import torch
import tyro

from restore_env.checks import check_whole
from restore_env.images import FolderPhotos
from restore_env.pairs import PatchSampler, draw_pairs
from restore_env.toolbox import Tool, Toolbox, load_toolbox, save_toolbox
from restore_env.toolbox.storage import DESCRIPTION
from tools.model_card import TrainedTool, write_model_card
from tools.specs import RL_RESTORE_12, ToolSpec
from tools.tool_training import Budget, Recipe, ToolTraining
from tools.training_data import TrainingBatches, pairs_to_tensors

VALIDATION_SEED = 2**31


@dataclass
class Args:
    """Train the tools of a toolbox from a folder of clean photos."""

    photos: Path
    """Folder of clean photos to train on."""
    output: Path
    """Toolbox folder to write; tools that are in it already and not trained now are kept."""
    validation: Path | None = None
    """Folder of clean photos to measure on; by default every tenth of the training photos is kept aside."""
    tools: tuple[str, ...] = ()
    """Names of the tools to train, such as noise-3 blur-1; by default all twelve."""
    minutes: float = 10.0
    """Minutes of training a tool."""
    iterations: int | None = None
    """Iterations a tool, instead of minutes."""
    jobs: int = 1
    """Tools that are trained at the same time, each with its share of the processor's cores."""
    robust: bool = True
    """Add slight noise and JPEG to every tool's training data (the paper's "+ noise")."""
    precision: str = "auto"
    """float32, bfloat16, or auto: bfloat16 where the processor computes with it."""
    seed: int = 0
    """Seed of the first weights and of the data."""
    checkpoints: Path | None = None
    """Where unfinished trainings are kept, by default runs/ and the name of the output folder."""
    name: str = ""
    """Name of the toolbox, by default that of its folder."""
    licence: str = "not stated"
    """The photos' source and licence, for the model card."""
    recipe: Recipe = field(default_factory=Recipe)
    """How a tool is trained."""


def main(args: Args) -> Toolbox:
    """Train, write the toolbox folder with its model card, and return the toolbox."""
    check_whole("jobs", args.jobs, 1)
    if args.iterations is not None:
        check_whole("iterations", args.iterations, 1)
    if not args.minutes > 0:
        raise ValueError(f"minutes={args.minutes} is not more than 0")
    specs = chosen_specs(args.tools)
    train = partial(train_one, args=args)
    if args.jobs == 1:
        trained = [train(spec) for spec in specs]
    else:
        with ProcessPoolExecutor(args.jobs, mp_context=get_context("spawn")) as pool:
            trained = list(pool.map(train, specs))
    toolbox = merged(args, [item.tool for item in trained])
    save_toolbox(toolbox, args.output)
    write_model_card(args.output, toolbox, trained, asdict(args), threads_of(args))
    return toolbox


def chosen_specs(names: Sequence[str]) -> list[ToolSpec]:
    """The specs of the tools named, or of all twelve.

    Raises:
        ValueError: if a name is none of theirs.
    """
    known = {spec.name: spec for spec in RL_RESTORE_12}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ValueError(f"tools: {unknown[0]!r} is not one of {', '.join(known)}")
    return [known[name] for name in names or known]


def train_one(spec: ToolSpec, args: Args) -> TrainedTool:
    """Train one tool, from its checkpoint if there is one."""
    torch.set_num_threads(threads_of(args))
    cv2.setNumThreads(1)
    training, held_out = photos_of(args)
    distortion = spec.distortion(args.robust)
    validation = pairs_to_tensors(draw_pairs(PatchSampler(held_out, distortion), 256, VALIDATION_SEED))
    run = ToolTraining(
        spec,
        TrainingBatches(
            PatchSampler(training, distortion, args.recipe.crop, augment=True), args.recipe.batch_size, args.seed
        ),
        validation,
        Budget(args.iterations, args.minutes),
        (args.checkpoints or Path("runs") / args.output.resolve().name) / f"{spec.name}.pt",
        args.recipe,
        args.seed,
        computes_bfloat16(args.precision),
    )
    tool = run.run(lambda line: print(line, file=sys.stderr, flush=True))
    before, after = run.validate()
    return TrainedTool(tool, before, after, run.iteration, run.seconds)


def threads_of(args: Args) -> int:
    """Threads that one tool is trained with."""
    return max(1, (cpu_count() or 1) // args.jobs)


def photos_of(args: Args) -> tuple[FolderPhotos, FolderPhotos]:
    """The photos to train on and those to measure on."""
    photos = FolderPhotos(args.photos)
    if args.validation is not None:
        return photos, FolderPhotos(args.validation)
    if len(photos) < 2:
        raise ValueError(f"photos={str(args.photos)!r} has one photo; two are needed, or --validation with others")
    aside = set(range(0, len(photos), 10))
    return photos.subset(sorted(set(range(len(photos))) - aside)), photos.subset(sorted(aside))


def computes_bfloat16(precision: str) -> bool:
    """Whether convolutions shall compute in bfloat16.

    Raises:
        ValueError: if `precision` is none of the three.
    """
    if precision not in ("auto", "float32", "bfloat16"):
        raise ValueError(f"precision={precision!r} is not 'auto', 'float32' or 'bfloat16'")
    return precision == "bfloat16" or (precision == "auto" and torch.cpu._is_avx512_bf16_supported())


def merged(args: Args, trained: Sequence[Tool]) -> Toolbox:
    """The trained tools, in place of those of the same name if the output folder holds a toolbox already."""
    kept = list(load_toolbox(args.output)) if (args.output / DESCRIPTION).is_file() else []
    tools = {tool.name: tool for tool in kept} | {tool.name: tool for tool in trained}
    order = [spec.name for spec in RL_RESTORE_12] + list(tools)  # tools of other names come last
    return Toolbox(sorted(tools.values(), key=lambda tool: order.index(tool.name)), args.name or args.output.name)


if __name__ == "__main__":
    try:
        main(tyro.cli(Args))
    except ValueError as error:
        sys.exit(f"train_toolbox: {error}")

"""Train the tools of a toolbox from a folder of clean photos.

    python -m tools.train_toolbox --photos photos/ --output my-toolbox/

Stopped at any moment, the same command goes on from its checkpoints.
"""

import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, replace
from multiprocessing.synchronize import Event
from pathlib import Path
from threading import Lock
from typing import Any, Final

import cv2
import torch
import tyro

from restore_env.data.pairs import Pairs
from restore_env.data.photos import FolderPhotos
from restore_env.data.sampling import PatchSampler
from restore_env.data.sources import draw_pairs
from restore_env.toolbox import Tool, Toolbox, load_toolbox, save_toolbox
from restore_env.toolbox.storage import DESCRIPTION
from restore_env.training.fingerprints import digest_of_photos
from restore_env.training.logging import TrainingLog
from restore_env.training.model_card import TrainedTool, write_model_card
from restore_env.training.parallel import only_the_parent_is_told, when_orphaned
from restore_env.training.program import run_program
from restore_env.training.signals import StopRequest, stop_request
from restore_env.training.split import kept_aside
from restore_env.training.trainer import Budget
from restore_env.utils.checks import check_choice, check_device, check_whole
from restore_env.utils.files import make_folders
from tools.recipes import RECIPES, Recipe
from tools.single.pool import PoolBatches, pairs_to_tensors, prepare_pool
from tools.single.trainer import Batches, ToolTraining
from tools.specs import ToolSpec, load_spec

VALIDATION_SEED = 2**31
VALIDATION_PATCHES = 256


@dataclass
class Args:
    """Train the tools of a toolbox from a folder of clean photos."""

    photos: Path
    """Folder of clean photos to train on."""
    output: Path
    """Toolbox folder to write; tools that are in it already and not trained now are kept."""
    validation: Path | None = None
    """Folder of clean photos to measure on; by default every tenth of the training photos is kept aside."""
    toolbox: str = "rl-restore-12"
    """What the tools are: rl-restore-6, rl-restore-12, rl-restore-18, or a JSON file (see docs/train-tools.md)."""
    tools: tuple[str, ...] = ()
    """Names of the tools to train, such as noise-3 blur-1; by default all."""
    start: str = ""
    """Toolbox, by name or folder, whose tools of the same names to go on from instead of random weights: so shipped
    tools are fitted to photos of your own."""
    minutes: float = 10.0
    """Minutes of training a tool."""
    iterations: int | None = None
    """Iterations a tool, instead of minutes."""
    jobs: int = 1
    """Tools that are trained at the same time; on a CPU each has its share of the cores."""
    recipe: str = "fast"
    """fast (SOAP, cosine, average of the weights) or paper (SGD with momentum in four steps, batches of 64)."""
    batch_size: int | None = None
    """Patches in a batch, instead of the recipe's."""
    crop: int | None = None
    """Height and width of a training patch in pixels, instead of the recipe's."""
    learning_rate: float | None = None
    """Peak of the learning rate, instead of the recipe's."""
    pool: int = 20_000
    """Distorted patches that are drawn ahead for each tool and reused in random order."""
    robust: bool = True
    """Train on slight noise and JPEG too, and on stronger ones (the paper's "+ noise"); --no-robust leaves them out."""
    device: str = "cpu"
    """cpu or cuda."""
    precision: str = "auto"
    """float32, bfloat16, or auto: bfloat16 where the device computes with it."""
    seed: int = 0
    """Seed of the first weights and of the data."""
    prepare: bool = False
    """Only draw the training data, then end."""
    checkpoints: Path | None = None
    """Where pools, unfinished trainings and TensorBoard files are kept, by default runs/ and the output's name."""
    name: str = ""
    """Name of the toolbox, by default that of its folder."""
    licence: str = "not stated"
    """The photos' source and licence, for the model card."""


def main(args: Args) -> Toolbox | None:
    """Train, write the toolbox folder with its model card, and return the toolbox; nothing with `--prepare`.

    Raises:
        Stopped: when SIGINT or SIGTERM came; what was trained is in the checkpoints.
        ValueError: if an option cannot be.
    """
    check(args)
    spec = load_spec(args.toolbox)
    specs = spec.chosen(args.tools)
    first_networks(specs, args)
    make_folders(args.output, folder_of(args))
    for tool in specs:
        pool_of(tool, args)
    if args.prepare:
        return None
    with stop_request() as request:
        trained = train_all(specs, args, request)
    toolbox = merged(args, [item.tool for item in trained], [tool.name for tool in spec.tools])
    save_toolbox(toolbox, args.output)
    write_model_card(args.output, toolbox, trained)
    return toolbox


def check(args: Args) -> None:
    """Raise a `ValueError` if an option cannot be."""
    for name, least in (("jobs", 1), ("pool", 1), ("seed", 0)):
        check_whole(name, getattr(args, name), least)
    if args.iterations is not None:
        check_whole("iterations", args.iterations, 1)
    if not args.minutes > 0:
        raise ValueError(f"minutes={args.minutes} is not more than 0")
    check_device(args.device)
    computes_bfloat16(args)
    recipe_of(args)
    photos_of(args)
    toolbox_in(args.output)


def train_all(specs: Sequence[ToolSpec], args: Args, request: StopRequest) -> list[TrainedTool]:
    """Train tools, `args.jobs` at a time.

    Raises:
        Stopped: if a signal came before all were trained.
    """
    if min(args.jobs, len(specs)) == 1:
        trained = [train_one(spec, args, request) for spec in specs]
    else:
        trained = _side_by_side(specs, args, request)
    finished = [item for item in trained if item is not None]
    if len(finished) < len(specs):
        request.check()
    return finished


def _side_by_side(specs: Sequence[ToolSpec], args: Args, request: StopRequest) -> list[TrainedTool | None]:
    """Train each tool in a process of its own."""
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    with ProcessPoolExecutor(args.jobs, context, _start, (stop,)) as pool:
        futures = [pool.submit(_train_in_process, spec, args) for spec in specs]
        while not all(future.done() for future in futures):
            wait(futures, timeout=0.2)
            if request() or any(future.done() and future.exception() for future in futures):
                stop.set()  # each process writes its checkpoint and ends
    try:
        return [future.result() for future in futures]
    except BrokenProcessPool:
        request.check()  # a process that was still starting did not know yet that signals are not for it
        raise


_stop: Event
"""Tells this process to stop; set by `_start`."""

_busy: Final = Lock()
"""Held while this process trains."""


def _start(stop: Event) -> None:
    """Make a new process ready to train."""
    global _stop
    _stop = stop
    only_the_parent_is_told()
    when_orphaned(_leave)


def _leave() -> None:
    """End this process once its checkpoint is written."""
    _stop.set()
    with _busy:
        os._exit(1)


def _train_in_process(spec: ToolSpec, args: Args) -> TrainedTool | None:
    with _busy:
        return train_one(spec, args, _stop.is_set)


def train_one(spec: ToolSpec, args: Args, stopping: Callable[[], bool]) -> TrainedTool | None:
    """Train one tool, from its checkpoint if there is one; None if it was stopped before the end."""
    if stopping():
        return None
    torch.set_num_threads(threads_of(args))
    cv2.setNumThreads(1)
    training, held_out = photos_of(args)
    folder, recipe, task = folder_of(args), recipe_of(args), spec.task(args.robust)
    validation = draw_pairs(PatchSampler(held_out, task), VALIDATION_PATCHES, VALIDATION_SEED)
    run = ToolTraining(
        spec,
        batches_of(spec, args),
        data_of(spec, args),
        pairs_to_tensors(validation, args.device),
        Budget(args.iterations, args.minutes),
        folder / f"{spec.name}.pt",
        recipe,
        args.seed,
        computes_bfloat16(args),
        first_networks([spec], args).get(spec.name),
    )
    with TrainingLog(folder / "tensorboard" / spec.name, run.iteration) as log:
        if not run.run(log.report, stopping):
            return None
    before, after = run.validate()
    return TrainedTool(run.tool, before, after, run.iteration, run.seconds, record_of(args, training))


def first_networks(specs: Sequence[ToolSpec], args: Args) -> dict[str, torch.nn.Module]:
    """The networks that trainings go on from, by the tools' names; none if they begin with random weights.

    Raises:
        ValueError: if the toolbox named has no such tool, or one of other sizes.
    """
    if not args.start:
        return {}
    tools = {tool.name: tool.module for tool in load_toolbox(args.start)}
    found = {}
    for spec in specs:
        if spec.name not in tools:
            raise ValueError(f"start={args.start!r} has no tool {spec.name!r}; it has {', '.join(tools)}")
        network, new = tools[spec.name], spec.network(0)
        if network is None or type(network) is not type(new) or network.arguments != new.arguments:
            wanted = f"the {spec.architecture} network wanted"
            raise ValueError(f"start={args.start!r}: its tool {spec.name!r} is not {wanted}")
        found[spec.name] = network
    return found


def batches_of(spec: ToolSpec, args: Args) -> Batches:
    """The training data of a tool."""
    recipe = recipe_of(args)
    return PoolBatches(pool_of(spec, args), recipe.batch_size, args.seed, args.device)


def pool_of(spec: ToolSpec, args: Args) -> Pairs:
    """The training data of a tool, drawn by all cores where they do not lie on the disk yet."""
    training, _ = photos_of(args)
    source = PatchSampler(training, spec.distortion(args.robust), recipe_of(args).crop, augment=True)
    folder = folder_of(args) / "pools"
    return prepare_pool(folder, spec.name, source, data_of(spec, args), args.pool, args.seed, os.cpu_count() or 1)


def data_of(spec: ToolSpec, args: Args) -> str:
    """What a tool's training data are; the same text means the same data."""
    training, _ = photos_of(args)
    photos = f"{len(training)} photos ({digest_of_photos(training)})"
    distortion = spec.distortion(args.robust)
    return f"{args.pool} patches of {recipe_of(args).crop} pixels, seed {args.seed}, from {photos}, {distortion!r}"


def recipe_of(args: Args) -> Recipe:
    """The recipe, with what the options change of it."""
    check_choice("recipe", args.recipe, RECIPES)
    changes = {name: getattr(args, name) for name in ("batch_size", "crop", "learning_rate")}
    return replace(RECIPES[args.recipe], **{name: value for name, value in changes.items() if value is not None})


def folder_of(args: Args) -> Path:
    """Where all that belongs to an unfinished training is kept."""
    return args.checkpoints or Path("runs") / args.output.resolve().name


def threads_of(args: Args) -> int:
    """Threads that one tool is trained with."""
    return max(1, (os.cpu_count() or 1) // args.jobs)


def photos_of(args: Args) -> tuple[FolderPhotos, FolderPhotos]:
    """The photos to train on and those to measure on."""
    photos = FolderPhotos(args.photos)
    if args.validation is not None:
        return photos, FolderPhotos(args.validation)
    rest, aside = kept_aside([path.stem for path in photos.paths])
    if not rest:
        raise ValueError(f"photos={str(args.photos)!r} has one photo; two are needed, or --validation with others")
    return photos.subset(rest), photos.subset(aside)


def computes_bfloat16(args: Args) -> bool:
    """Whether convolutions shall compute in bfloat16.

    Raises:
        ValueError: if `args.precision` is none of the three.
    """
    check_choice("precision", args.precision, ("auto", "float32", "bfloat16"))
    if args.precision == "auto":
        on_gpu = torch.device(args.device).type == "cuda"
        return torch.cuda.is_bf16_supported() if on_gpu else torch.cpu._is_avx512_bf16_supported()
    return args.precision == "bfloat16"


def record_of(args: Args, photos: FolderPhotos) -> dict[str, Any]:
    """What the model card says of a training, besides its results."""
    return {
        "photos": f"{args.licence} ({len(photos)} photos)",
        "recipe": {"name": args.recipe, **asdict(recipe_of(args))},
        **({"start": Path(args.start).name} if args.start else {}),
        "pool": args.pool,
        "robust": args.robust,
        "seed": args.seed,
        "precision": "bfloat16" if computes_bfloat16(args) else "float32",
        "threads": threads_of(args),
        "device": args.device,
    }


def toolbox_in(folder: Path) -> Sequence[Tool]:
    """The tools that a folder holds already."""
    return load_toolbox(folder) if (folder / DESCRIPTION).is_file() else ()


def merged(args: Args, trained: Sequence[Tool], order: Sequence[str]) -> Toolbox:
    """The trained tools, in place of those of the same name if the output folder holds a toolbox already.

    Tools come in the order of the names given, others after them.
    """
    tools = {tool.name: tool for tool in toolbox_in(args.output)} | {tool.name: tool for tool in trained}
    places = [*order, *tools]
    return Toolbox(sorted(tools.values(), key=lambda tool: places.index(tool.name)), args.name or args.output.name)


if __name__ == "__main__":
    run_program(lambda: main(tyro.cli(Args)))

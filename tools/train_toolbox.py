"""Train the tools of a toolbox from a folder of clean photos.

    python -m tools.train_toolbox --photos photos/ --output my-toolbox/

Stopped at any moment, the same command resumes from its checkpoints.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

import cv2
import torch

from restore_env import Pairs, Tool, Toolbox, draw_pairs, load_toolbox, save_toolbox
from restore_env.data.photos import FolderPhotos
from restore_env.data.sampling import PatchSampler
from restore_env.toolbox.networks import ToolNetwork
from restore_env.toolbox.storage import DESCRIPTION
from restore_env.training.fingerprints import digest_of_photos
from restore_env.training.logging import RunLogger
from restore_env.training.model_card import read_record, write_model_card
from restore_env.training.parallel import train_in_parallel
from restore_env.training.program import check_run, make_run_folder, run_program
from restore_env.training.signals import stop_request
from restore_env.training.split import VALIDATION_SEED, split_photos
from restore_env.utils.checks import Count, Positive, Text
from restore_env.utils.files import real_path
from restore_env.utils.threads import available_cores
from tools.recipes import RECIPES, Precision, Recipe, ToolArgs, choose_precision
from tools.single.model_card import tool_record, toolbox_card
from tools.single.pool import MARGIN, PoolBatches, draw_pool, load_pool
from tools.single.trainer import ToolTraining
from tools.specs import ToolboxSpec, ToolSpec, load_spec

VALIDATION_PATCHES: Final = 256


@dataclass(kw_only=True)
class Args(ToolArgs):
    """Train the tools of a toolbox from a folder of clean photos.

    Raises:
        ValueError: if an option is outside its range.
    """

    photos: Path
    """Folder of clean photos to train on."""
    output: Path
    """Toolbox folder to write. Tools that it has already are kept, unless they are trained now."""
    validation: Path | None = None
    """Folder of clean photos to measure on; by default every tenth of the training photos is held out."""
    toolbox: Text = "rl-restore-12"
    """Description of the tools: rl-restore-6, -12 or -18, restore-12, or a JSON file (docs/train-tools.md)."""
    trust: bool = False
    """Import the distortion classes that the JSON file names. This runs their code: trust only files of your own."""
    tools: tuple[str, ...] = ()
    """Names of the tools to train, such as noise-3 blur-1; by default all."""
    start: str = ""
    """Toolbox whose tools to start from, by name or folder, to adapt them to your photos. A toolbox of a single tool
    starts all. Default: random weights."""
    minutes: Positive = 10.0
    """Minutes of training for each tool."""
    jobs: Count = 1
    """Tools that are trained in parallel; on a CPU they share the cores."""
    pool: Count = 20_000
    """Distorted patches that are drawn before the training for each tool and reused in random order."""
    robust: bool = True
    """Add slight noise and JPEG to most patches, sometimes blur."""
    prepare: bool = False
    """Only draw the training data."""

    @property
    def threads(self) -> int:
        """Number of threads for each tool, as long as PyTorch has those it started with (OMP_NUM_THREADS)."""
        return max(1, torch.get_num_threads() // self.jobs)


class ToolData(NamedTuple):
    """What one tool is trained with.

    Attributes:
        spec: the tool.
        text: description of the training data; the same text means the same data.
        pool: file of the training data.
        validation: pairs to measure on.
        start: network to start from, None for random weights.
    """

    spec: ToolSpec
    text: str
    pool: Path
    validation: Pairs
    start: ToolNetwork | None


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Everything that a run needs; `run` opens no photo.

    Attributes:
        args: the options.
        spec: the toolbox.
        recipe: how the tools are trained.
        precision: in which convolutions compute.
        folder: the folder of pools, checkpoints and TensorBoard files.
        tools: the tools to train, each with its data.
        threads: number of threads that a tool is trained with.
        settings: what the model card says of a training, besides its results.
    """

    args: Args
    spec: ToolboxSpec
    recipe: Recipe
    precision: Precision
    folder: Path
    tools: Sequence[ToolData]
    threads: int
    settings: dict[str, Any]


def plan(args: Args) -> Plan:
    """Open the photos and all else that the options name, and draw the training data.

    Raises:
        ValueError: if an option names what does not exist or does not fit.
    """
    read = {"--photos": args.photos, "--validation": args.validation, "--toolbox": args.toolbox, "--start": args.start}
    check_run(read, args.output, args.checkpoints)
    spec, recipe = load_spec(args.toolbox, args.trust), args.recipe_of(RECIPES)
    chosen = spec.chosen(args.tools)
    starts = start_networks(chosen, args.start)
    photos, held_out = open_photos(args)
    existing_tools(args.output)  # what cannot be read is told before the work
    folder = make_run_folder(args.output, args.checkpoints)
    precision = choose_precision(args.precision, args.device)
    sampler, tools = PatchSampler(held_out), []  # one sampler for all tools: it reads each photo once
    for tool in chosen:
        text, pool = draw_training_data(tool, photos, recipe.crop, folder / "pools", args)
        sampler.distortion = tool.task(args.robust)
        validation = draw_pairs(sampler, VALIDATION_PATCHES, VALIDATION_SEED)
        tools.append(ToolData(tool, text, pool, validation, starts.get(tool.name)))
    return Plan(
        args=args,
        spec=spec,
        recipe=recipe,
        precision=precision,
        folder=folder,
        tools=tools,
        threads=args.threads,
        settings=card_settings(args, len(photos), recipe, precision),
    )


def run(plan: Plan) -> Toolbox:
    """Train, write the toolbox folder with its model card, and return the toolbox.

    Raises:
        Stopped: if SIGINT or SIGTERM came; the work so far is in the checkpoints.
    """
    with stop_request() as request:
        trained = train_in_parallel(partial(train_one, plan), plan.tools, plan.args.jobs, request)
    output = plan.args.output  # another run may have written tools there meanwhile
    tools = {tool.name: tool for tool in (*existing_tools(output), *(tool for tool, _ in trained))}
    order = [*(spec.name for spec in plan.spec.tools), *tools]
    toolbox = Toolbox(
        sorted(tools.values(), key=lambda tool: order.index(tool.name)), plan.args.name or real_path(output).name
    )
    records = {**read_record(output).get("tools", {}), **{tool.name: record for tool, record in trained}}
    records = {name: records[name] for name in toolbox.names if name in records}
    save_toolbox(toolbox, output, weights=plan.args.weights)
    write_model_card(output, {"tools": records}, toolbox_card(toolbox, records))
    return toolbox


def main(args: Args) -> Toolbox | None:
    """Plan and run; with `--prepare`, which returns None, only plan."""
    planned = plan(args)
    return None if args.prepare else run(planned)


def existing_tools(output: Path) -> Sequence[Tool]:
    """Return the tools that the output folder has already."""
    return tuple(load_toolbox(output)) if (output / DESCRIPTION).is_file() else ()


def open_photos(args: Args) -> tuple[FolderPhotos, FolderPhotos]:
    """Open the photos to train on and those to measure on."""
    photos = FolderPhotos(args.photos)
    if args.validation is not None:
        return photos, FolderPhotos(args.validation)
    return split_photos(photos, f"photos={str(args.photos)!r}")


def start_networks(tools: Sequence[ToolSpec], start: str) -> dict[str, ToolNetwork]:
    """Return the networks that trainings start from, by the tools' names; none if `start` is empty.

    A toolbox of a single tool is a generalist, from which all tools start.

    Raises:
        ValueError: if the toolbox has no tool of a name, or one of another size.
    """
    found: dict[str, ToolNetwork] = {}
    if not start:
        return found
    networks = {tool.name: tool.module for tool in load_toolbox(start)}
    if len(networks) == 1:
        networks = dict.fromkeys((spec.name for spec in tools), *networks.values())
    for spec in tools:
        if spec.name not in networks:
            raise ValueError(f"start={start!r} has no tool {spec.name!r}; it has {', '.join(networks)}")
        network, new = networks[spec.name], spec.network(0)
        if not isinstance(network, type(new)) or network.arguments != new.arguments:
            wanted = f"the {spec.architecture} network wanted"
            raise ValueError(f"start={start!r}: its tool {spec.name!r} is not {wanted}")
        found[spec.name] = network
    return found


def draw_training_data(tool: ToolSpec, photos: FolderPhotos, crop: int, folder: Path, args: Args) -> tuple[str, Path]:
    """Draw a tool's training data on all cores, unless they are in the folder; return their description and file."""
    distortion = tool.distortion(args.robust)
    sampler = PatchSampler(photos, distortion, crop + MARGIN).for_training()
    text = f"{args.pool} patches, seed {args.seed}, photos {digest_of_photos(photos)}, {sampler!r}"
    return text, draw_pool(folder, tool.name, sampler, text, args.pool, args.seed, available_cores())


def train_one(plan: Plan, tool: ToolData, stopping: Callable[[], bool]) -> tuple[Tool, dict[str, Any]] | None:
    """Train one tool, from its checkpoint if there is one.

    Returns:
        The tool and the record of its training; None if it was stopped before the end.
    """
    if stopping():
        return None
    args, name = plan.args, tool.spec.name
    torch.set_num_threads(plan.threads)
    cv2.setNumThreads(1)
    training = ToolTraining(
        spec=tool.spec,
        batch=PoolBatches(load_pool(tool.pool), plan.recipe.batch_size, args.seed, args.device, plan.recipe.crop).batch,
        data=tool.text,
        validation=tool.validation.to_tensors(args.device),
        budget=args.budget,
        checkpoint=plan.folder / f"{name}.pt",
        recipe=plan.recipe,
        seed=args.seed,
        precision=plan.precision,
        start=tool.start,
    )
    with RunLogger(plan.folder / name, training.iteration) as log:
        if not training.run(log.report, stopping):
            return None
    return training.tool, tool_record(training, plan.settings)


def card_settings(args: Args, n_photos: int, recipe: Recipe, precision: Precision) -> dict[str, Any]:
    """Return what the model card says of a training, besides its results."""
    return {
        "photos": f"{args.licence} ({n_photos} photos)",
        "recipe": {"name": args.recipe, **asdict(recipe)},
        **({"start": Path(args.start).name} if args.start else {}),
        "pool": args.pool,
        "robust": args.robust,
        "seed": args.seed,
        "precision": precision,
        "threads": args.threads,
        "device": args.device,
    }


if __name__ == "__main__":
    run_program(main, Args)

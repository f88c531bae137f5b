"""Fine-tune the tools of a toolbox along the toolchains that a policy chose (paper, Algorithm 1).

    python -m tools.finetune_joint --logs toolchains/ --output my-toolbox/

Stopped at any moment, the same command goes on from its checkpoint.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
import tyro

from restore_env.constants import DEFAULT_TOOLBOX
from restore_env.data.pairs import Pairs
from restore_env.data.photos import FolderPhotos
from restore_env.data.sampling import FINE_SHRINK_FACTORS, PatchSampler
from restore_env.data.toolchain_log import ToolchainLog, load_toolchain_log
from restore_env.toolbox import Toolbox, load_toolbox, save_toolbox
from restore_env.toolbox.fingerprint import digest_of_toolbox
from restore_env.toolbox.storage import toolbox_folder
from restore_env.training.fingerprints import digest_of_photos
from restore_env.training.logging import TrainingLog
from restore_env.training.model_card import joint_records, write_joint_card
from restore_env.training.program import run_program
from restore_env.training.signals import stop_request
from restore_env.training.trainer import Budget
from restore_env.utils.checks import check_choice, check_device, check_whole
from restore_env.utils.files import make_folders
from restore_env.utils.tensors import bytes_to_floats
from tools.joint.batches import ChainBatch, ChainBatches
from tools.joint.trainer import JointTraining
from tools.recipes import JOINT_RECIPES, Recipe
from tools.single.pool import prepare_pool
from tools.specs import distortion_of, robust_distortion

VALIDATION_CHAINS: Final = 256


@dataclass
class Args:
    """Fine-tune the tools of a toolbox along the toolchains that a policy chose."""

    logs: tuple[Path, ...]
    """Toolchain logs to train on, such as agents.log_toolchains writes."""
    output: Path
    """Toolbox folder to write."""
    validation: Path | None = None
    """Toolchain log whose last 256 toolchains to measure on; by default as many of each log are kept aside, and the
    first log's are measured on."""
    toolbox: str = DEFAULT_TOOLBOX
    """Name or folder of the toolbox to start from."""
    minutes: float = 60.0
    """Minutes of training."""
    iterations: int | None = None
    """Iterations, instead of minutes."""
    recipe: str = "fast"
    """fast (SOAP, cosine, average of the weights) or paper (plain SGD, batches of 64 whole patches)."""
    optimizer: str | None = None
    """soap, adam, sgd or plain-sgd, instead of the recipe's."""
    loss: str | None = None
    """psnr, mse or sum, of the final images, instead of the recipe's."""
    batch_size: int | None = None
    """Toolchains in a batch, instead of the recipe's."""
    crop: int | None = None
    """Height and width of what is cut from a patch in pixels, instead of the recipe's."""
    learning_rate: float | None = None
    """Peak of the learning rate, instead of the recipe's."""
    own_task: float = 0.0
    """Share of each batch that are single distortions, each with the tool made for it, so that tools don't forget."""
    photos: Path | None = None
    """Folder of clean photos that those are made of."""
    pool: int = 5_000
    """How many of those are drawn ahead for each tool and reused."""
    device: str = "cpu"
    """cpu or cuda."""
    seed: int = 0
    """Seed of all that is drawn."""
    checkpoints: Path | None = None
    """Where the checkpoint, pools and TensorBoard files are kept, by default runs/ and the output's name."""
    name: str = ""
    """Name of the toolbox, by default that of its folder."""
    licence: str = "not stated"
    """The photos' source and licence, for the model card."""


def main(args: Args) -> Toolbox:
    """Fine-tune, write the toolbox folder with its model card, and return the toolbox.

    Raises:
        Stopped: when SIGINT or SIGTERM came; what was trained is in the checkpoint.
        ValueError: if an option cannot be.
    """
    check(args)
    toolbox = load_toolbox(args.toolbox, args.device)
    run = new_training(args, toolbox)
    with stop_request() as request, TrainingLog(folder_of(args) / "tensorboard", run.iteration) as log:
        if not run.run(log.report, request):
            request.check()
    trained = Toolbox(run.toolbox, args.name or args.output.resolve().name)
    save_toolbox(trained, args.output)
    write_joint_card(args.output, trained, record_of(args, run), joint_records(toolbox_folder(args.toolbox)))
    return trained


def check(args: Args) -> None:
    """Raise a `ValueError` if an option cannot be, before any work."""
    check_whole("seed", args.seed, 0)
    check_whole("pool", args.pool, 1)
    if args.iterations is not None:
        check_whole("iterations", args.iterations, 1)
    if not args.logs:
        raise ValueError("logs: none are given; agents.log_toolchains writes them")
    if not args.minutes > 0:
        raise ValueError(f"minutes={args.minutes} is not more than 0")
    if not 0 <= args.own_task < 1:
        raise ValueError(f"own_task={args.own_task} is not in [0, 1)")
    if args.own_task and args.photos is None:
        raise ValueError(f"own_task={args.own_task} needs --photos, of which single distortions are made")
    check_device(args.device)
    recipe_of(args)
    make_folders(args.output, folder_of(args))


def new_training(args: Args, toolbox: Toolbox) -> JointTraining:
    """The training that the options describe, gone on from its checkpoint."""
    logs = [checked_log(path, toolbox) for path in args.logs]
    recipe, pools = recipe_of(args), pools_of(args, toolbox)
    kept = min(VALIDATION_CHAINS, len(logs[0]) // 2) if args.validation is None else 0
    measured = logs[0] if args.validation is None else checked_log(args.validation, toolbox)
    rows = np.arange(len(measured))[-(kept or VALIDATION_CHAINS) :]
    batches = ChainBatches(
        logs, recipe.batch_size, recipe.crop, args.seed, pools, args.own_task, args.device, kept_aside=kept
    )
    return JointTraining(
        toolbox,
        batches,
        data_of(args, logs),
        validation_of(measured, rows, args.device),
        Budget(args.iterations, args.minutes),
        folder_of(args) / "joint.pt",
        recipe,
        digest_of_toolbox(toolbox),
    )


def checked_log(path: Path, toolbox: Toolbox) -> ToolchainLog:
    """A log of toolchains of these tools.

    Raises:
        ValueError: if it is empty, or of others.
    """
    log = load_toolchain_log(path)
    if log.header.actions != toolbox.action_names:
        raise ValueError(
            f"{path}: a log of the actions {', '.join(log.header.actions)}, but the toolbox {toolbox.name!r} has "
            f"{', '.join(toolbox.action_names)}"
        )
    if not len(log):
        raise ValueError(f"{path}: holds no toolchain")
    return log


def validation_of(log: ToolchainLog, rows: Sequence[int] | np.ndarray[Any, Any], device: str) -> ChainBatch:
    """Some toolchains of a log, whole patches as they are."""
    found = log[rows]
    distorted, reference = (
        bytes_to_floats(torch.from_numpy(array).to(device)) for array in (found.distorted, found.reference)
    )
    return ChainBatch(distorted, reference, torch.from_numpy(found.chain))


def pools_of(args: Args, toolbox: Toolbox) -> dict[int, Pairs]:
    """For each tool that says what it removes, pairs of its own task, drawn where they do not lie on the disk yet."""
    if not args.own_task or args.photos is None:
        return {}
    photos, crop, pools = FolderPhotos(args.photos), recipe_of(args).crop, {}
    for number, tool in enumerate(toolbox):
        if tool.interval is None:
            continue
        distortion = robust_distortion(distortion_of(tool.name, tool.removes, tool.interval))
        source = PatchSampler(photos, distortion, crop, colours=True, factors=FINE_SHRINK_FACTORS)
        identity = f"{digest_of_photos(photos)} {source!r}"
        pools[number] = prepare_pool(
            folder_of(args) / "pools", tool.name, source, identity, args.pool, args.seed, torch.get_num_threads()
        )
    return pools


def data_of(args: Args, logs: Sequence[ToolchainLog]) -> str:
    """What a training is done on; the same text means the same data."""
    texts = [f"{len(log)} toolchains of {asdict(log.header)}" for log in logs]
    photos = digest_of_photos(FolderPhotos(args.photos)) if args.own_task and args.photos else ""
    own = f"{args.own_task:g} own task, {args.pool} each of {photos}" if args.own_task else "toolchains alone"
    aside = "none" if args.validation else "the last"
    return f"{'; '.join(texts)}; {own}, {aside} kept aside, seed {args.seed}"


def record_of(args: Args, run: JointTraining) -> dict[str, Any]:
    """What the model card says of a training."""
    status = run.status()
    recipe = recipe_of(args)
    return {
        "start": Path(args.toolbox).name,
        "toolchains": len(run.validation.chain),
        "psnr_before": round(status.before, 3),
        "psnr_after": round(status.after, 3),
        "iterations": run.iteration,
        "minutes": round(run.seconds / 60, 1),
        "uses": dict(zip(run.toolbox.names, run.uses.tolist(), strict=True)),
        "settings": {
            "photos": args.licence,
            "logs": "; ".join(log_text(load_toolchain_log(path)) for path in args.logs),
            "measured on": log_text(load_toolchain_log(args.validation)) if args.validation else "the last of each log",
            "own task": f"{args.own_task:g} of each batch",
            "recipe": {"name": args.recipe, **asdict(recipe)},
            "seed": args.seed,
            "device": args.device,
            "threads": torch.get_num_threads(),
        },
    }


def log_text(log: ToolchainLog) -> str:
    """A log in words."""
    header = log.header
    seed = "" if header.seed is None else f", seed {header.seed}"
    return f"{len(log):,} toolchains of {header.policy} on {header.toolbox} ({header.source}{seed})"


def recipe_of(args: Args) -> Recipe:
    """The recipe, with what the options change of it."""
    check_choice("recipe", args.recipe, JOINT_RECIPES)
    changes = {name: getattr(args, name) for name in ("optimizer", "loss", "batch_size", "crop", "learning_rate")}
    return replace(JOINT_RECIPES[args.recipe], **{name: value for name, value in changes.items() if value is not None})


def folder_of(args: Args) -> Path:
    """Where all that belongs to an unfinished training is kept."""
    return args.checkpoints or Path("runs") / args.output.resolve().name


if __name__ == "__main__":
    run_program(lambda: main(tyro.cli(Args)))

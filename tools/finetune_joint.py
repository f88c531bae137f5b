"""Fine-tune the tools of a toolbox along the toolchains that a policy chose (paper, Algorithm 1).

    python -m tools.finetune_joint --logs toolchains/ --output my-toolbox/

Stopped at any moment, the same command resumes from its checkpoint.
"""

import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import torch

from restore_env import Pairs, Toolbox, load_toolbox, save_toolbox
from restore_env.constants import DEFAULT_TOOLBOX
from restore_env.data.photos import FolderPhotos
from restore_env.data.sampling import PatchSampler
from restore_env.data.toolchain_log import ToolchainLog, load_toolchain_log
from restore_env.toolbox.fingerprint import digest_of_toolbox
from restore_env.toolbox.storage import toolbox_folder
from restore_env.training.fingerprints import digest_of_photos
from restore_env.training.logging import RunLogger
from restore_env.training.model_card import read_record, write_model_card
from restore_env.training.optimizers import Optimizer
from restore_env.training.program import check_run, make_run_folder, run_program
from restore_env.training.signals import stop_request
from restore_env.utils.checks import Count, ProperFraction, Text
from restore_env.utils.files import real_path
from restore_env.utils.tensors import images_to_tensor
from restore_env.utils.threads import available_cores
from tools.joint.batches import ChainBatch, ChainBatches
from tools.joint.model_card import joint_card, joint_record
from tools.joint.trainer import JointTraining
from tools.recipes import JOINT_RECIPES, Loss, Recipe, ToolArgs, choose_precision
from tools.single.pool import draw_pool, load_pool
from tools.specs import names_class, own_distortion, training_distortion

VALIDATION_CHAINS: Final = 256


@dataclass(kw_only=True)
class Args(ToolArgs):
    """Fine-tune the tools of a toolbox along the toolchains that a policy chose.

    Raises:
        ValueError: if an option is outside its range.
    """

    logs: tuple[Path, ...]
    """Toolchain logs to train on; agents.log_toolchains writes them."""
    validation: Path | None = None
    """Log for validation (its last 256 toolchains). Default: each log holds out 256; the first log's are measured."""
    toolbox: Text = DEFAULT_TOOLBOX
    """Name or folder of the toolbox to start from."""
    optimizer: Optimizer | None = None
    """soap, adam, sgd (momentum 0.9) or plain-sgd (no momentum), instead of the recipe's."""
    loss: Loss | None = None
    """Of the final images: psnr (minus its mean), mse, or sum (half the squared error, summed over a patch)."""
    own_task: ProperFraction = 0.0
    """Share of a batch that each tool's own distortion makes, for that tool alone, so that tools do not forget."""
    photos: Path | None = None
    """Folder of clean photos for the tools' own distortions."""
    pool: Count = 5_000
    """Patches with its own distortion that are drawn before the training for each tool and reused."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.logs:
            raise ValueError("logs: none are given; agents.log_toolchains writes them")
        if self.own_task and self.photos is None:
            raise ValueError(
                f"own_task={self.own_task} needs --photos, to which the tools' own distortions are applied"
            )


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A training that is ready to run.

    Attributes:
        args: the options.
        folder: the folder of pools, checkpoint and TensorBoard files.
        training: the training, resumed from its checkpoint.
        records: the records of earlier joint trainings of the tools, the first one first.
        settings: what the model card says of the training, besides its results.
    """

    args: Args
    folder: Path
    training: JointTraining
    records: Sequence[dict[str, Any]]
    settings: dict[str, Any]


def plan(args: Args) -> Plan:
    """Open logs, tools and photos, and draw the training data.

    Raises:
        ValueError: if an option names what does not exist or does not fit, such as a log of other actions.
    """
    read = {"--logs": args.logs, "--validation": args.validation, "--toolbox": args.toolbox, "--photos": args.photos}
    check_run(read, args.output, args.checkpoints)
    toolbox = load_toolbox(args.toolbox, args.device)
    logs = [open_log(path, toolbox) for path in args.logs]
    recipe = args.recipe_of(JOINT_RECIPES)
    if args.crop is None:  # the recipes' crops suit patches of 63 pixels
        recipe = replace(recipe, crop=min(recipe.crop, *(log.header.patch_size for log in logs)))
    measured = logs[0] if args.validation is None else open_log(args.validation, toolbox)
    held_out = min(VALIDATION_CHAINS, len(logs[0]) // 2) if args.validation is None else 0
    photos = FolderPhotos(args.photos) if args.own_task and args.photos is not None else None
    folder = make_run_folder(args.output, args.checkpoints)
    pools = {} if photos is None else draw_pools(toolbox, photos, recipe.crop, folder / "pools", args)
    batches = ChainBatches(logs, recipe.batch_size, recipe.crop, args.seed, pools, args.own_task, args.device, held_out)
    training = JointTraining(
        tools=toolbox,
        batch=batches.batch,
        data=describe_data(logs, photos, args),
        validation=last_chains(measured, held_out or VALIDATION_CHAINS, args.device),
        budget=args.budget,
        checkpoint=folder / "joint.pt",
        recipe=recipe,
        start=digest_of_toolbox(toolbox),
        precision=choose_precision(args.precision, args.device),
    )
    records = read_record(toolbox_folder(args.toolbox)).get("joint", [])
    settings = card_settings(logs, measured, recipe, args)
    return Plan(args=args, folder=folder, training=training, records=records, settings=settings)


def run(plan: Plan) -> Toolbox:
    """Fine-tune, write the toolbox folder with its model card, and return the toolbox.

    Raises:
        Stopped: if SIGINT or SIGTERM came; the work so far is in the checkpoint.
    """
    args, training = plan.args, plan.training
    with stop_request() as request, RunLogger(plan.folder, training.iteration) as log:
        if not training.run(log.report, request):
            request.check()
    toolbox = Toolbox(training.toolbox, args.name or real_path(args.output).name)
    records = [*plan.records, joint_record(training, Path(args.toolbox).name, plan.settings)]
    save_toolbox(toolbox, args.output, weights=args.weights)
    content = {"tools": read_record(args.output).get("tools", {}), "joint": records}
    write_model_card(args.output, content, joint_card(toolbox, records))
    return toolbox


def main(args: Args) -> Toolbox:
    """Plan and run; return the toolbox."""
    return run(plan(args))


def open_log(path: Path, toolbox: Toolbox) -> ToolchainLog:
    """Open a toolchain log.

    Raises:
        ValueError: if it is empty, or its actions are not those of the toolbox.
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


def last_chains(log: ToolchainLog, n: int, device: str) -> ChainBatch:
    """Return the last toolchains of a log, with whole patches."""
    found = log[-n:]
    distorted, reference = (images_to_tensor(array, device) for array in (found.distorted, found.reference))
    return ChainBatch(distorted, reference, torch.from_numpy(found.chain))


def draw_pools(toolbox: Toolbox, photos: FolderPhotos, crop: int, folder: Path, args: Args) -> dict[int, Pairs]:
    """Draw pairs of its own task for each tool that says what it removes, unless they are in the folder.

    A class that a tool names is not imported: the toolbox may be a stranger's.
    """
    pools = {}
    for number, tool in enumerate(toolbox):
        if names_class(tool.removes):
            text = f"tool {tool.name!r} has no own task: removes={tool.removes!r} names a class, which is not imported"
            warnings.warn(text, stacklevel=2)
            continue
        if not tool.removes:
            continue
        distortion = training_distortion(own_distortion(tool.name, tool.removes, tool.interval))
        source = PatchSampler(photos, distortion, crop).for_training()
        identity = f"{digest_of_photos(photos)} {source!r}"
        jobs = available_cores()
        pools[number] = load_pool(draw_pool(folder, tool.name, source, identity, args.pool, args.seed, jobs))
    return pools


def describe_data(logs: Sequence[ToolchainLog], photos: FolderPhotos | None, args: Args) -> str:
    """Return a description of the training data; the same text means the same data."""
    texts = [f"{len(log)} toolchains of {asdict(log.header)}" for log in logs]
    own = "toolchains alone"
    if photos is not None:
        own = f"{args.own_task:g} own task, {args.pool} each of {digest_of_photos(photos)}"
    held_out = "none" if args.validation else "the last"
    return f"{'; '.join(texts)}; {own}, {held_out} held out, seed {args.seed}"


def card_settings(logs: Sequence[ToolchainLog], measured: ToolchainLog, recipe: Recipe, args: Args) -> dict[str, Any]:
    """Return what the model card says of the training, besides its results."""
    return {
        "photos": args.licence,
        "logs": "; ".join(map(log_text, logs)),
        "measured on": log_text(measured) if args.validation else "the last of each log",
        "own task": f"{args.own_task:g} of each batch",
        "recipe": {"name": args.recipe, **asdict(recipe)},
        "seed": args.seed,
        "precision": choose_precision(args.precision, args.device),
        "device": args.device,
        "threads": torch.get_num_threads(),
    }


def log_text(log: ToolchainLog) -> str:
    """Return a log in words."""
    header = log.header
    seed = "" if header.seed is None else f", seed {header.seed}"
    return f"{len(log):,} toolchains of {header.policy} on {header.toolbox} ({header.source}{seed})"


if __name__ == "__main__":
    run_program(main, Args)

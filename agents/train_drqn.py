"""Train the paper's recurrent agent, a deep recurrent Q-network, on a toolbox.

    python -m agents.train_drqn --photos photos/ --output my-agent/

Stopped at any moment, the same command goes on from its checkpoint.
"""

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import torch
import tyro

from agents.data import digest_of_source, draw_validation, sources
from agents.drqn.config import PRESETS, Options
from agents.drqn.model_card import write_agent_card
from agents.drqn.trainer import AgentStatus, DRQNTraining
from restore_env.constants import DEFAULT_TOOLBOX, MAX_STEPS
from restore_env.data.distortions import as_distortion
from restore_env.data.pairs import Pairs
from restore_env.data.sources import PairSource
from restore_env.evaluation import Evaluation
from restore_env.policies import RecurrentQPolicy, load_policy, save_policy
from restore_env.policies.recurrent_q import RecurrentQNetwork
from restore_env.restoration.batch import RestorationBatch
from restore_env.restoration.rewards import as_reward
from restore_env.toolbox import Toolbox, load_toolbox
from restore_env.toolbox.fingerprint import digest_of_toolbox, digest_of_weights
from restore_env.training.logging import History, TrainingLog
from restore_env.training.oracle_cache import oracle_of
from restore_env.training.program import run_program
from restore_env.training.signals import stop_request
from restore_env.training.trainer import Budget
from restore_env.utils.checks import check_choice, check_device, check_whole
from restore_env.utils.files import make_folders


@dataclass
class Args:
    """Train the paper's recurrent agent, a deep recurrent Q-network, on a toolbox."""

    photos: str
    """Folder of clean photos to train on, a pairs file (.npz), or "embedded"."""
    output: Path
    """Policy folder to write; its name becomes the policy's."""
    validation: str = ""
    """Folder of other clean photos, or a pairs file, to measure on; by default every tenth of the training photos is
    kept aside."""
    toolbox: str = DEFAULT_TOOLBOX
    """Name or folder of a toolbox."""
    severity: str = "moderate"
    """mild, moderate, severe, any or everyday."""
    start: str = ""
    """Policy, by name or folder, to go on from instead of random weights: an agent is refreshed when its tools change.
    The sizes of the network are then its own."""
    preset: str = "fast"
    """fast (our best), refresh (fast, for --start), paper, or released-code; the options below change it. The latter
    two are made for 500,000 updates: --iterations 22700."""
    minutes: float = 60.0
    """Minutes of training."""
    iterations: int | None = None
    """Iterations of playing and learning, instead of minutes."""
    options: Annotated[Options, tyro.conf.arg(name="")] = field(default_factory=Options)
    """How it is trained."""
    channels: tuple[int, ...] = (32, 24, 24, 24)
    """Feature maps of the network's four convolutions."""
    features: int = 32
    """Size of the network's description of an image."""
    hidden: int = 50
    """Size of the network's LSTM."""
    max_steps: int = MAX_STEPS
    """Tools in a toolchain at most."""
    reward: str = "step_psnr"
    """step_psnr, step_ssim, final_psnr or final_mse."""
    patches: int = 256
    """Patches to measure on."""
    oracle: int = 0
    """Of those, how many are also restored by trying every toolchain, once, to know the share of the best gain."""
    keep_last: bool = False
    """Write the last policy instead of the one that was best on the validation pairs."""
    device: str = "cpu"
    """cpu or cuda."""
    dtype: str = "float32"
    """Precision in which the tools convolve: float32 or bfloat16."""
    seed: int = 0
    """Seed of the first weights and of all that is drawn."""
    checkpoints: Path | None = None
    """Where the checkpoint, the memory and TensorBoard files are kept, by default runs/ and the output's name."""
    licence: str = "not stated"
    """The photos' source and licence, for the model card."""


def main(args: Args, clock: Callable[[], float] = time.monotonic) -> RecurrentQPolicy:
    """Train, write the policy folder with its model card, and return the policy.

    Args:
        args: the options.
        clock: counts the seconds of training, such as `time.process_time`.

    Raises:
        Stopped: when SIGINT or SIGTERM came; what was learnt is in the checkpoint.
        ValueError: if an option cannot be.
    """
    check(args)
    toolbox = load_toolbox(args.toolbox, args.device, args.dtype)
    training, validation = sources(args.photos, args.validation, args.severity, args.options.singles)
    run = new_training(args, toolbox, training, draw_validation(validation, args.patches))
    run.clock = clock
    history = History(folder_of(args), run.iteration)
    with stop_request() as request, TrainingLog(folder_of(args) / "tensorboard", run.iteration) as log:

        def report(status: AgentStatus) -> None:
            log.report(status)
            history.add(status.iteration, status.scalars())

        if args.start and not run.iteration:
            run.choose()  # what it starts from may be the best
            report(run.status())
        if not run.run(report, request):
            request.check()
    save_policy(run.policy, args.output, toolbox.name)
    write_agent_card(args.output, run, record_of(args, run))
    return run.policy


def check(args: Args) -> None:
    """Raise a `ValueError` if an option cannot be, before any work."""
    for name, least in (("patches", 1), ("oracle", 0), ("seed", 0), ("features", 1), ("hidden", 1), ("max_steps", 1)):
        check_whole(name, getattr(args, name), least)
    if args.iterations is not None:
        check_whole("iterations", args.iterations, 1)
    if not args.minutes > 0:
        raise ValueError(f"minutes={args.minutes} is not more than 0")
    if len(args.channels) != 4:
        raise ValueError(f"channels={args.channels} are not four numbers")
    if not all(number >= 1 for number in args.channels):
        raise ValueError(f"channels={args.channels}: each is at least 1")
    check_choice("preset", args.preset, PRESETS)
    as_reward(args.reward)
    as_distortion(args.severity)
    check_device(args.device)
    make_folders(args.output, folder_of(args))


def new_training(args: Args, toolbox: Toolbox, source: PairSource, validation: Pairs) -> DRQNTraining:
    """The training that the options describe, gone on from its checkpoint."""
    return DRQNTraining(
        first_network(args, toolbox).to(args.device),
        lambda: RestorationBatch(
            toolbox,
            max_steps=args.max_steps,
            stop_if_worse=args.options.stop_if_worse,
            reward=args.reward,
        ),
        source,
        data_of(args, toolbox, source),
        validation,
        args.options,
        Budget(args.iterations, args.minutes),
        folder_of(args),
        args.output.resolve().name,
        args.seed,
        best_of(args, toolbox, validation),
        args.keep_last,
    )


def first_network(args: Args, toolbox: Toolbox) -> RecurrentQNetwork:
    """The network that the training begins with.

    Raises:
        ValueError: if `args.start` is no recurrent Q-network for this toolbox.
    """
    if args.start:
        try:
            policy = load_policy(args.start, toolbox)
        except ValueError as error:
            raise ValueError(f"start: {error}") from error
        if not isinstance(policy, RecurrentQPolicy):
            raise ValueError(f"start={args.start!r} is not a recurrent Q-network, such as agents.train_drqn writes")
        return policy.network
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(args.seed)
        sizes = (args.channels, args.features, args.hidden)
        kind = {name: getattr(args.options, name) for name in ("dueling", "scaled", "statistics")}
        return RecurrentQNetwork(len(toolbox), *sizes, **kind)


def data_of(args: Args, toolbox: Toolbox, source: PairSource) -> str:
    """What a training is done on; the same text means the same data, tools and task."""
    data = digest_of_source(source) or args.photos
    task = (args.max_steps, args.reward, args.dtype, args.severity)
    start = f", start {digest_of_weights([first_network(args, toolbox)])}" if args.start else ""
    return f"photos or pairs {data}, task {task}, toolbox {digest_of_toolbox(toolbox)}{start}"


def best_of(args: Args, toolbox: Toolbox, validation: Pairs) -> Evaluation | None:
    """What the oracle reaches on the first validation pairs, found once and kept in a file; None if not asked for."""
    if not args.oracle:
        return None
    return oracle_of(validation.first(args.oracle), toolbox, folder_of(args), args.max_steps, args.device)


def folder_of(args: Args) -> Path:
    """Where all that belongs to an unfinished training is kept."""
    return args.checkpoints or Path("runs") / args.output.resolve().name


def record_of(args: Args, run: DRQNTraining) -> dict[str, Any]:
    """What the model card says of the training, besides its results."""
    preset = next((name for name, options in PRESETS.items() if options == args.options), f"{args.preset}, changed")
    return {
        "photos": args.licence,
        "severity": args.severity,
        "toolbox": Path(args.toolbox).name,
        "preset": preset,
        **({"start": Path(args.start).name} if args.start else {}),
        **run.settings(),
        "reward": args.reward,
        "max_steps": args.max_steps,
        "budget": f"{args.iterations} iterations" if args.iterations else f"{args.minutes:g} minutes",
        "dtype": args.dtype,
        "device": args.device,
        "threads": torch.get_num_threads(),
    }


def parse(words: Sequence[str] | None = None) -> Args:
    """The options of a command line; what a preset sets can be changed one by one.

    Raises:
        ValueError: if there is no such preset.
    """
    given = list(sys.argv[1:] if words is None else words)
    preset = next((after for word, after in zip(given, given[1:], strict=False) if word == "--preset"), "fast")
    preset = next((word.partition("=")[2] for word in given if word.startswith("--preset=")), preset)
    check_choice("preset", preset, PRESETS)
    default = Args(photos=tyro.MISSING, output=tyro.MISSING, preset=preset, options=PRESETS[preset])
    return tyro.cli(Args, args=given, default=default)


if __name__ == "__main__":
    run_program(lambda: main(parse()))

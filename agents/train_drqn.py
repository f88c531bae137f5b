"""Train the paper's agent, a deep recurrent Q-network (DRQN), on a toolbox.

    python -m agents.train_drqn fast --photos photos/ --output my-agent/

The first word is a preset: fast, refresh, paper or released-code. You can stop the program at any moment; the same
command resumes from its checkpoint.
"""

import time
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import torch
import tyro

from agents.data import AgentArgs, AgentData, open_data
from agents.drqn.config import PRESETS, DRQNConfig
from agents.drqn.model_card import write_agent_card
from agents.drqn.new_actions import network_for
from agents.drqn.trainer import DRQNTraining
from restore_env import Evaluation, Policy, Toolbox, load_toolbox
from restore_env.policies import RecurrentQPolicy, save_policy
from restore_env.policies.ensemble import EnsembleQPolicy
from restore_env.policies.recurrent_q import RecurrentQNetwork
from restore_env.policies.storage import find_policy
from restore_env.restoration.batch import RestorationBatch
from restore_env.restoration.rewards import Weighted
from restore_env.toolbox.fingerprint import digest_of_toolbox, digest_of_weights
from restore_env.training.logging import RunLogger
from restore_env.training.oracle_cache import oracle_of
from restore_env.training.program import check_run, make_run_folder, program_name, run_program
from restore_env.training.reward_guard import RewardGuard
from restore_env.training.signals import stop_request
from restore_env.training.trainer import Budget
from restore_env.utils.checks import Count, NonNegative, Positive
from restore_env.utils.files import real_path

DESCRIPTION: Final = "Train a recurrent DQN. The first word is a preset; 'fast --help' lists all options."

ABOUT: Final = {
    "fast": "The project's settings, best in its benchmarks.",
    "refresh": "Continue the training of an agent (--start), with less exploration and a smaller learning rate.",
    "paper": "The settings of the paper, made for 500,000 updates: --iterations 22700 of 22 updates each.",
    "released-code": "The settings of the authors' program, made for 500,000 updates: --iterations 22700.",
}


@dataclass(kw_only=True)
class Args(AgentArgs):
    """Train the paper's agent, a deep recurrent Q-network (DRQN), on a toolbox.

    Raises:
        ValueError: if an option is outside its range.
    """

    output: Path
    """Policy folder to write; its name becomes the policy's."""
    start: str = ""
    """Policy to continue from, by name or folder; it sets the sizes of the networks and the patches. The toolbox may
    have more tools than it knows. Default: random weights."""
    minutes: Positive = 60.0
    """Minutes of training on the clock; measuring is not counted."""
    iterations: Count | None = None
    """Iterations instead of minutes. An iteration plays --n-envs episodes and makes --gradient-steps updates."""
    config: Annotated[DRQNConfig, tyro.conf.arg(name="")] = field(default_factory=DRQNConfig)
    """Hyperparameters."""
    channels: tuple[int, int, int, int] = (32, 24, 24, 24)
    """Output channels of the network's four convolutions."""
    features: Count = 32
    """Size of the image features that the convolutions return."""
    hidden: Count = 50
    """Size of the LSTM."""
    cost: NonNegative = 0.0
    """What the reward loses for 1e9 multiplications on a patch. A large tool of restore-12 has 0.5e9, a small one
    0.1e9, a function none."""
    step_cost: NonNegative = 0.0
    """What the reward loses for each tool, so that the agent stops where it is not sure that another one helps."""
    only_new_tools: bool = False
    """Learn only about the tools that --start does not know; what it has learnt about the others stays as it is."""
    keep_last: bool = False
    """Write the last policy, not the one that was best on the validation pairs, which is measured each minute."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Precision of the tools' convolutions. bfloat16 is slow on processors that only imitate it."""
    checkpoints: Path | None = None
    """Folder of the checkpoint, the replay buffer and the logs; by default runs/ and the output's name."""
    licence: str = "not stated"
    """Source and licence of the photos, for the model card."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.channels) != 4 or min(self.channels) < 1:
            raise ValueError(f"channels={self.channels} are not four numbers of at least 1")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A training that is ready to run.

    Attributes:
        args: the options.
        folder: folder of all that belongs to the unfinished training.
        toolbox: the tools.
        networks: the networks with their first weights.
        data: the data, of which the identity also names the task, the tools and the first weights.
        oracle: results of the best toolchains on the first of the pairs to measure on; None if not asked for.
        only_tools: numbers of the tools to learn about; None: all.
    """

    args: Args
    folder: Path
    toolbox: Toolbox
    networks: list[RecurrentQNetwork]
    data: AgentData
    oracle: Evaluation | None
    only_tools: list[int] | None


def main(args: Args, clock: Callable[[], float] = time.monotonic) -> Policy:
    """Train, write the policy folder with its model card, and return the policy.

    Args:
        args: the options.
        clock: counts the seconds of training, such as `time.process_time`.

    Raises:
        Stopped: if SIGINT or SIGTERM came; the checkpoint holds the training.
        ValueError: if an option or a file is wrong.
    """
    return run(plan(args), clock)


def plan(args: Args) -> Plan:
    """Open and draw all that a training needs, and make its folders."""
    check_run(args.inputs | {"--start": args.start}, args.output, args.checkpoints)
    toolbox = load_toolbox(args.toolbox, args.device, args.dtype, trust=args.trust)
    networks = first_networks(args, toolbox)
    only_tools = new_tools(args, toolbox) if args.only_new_tools else None
    fraction = args.config.single_distortion_fraction
    data = open_data(args.photos, args.validation, args.severity, args.patches, fraction, args.patch_size)
    costs = [f"cost {args.cost:g}"] * bool(args.cost) + [f"step cost {args.step_cost:g}"] * bool(args.step_cost)
    task = (args.max_steps, args.reward, args.dtype, args.severity, *costs)
    start = f", start {digest_of_weights(networks)}" if args.start else ""
    identity = f"photos or pairs {data.identity}, task {task}, toolbox {digest_of_toolbox(toolbox)}{start}"
    folder = make_run_folder(args.output, args.checkpoints)
    oracle = None
    if args.oracle:
        oracle = oracle_of(data.validation.first(args.oracle), toolbox, folder, args.max_steps, args.device)
    data = data._replace(identity=identity)
    return Plan(
        args=args,
        folder=folder,
        toolbox=toolbox,
        networks=networks,
        data=data,
        oracle=oracle,
        only_tools=only_tools,
    )


def run(plan: Plan, clock: Callable[[], float] = time.monotonic) -> Policy:
    """Train as planned, as `main` does."""
    args, training = plan.args, new_training(plan)
    training.clock = clock
    with stop_request() as request, RunLogger(plan.folder, training.iteration) as log:
        report = RewardGuard(training.batch.reward, plan.data.validation, plan.toolbox, args.device, log).report
        if args.start and not training.iteration:
            training.choose()  # the first weights may be the best
            report(training.status())
        if not training.run(report, request):
            request.check()
    save_policy(training.policy, args.output, plan.toolbox)
    write_agent_card(args.output, training, settings_of(args, training))
    return training.policy


def new_training(plan: Plan) -> DRQNTraining:
    """Return the planned training, resumed from its checkpoint."""
    args = plan.args
    return DRQNTraining(
        [network.to(args.device) for network in deepcopy(plan.networks)],
        RestorationBatch(
            plan.toolbox,
            max_steps=args.max_steps,
            stop_if_worse=args.config.stop_if_worse,
            reward=reward_of(args),
        ),
        plan.data,
        args.config,
        Budget(args.iterations, args.minutes),
        plan.folder,
        name=real_path(args.output).name,
        seed=args.seed,
        oracle=plan.oracle,
        keep_last=args.keep_last,
        only_tools=plan.only_tools,
    )


def reward_of(args: Args) -> str | Weighted:
    """Return the reward, less what tools cost."""
    costs = {name: -weight for name, weight in (("cost", args.cost), ("tools", args.step_cost)) if weight}
    return Weighted({args.reward: 1.0} | costs) if costs else args.reward


def first_networks(args: Args, toolbox: Toolbox) -> list[RecurrentQNetwork]:
    """Return the networks that the training begins with.

    Raises:
        ValueError: if `args.start` is no recurrent Q-network for tools of this toolbox and `args.patch_size`, or the
            mean of more of them than `args.config.n_networks`.
    """
    if args.start:
        return _networks_of(args, toolbox)
    networks = []
    for number in range(args.config.n_networks):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(args.seed + number * 1_000_003)
            network = RecurrentQNetwork(
                len(toolbox),
                args.channels,
                args.features,
                args.hidden,
                args.patch_size,
                scaled=args.config.scaled,
                degradation_features=args.config.degradation_features,
                preference_head=args.config.regret_coef > 0,
            )
        networks.append(network)
    return networks


def new_tools(args: Args, toolbox: Toolbox) -> list[int]:
    """Return the numbers of the tools that the policy to continue from does not know.

    Raises:
        ValueError: if there is no such policy, or it knows all.
    """
    if not args.start:
        raise ValueError("only_new_tools needs a policy to continue from; give --start")
    known = find_policy(args.start, toolbox).action_names or ()
    numbers = [number for number, name in enumerate(toolbox.names) if name not in known]
    if not numbers:
        raise ValueError(f"only_new_tools: start={args.start!r} knows all tools of the toolbox {toolbox.name!r}")
    return numbers


def _networks_of(args: Args, toolbox: Toolbox) -> list[RecurrentQNetwork]:
    """Return the networks of the policy to continue from; a single one is copied."""
    try:
        policy = find_policy(args.start, toolbox)
        members = policy.members if isinstance(policy, EnsembleQPolicy) else [policy]
        known = [member for member in members if isinstance(member, RecurrentQPolicy)]
        networks = [network_for(member, toolbox) for member in known]
    except ValueError as error:
        raise ValueError(f"start: {error}") from error
    if not networks:
        raise ValueError(f"start={args.start!r} is not a recurrent Q-network, such as agents.train_drqn writes")
    size, wanted = networks[0].patch_size, args.config.n_networks
    if size != args.patch_size:
        raise ValueError(f"start={args.start!r} looks at patches of {size} pixels; give --patch-size {size}")
    if len(networks) not in (1, wanted):
        raise ValueError(f"start={args.start!r} has {len(networks)} networks; give --n-networks {len(networks)}")
    return networks if len(networks) == wanted else [deepcopy(networks[0]) for _ in range(wanted)]


def settings_of(args: Args, training: DRQNTraining) -> dict[str, Any]:
    """Return what the model card says about how the agent was trained."""
    return {
        "photos": args.licence,
        "severity": args.severity,
        "toolbox": Path(args.toolbox).name,
        "preset": next((name for name, config in PRESETS.items() if config == args.config), "none of the presets"),
        **({"start": Path(args.start).name} if args.start else {}),
        **training.settings(),
        "reward": args.reward,
        "cost": args.cost,
        "step_cost": args.step_cost,
        "patch_size": args.patch_size,
        "max_steps": args.max_steps,
        "budget": f"{args.iterations} iterations" if args.iterations else f"{args.minutes:g} minutes",
        "dtype": args.dtype,
        "device": args.device,
        "threads": torch.get_num_threads(),
    }


def parse(words: Sequence[str] | None = None) -> Args:
    """Return the options of a command line: a preset, and what is changed of it."""
    default = Args(photos=tyro.MISSING, output=tyro.MISSING)
    presets = {name: (text, replace(default, config=PRESETS[name])) for name, text in ABOUT.items()}
    return tyro.extras.overridable_config_cli(presets, prog=program_name(), description=DESCRIPTION, args=words)


if __name__ == "__main__":
    run_program(main, parse)

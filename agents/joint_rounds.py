"""Train tools and agent in turns: log toolchains, fine-tune the tools along them, refresh the agent, measure.

    python -m agents.joint_rounds --photos photos/ --validation others/ --policy drqn --output jointly/

You can stop the program at any moment; the same command continues where it was.
"""

import json
import shutil
import sys
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final

import tyro

from agents import log_toolchains, train_drqn
from agents.drqn.config import PRESETS, DRQNConfig
from restore_env import Pairs, Toolbox, as_source, draw_pairs, evaluate, load_toolbox
from restore_env.constants import DEFAULT_POLICY, DEFAULT_TOOLBOX
from restore_env.policies import RecurrentQPolicy, load_policy
from restore_env.training.program import check_run, make_run_folder, run_folder, run_program
from restore_env.training.split import VALIDATION_SEED
from restore_env.utils.checks import (
    Checked,
    Count,
    Device,
    Natural,
    Options,
    Positive,
    ProperFraction,
    Text,
    check_whole,
)
from restore_env.utils.files import real_path, write_text
from tools import finetune_joint

RECORD: Final = "rounds.json"

Rounds = Annotated[int, Checked(partial(check_whole, least=1, most=1000))]
"""A number of rounds."""


@dataclass(kw_only=True)
class Args(Options):
    """Train tools and agent in turns.

    Raises:
        ValueError: if an option is outside its range.
    """

    photos: Text
    """Folder of clean photos to train on."""
    validation: Text
    """Folder of other clean photos, or a pairs file, to measure on."""
    output: Path
    """Folder to write: the best round's `toolbox` and `policy`, and `rounds.json`."""
    policy: Text = DEFAULT_POLICY
    """Recurrent Q-policy to start from, by name or folder. All patches have the size that it looks at."""
    toolbox: Text = DEFAULT_TOOLBOX
    """Toolbox to start from, by name or folder."""
    rounds: Rounds = 3
    """Largest number of rounds; the program ends earlier if the validation gain no longer rises."""
    severity: str = "moderate"
    """Distortion of clean photos: the name of a severity, such as moderate or web, or several joined by +."""
    toolchains: Count = 12_000
    """Toolchains that are logged in a round."""
    tool_minutes: Positive = 60.0
    """Minutes in a round in which the tools are fine-tuned."""
    agent_minutes: Positive = 30.0
    """Minutes in a round in which the agent is refreshed."""
    own_task: ProperFraction = 0.0
    """Fraction of single distortions in the batches of the tools' fine-tuning."""
    config: Annotated[DRQNConfig, tyro.conf.OmitArgPrefixes] = field(default_factory=lambda: PRESETS["refresh"])
    """Options of the agent's training."""
    patches: Count = 256
    """Number of validation patches."""
    device: Device = "cpu"
    """Device of the agent and the tools: cpu or cuda."""
    seed: Natural = 0
    """Seed of all random numbers; each round adds its number."""
    checkpoints: Path | None = None
    """Folder of the unfinished work; by default runs/ and the output's name."""
    licence: str = "not stated"
    """Source and licence of the photos, for the model cards."""


@dataclass(frozen=True, kw_only=True)
class Round:
    """The programs of a round, which run one after the other.

    Attributes:
        log: logs what the agent does.
        tools: fine-tunes the tools along the log.
        agent: refreshes the agent.
    """

    log: log_toolchains.Args
    tools: finetune_joint.Args
    agent: train_drqn.Args


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Rounds that are ready to run.

    Attributes:
        args: the options.
        toolbox: the tools to start from.
        policy: the policy to start from.
        pairs: pairs that measure the rounds; the agents' trainings choose their networks on others.
        rounds: the rounds, each of which starts with the toolbox and the policy of the one before.
    """

    args: Args
    toolbox: Toolbox
    policy: RecurrentQPolicy
    pairs: Pairs
    rounds: tuple[Round, ...]


def main(args: Args) -> list[dict[str, Any]]:
    """Run the rounds, write the best toolbox and policy, and return the record, in which round 0 is the start.

    Raises:
        Stopped: if SIGINT or SIGTERM came; the same call continues.
        ValueError: if an option or a file is wrong.
    """
    return run(plan(args))


def plan(args: Args) -> Plan:
    """Check what the programs of all rounds are given, draw the pairs, and make the folders."""
    inputs = {"--photos": args.photos, "--validation": args.validation}
    inputs |= {"--policy": args.policy, "--toolbox": args.toolbox}
    check_run(inputs, args.output, args.checkpoints)
    toolbox = load_toolbox(args.toolbox, args.device)
    policy = load_policy(args.policy, toolbox)
    if not isinstance(policy, RecurrentQPolicy):
        raise ValueError(f"policy={args.policy!r} is not a recurrent Q-network, such as agents.train_drqn writes")
    size = policy.patch_size
    as_source(args.photos, args.severity, size, "photos")  # each round opens them again
    source = as_source(args.validation, args.severity, size, "validation")
    rounds, start = [], (args.toolbox, args.policy)
    for number in range(1, args.rounds + 1):
        folder = run_folder(args.output, args.checkpoints) / f"round-{number}"
        rounds.append(new_round(args, number, folder, *start, size))
        start = str(rounds[-1].tools.output), str(rounds[-1].agent.output)
    pairs = draw_pairs(source, args.patches, VALIDATION_SEED + 1)
    make_run_folder(args.output, args.checkpoints)
    return Plan(args=args, toolbox=toolbox, policy=policy, pairs=pairs, rounds=tuple(rounds))


def run(plan: Plan) -> list[dict[str, Any]]:
    """Run the rounds as planned, as `main` does."""
    args = plan.args
    record = [measure(0, plan.toolbox, plan.policy, plan)]
    for number, programs in enumerate(plan.rounds, start=1):
        log_toolchains.main(programs.log)
        finetune_joint.main(programs.tools)
        train_drqn.main(programs.agent)
        record.append(measure(number, str(programs.tools.output), str(programs.agent.output), plan))
        gain, before = (entry["gain"] for entry in (record[-1], record[-2]))
        print(f"round {number}: gain {gain:.3f} dB, before {before:.3f}", file=sys.stderr)
        if gain <= before:
            break
    best = max(record, key=lambda entry: float(entry["gain"]))
    if best["round"]:
        programs = plan.rounds[best["round"] - 1]
        shutil.copytree(programs.tools.output, args.output / "toolbox", dirs_exist_ok=True)
        shutil.copytree(programs.agent.output, args.output / "policy", dirs_exist_ok=True)
    write_text(args.output / RECORD, json.dumps(record, indent=1))
    return record


def new_round(args: Args, number: int, folder: Path, toolbox: str, policy: str, patch_size: int) -> Round:
    """Return the programs of a round.

    Args:
        args: the options.
        number: number of the round.
        folder: folder of its work.
        toolbox: toolbox to start from.
        policy: policy to start from.
        patch_size: height and width in pixels of the patches that it looks at.
    """
    seed = args.seed + number
    tools, agent = (folder / f"{real_path(args.output).name}-{part}-{number}" for part in ("tools", "agent"))
    log = log_toolchains.Args(
        images=args.photos,
        output=folder / "log",
        policy=policy,
        toolbox=toolbox,
        severity=args.severity,
        n=args.toolchains,
        patch_size=patch_size,
        device=args.device,
        seed=seed,
    )
    fine_tuning = finetune_joint.Args(
        logs=(log.output,),
        output=tools,
        toolbox=toolbox,
        minutes=args.tool_minutes,
        own_task=args.own_task,
        photos=Path(args.photos) if args.own_task else None,
        checkpoints=folder / "tools",
        licence=args.licence,
        device=args.device,
        seed=seed,
    )
    refreshing = train_drqn.Args(
        photos=args.photos,
        output=agent,
        validation=args.validation,
        toolbox=str(tools),
        severity=args.severity,
        start=policy,
        patch_size=patch_size,
        minutes=args.agent_minutes,
        config=args.config,
        patches=args.patches,
        checkpoints=folder / "agent",
        licence=args.licence,
        device=args.device,
        seed=seed,
    )
    return Round(log=log, tools=fine_tuning, agent=refreshing)


def measure(number: int, toolbox: str | Toolbox, policy: str | RecurrentQPolicy, plan: Plan) -> dict[str, Any]:
    """Return a round's entry in the record."""
    found = evaluate(plan.pairs, policy, toolbox, device=plan.args.device)
    return {"round": number, "gain": found.gain, "psnr": found.psnr_out, "ssim": found.ssim_out, "tools": found.steps}


if __name__ == "__main__":
    run_program(main, Args)

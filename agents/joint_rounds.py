"""Train tools and agent in turns: log toolchains, fine-tune the tools along them, refresh the agent, measure.

    python -m agents.joint_rounds --photos photos/ --validation others/ --policy drqn --output jointly/

Stopped at any moment, the same command goes on where it was.
"""

import json
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final, NamedTuple

import tyro

from agents import log_toolchains, train_drqn
from agents.data import VALIDATION_SEED
from agents.drqn.config import PRESETS, Options
from restore_env.constants import DEFAULT_POLICY, DEFAULT_TOOLBOX, PATCH_SIZE
from restore_env.data.pairs import Pairs
from restore_env.data.sources import as_source, draw_pairs
from restore_env.evaluation import evaluate
from restore_env.policies import RecurrentQPolicy, load_policy
from restore_env.toolbox import load_toolbox
from restore_env.training.program import run_program
from restore_env.utils.checks import check_whole
from restore_env.utils.files import make_folders, write_text
from tools import finetune_joint

RECORD: Final = "rounds.json"


@dataclass
class Args:
    """Train tools and agent in turns."""

    photos: str
    """Folder of clean photos to train on."""
    validation: str
    """Folder of other clean photos, or a pairs file, to measure on."""
    output: Path
    """Folder to write: the best round's `toolbox` and `policy`, and `rounds.json`."""
    policy: str = DEFAULT_POLICY
    """Recurrent Q-policy to start from, by name or folder."""
    toolbox: str = DEFAULT_TOOLBOX
    """Toolbox to start from, by name or folder."""
    rounds: int = 3
    """Rounds at most; there is no further one once the validation gain no longer rises."""
    severity: str = "moderate"
    """mild, moderate, severe, any or everyday."""
    toolchains: int = 12_000
    """Toolchains that are logged in a round."""
    tool_minutes: float = 60.0
    """Minutes in a round in which the tools are fine-tuned."""
    agent_minutes: float = 30.0
    """Minutes in a round in which the agent is refreshed."""
    own_task: float = 0.0
    """Share of single distortions among what the tools are fine-tuned on."""
    options: Annotated[Options, tyro.conf.arg(name="")] = field(default_factory=lambda: PRESETS["refresh"])
    """How the agent is refreshed."""
    patches: int = 256
    """Patches to measure on."""
    device: str = "cpu"
    """cpu or cuda."""
    seed: int = 0
    """Seed of all that is drawn; each round adds its number."""
    checkpoints: Path | None = None
    """Where unfinished work is kept, by default runs/ and the output's name."""
    licence: str = "not stated"
    """The photos' source and licence, for the model cards."""


def main(args: Args) -> list[dict[str, Any]]:
    """Play the rounds, write the best toolbox and policy, and return the record: round 0 is what was there before.

    Raises:
        Stopped: when SIGINT or SIGTERM came; the same call goes on.
        ValueError: if an option cannot be.
    """
    check(args)
    source = as_source(args.validation, args.severity, PATCH_SIZE, "validation")
    # Others than those by which the agent's training chooses its best network.
    pairs = draw_pairs(source, args.patches, VALIDATION_SEED + 1)
    record = [measured(0, args.toolbox, args.policy, pairs, args)]
    for entry in played(args, pairs):
        record.append(entry)
        print(f"round {entry['round']}: gain {entry['gain']:.3f} dB, before {record[-2]['gain']:.3f}", file=sys.stderr)
        if entry["gain"] <= record[-2]["gain"]:
            break
    best = max(record, key=lambda entry: float(entry["gain"]))
    if best["round"]:
        work = programs(args, best["round"], args.toolbox, args.policy)
        shutil.copytree(work.tools.output, args.output / "toolbox", dirs_exist_ok=True)
        shutil.copytree(work.agent.output, args.output / "policy", dirs_exist_ok=True)
    write_text(args.output / RECORD, json.dumps(record, indent=1))
    return record


def check(args: Args) -> None:
    """Raise a `ValueError` if an option cannot be, before hours of work."""
    for name in ("rounds", "toolchains", "patches"):
        check_whole(name, getattr(args, name), 1)
    if not isinstance(load_policy(args.policy, load_toolbox(args.toolbox, args.device)), RecurrentQPolicy):
        raise ValueError(f"policy={args.policy!r} is not a recurrent Q-network, such as agents.train_drqn writes")
    make_folders(args.output, folder_of(args))
    first = programs(args, 1, args.toolbox, args.policy)
    finetune_joint.check(first.tools)
    train_drqn.check(first.agent)


def played(args: Args, pairs: Pairs) -> Iterator[dict[str, Any]]:
    """The rounds, one after the other."""
    toolbox, policy = args.toolbox, args.policy
    for number in range(1, args.rounds + 1):
        work = programs(args, number, toolbox, policy)
        log_toolchains.main(work.log)
        finetune_joint.main(work.tools)
        train_drqn.main(work.agent)
        toolbox, policy = str(work.tools.output), str(work.agent.output)
        yield measured(number, toolbox, policy, pairs, args)


class Programs(NamedTuple):
    """What a round runs, one after the other."""

    log: log_toolchains.Args
    tools: finetune_joint.Args
    agent: train_drqn.Args


def programs(args: Args, number: int, toolbox: str, policy: str) -> Programs:
    """The options of a round's programs, which begin with that toolbox and policy."""
    folder, seed = folder_of(args, number), args.seed + number
    tools, agent = (folder / f"{args.output.resolve().name}-{part}-{number}" for part in ("tools", "agent"))
    log = log_toolchains.Args(
        args.photos,
        folder / "log",
        policy,
        toolbox,
        severity=args.severity,
        n=args.toolchains,
        device=args.device,
        seed=seed,
    )
    fine_tuning = finetune_joint.Args(
        (log.output,),
        tools,
        toolbox=toolbox,
        minutes=args.tool_minutes,
        own_task=args.own_task,
        photos=Path(args.photos) if args.own_task else None,
        device=args.device,
        seed=seed,
        checkpoints=folder / "tools",
        licence=args.licence,
    )
    refreshing = train_drqn.Args(
        args.photos,
        agent,
        args.validation,
        str(tools),
        args.severity,
        start=policy,
        minutes=args.agent_minutes,
        options=args.options,
        patches=args.patches,
        device=args.device,
        seed=seed,
        checkpoints=folder / "agent",
        licence=args.licence,
    )
    return Programs(log, fine_tuning, refreshing)


def measured(number: int, toolbox: str, policy: str, pairs: Pairs, args: Args) -> dict[str, Any]:
    """A round's entry in the record."""
    found = evaluate(pairs, policy, toolbox, device=args.device)
    return {"round": number, "gain": found.gain, "psnr": found.psnr_out, "ssim": found.ssim_out, "tools": found.steps}


def folder_of(args: Args, number: int | None = None) -> Path:
    """Where unfinished work is kept, that of one round or all."""
    folder = args.checkpoints or Path("runs") / args.output.resolve().name
    return folder if number is None else folder / f"round-{number}"


if __name__ == "__main__":
    run_program(lambda: main(tyro.cli(Args)))

"""Make an ensemble of several recurrent agents: the mean of their Q-values decides.

    python -m agents.make_ensemble --agents agent-0/ agent-1/ agent-2/ --output my-agents/

Agents that are trained with different seeds make different mistakes; together they make fewer. A folder that this
program wrote stands for the agents in it.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from restore_env.policies import EnsembleQPolicy, RecurrentQPolicy, load_policy, save_policy
from restore_env.policies.storage import DESCRIPTION
from restore_env.training.model_card import Blocks, read_record, table, write_model_card
from restore_env.training.program import check_paths, run_program
from restore_env.utils.checks import NonNegative, Options
from restore_env.utils.files import make_folders, real_path
from restore_env.utils.serialization import RECORD, read_json


@dataclass(kw_only=True)
class Args(Options):
    """Make an ensemble of several recurrent agents: the mean of their Q-values decides.

    Raises:
        ValueError: if an option is outside its range.
    """

    agents: tuple[Path, ...]
    """Policy folders of one toolbox that agents.train_drqn or this program wrote."""
    output: Path
    """Policy folder to write; its name becomes the policy's."""
    stop_margin: NonNegative = 0.0
    """Stop unless a tool's Q-value exceeds that of stop by this margin, in units of the reward (dB)."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """An ensemble that is ready to be written.

    Attributes:
        args: the options.
        policy: the ensemble.
        records: for each agent its `name`, its `toolbox`, and its `training` as far as it is recorded.
    """

    args: Args
    policy: EnsembleQPolicy
    records: list[dict[str, Any]]


def main(args: Args) -> EnsembleQPolicy:
    """Write the policy folder with its model card, and return the policy.

    Raises:
        ValueError: if a folder is no recurrent agent, or the agents do not fit each other.
    """
    return run(plan(args))


def plan(args: Args) -> Plan:
    """Load the agents, and make the folder to write."""
    check_paths({"--agents": args.agents}, folders={"--output": args.output})
    found = [agent for folder in args.agents for agent in _agents_in(folder)]
    members, records = [member for member, _ in found], [record for _, record in found]
    if len(members) < 2:
        raise ValueError(f"agents: {len(members)} given; two at least are needed for a mean")
    toolboxes = {f"{record['toolbox']} {member.fingerprint or ''}".strip() for member, record in found}
    if len(toolboxes) > 1:
        raise ValueError(f"agents were trained on different toolboxes: {', '.join(sorted(toolboxes))}")
    policy = EnsembleQPolicy(members, real_path(args.output).name, args.stop_margin)
    make_folders(args.output)
    return Plan(args=args, policy=policy, records=records)


def run(plan: Plan) -> EnsembleQPolicy:
    """Write the policy folder as planned, as `main` does."""
    policy, toolbox = plan.policy, plan.records[0]["toolbox"]
    save_policy(policy, plan.args.output, toolbox)
    parameters = sum(weight.numel() for member in policy.members for weight in member.network.parameters())
    margin = f"It stops unless a tool promises {policy.stop_margin:g} dB more than stopping."
    blocks: Blocks = [
        f"# {policy.name}",
        f"{len(policy.members)} recurrent Q-networks for `restore_env`, {parameters:,} parameters together, for the "
        f"toolbox `{toolbox}`. Each was trained with `python -m agents.train_drqn`; the mean of their Q-values decides "
        "(`python -m agents.make_ensemble`).",
        *([margin] if policy.stop_margin else []),
        f"`{RECORD}` says how each agent was trained, and what it gains alone. The patches on which this was measured "
        "need not be the same for all agents. In short:",
        table(["agent", "seed", "severity", "photos", "minutes", "gain alone, dB"], map(_row, plan.records)),
    ]
    write_model_card(plan.args.output, {"agents": plan.records}, blocks)
    return policy


def _row(record: dict[str, Any]) -> list[object]:
    """Return an agent's row in the card's table."""
    training = record["training"]
    known = training | training.get("settings", {})
    return [record["name"], *(known.get(key, "not known") for key in ("seed", "severity", "photos", "minutes", "gain"))]


def _agents_in(folder: Path) -> list[tuple[RecurrentQPolicy, dict[str, Any]]]:
    """Return the agents in a policy folder, each with its record."""
    policy = load_policy(folder) if (folder / DESCRIPTION).is_file() else None
    if not isinstance(policy, RecurrentQPolicy | EnsembleQPolicy):
        raise ValueError(
            f"agents: {str(folder)!r} is not the folder of a recurrent Q-network, such as agents.train_drqn writes"
        )
    description, training = read_json(folder / DESCRIPTION), read_record(folder)
    own = {"name": description["name"], "toolbox": description["toolbox"], "training": training}
    if isinstance(policy, RecurrentQPolicy):
        return [(policy, own)]
    return list(zip(policy.members, training.get("agents", [own] * len(policy.members)), strict=True))


if __name__ == "__main__":
    run_program(main, Args)

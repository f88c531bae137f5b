"""Make one policy of several recurrent agents: the mean of their Q-values decides.

    python -m agents.make_ensemble --agents agent-0/ agent-1/ agent-2/ --output my-agents/

Agents trained with different seeds make different mistakes; together they make fewer. A folder that this program wrote
stands for the agents in it.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import tyro

from restore_env.policies import MeanQPolicy, RecurrentQPolicy, load_policy, save_policy
from restore_env.policies.storage import DESCRIPTION
from restore_env.training.program import run_program
from restore_env.utils.files import make_folders, write_text
from restore_env.utils.serialization import FORMAT_VERSION, read_json, write_json

RECORD: Final = "training.json"


@dataclass
class Args:
    """Make one policy of several recurrent agents: the mean of their Q-values decides."""

    agents: tuple[Path, ...]
    """Policy folders that `agents.train_drqn` wrote, or this program, of one toolbox."""
    output: Path
    """Policy folder to write; its name becomes the policy's."""
    least_gain: float = 0.0
    """What a tool must promise more than stopping, in units of the reward (dB), for the image not to be left as it is.
    The more, the fewer tools are applied."""


def main(args: Args) -> MeanQPolicy:
    """Write the policy folder with its model card, and return the policy.

    Raises:
        ValueError: if a folder is no recurrent agent, or they do not fit each other.
    """
    found = [agent for folder in args.agents for agent in _agents_in(folder)]
    members, records = [member for member, _ in found], [record for _, record in found]
    if len(members) < 2:
        raise ValueError(f"agents: {len(members)} given; two at least are needed for a mean")
    toolboxes = {str(record["toolbox"]) for record in records}
    if len(toolboxes) > 1:
        raise ValueError(f"agents were trained on different toolboxes: {', '.join(sorted(toolboxes))}")
    policy = MeanQPolicy(members, args.output.resolve().name, args.least_gain)
    make_folders(args.output)
    save_policy(policy, args.output, toolboxes.pop())
    write_json(args.output / RECORD, {"format": FORMAT_VERSION, "agents": records})
    write_text(args.output / "README.md", card(policy, records))
    return policy


def card(policy: MeanQPolicy, records: list[dict[str, Any]]) -> str:
    """The model card."""
    parameters = sum(parameter.numel() for parameter in policy.network.parameters())
    promise = f"It stops unless a tool promises {policy.least_gain:g} dB more than stopping."
    stopping = [promise, ""] if policy.least_gain else []
    lines = [
        f"# {policy.name}",
        "",
        f"{len(policy.members)} recurrent Q-networks for `restore_env`, {parameters:,} parameters together, for the "
        f"toolbox `{records[0]['toolbox']}`. Each was trained with `python -m agents.train_drqn`; the mean of their "
        "Q-values decides (`python -m agents.make_ensemble`).",
        "",
        *stopping,
        f"How each was trained, and what it gains alone on patches that need not be the others', is in `{RECORD}`. In "
        "short:",
        "",
        "| agent | seed | severity | photos | minutes | gain alone, dB |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for record in records:
        made = record["training"]
        settings = made.get("settings", {})
        words = [settings.get(key, "not known") for key in ("seed", "severity", "photos")]
        words += [made.get(key, "not known") for key in ("minutes", "gain")]
        lines.append(f"| {' | '.join([record['name'], *map(str, words)])} |")
    return "\n".join(lines)


def _agents_in(folder: Path) -> list[tuple[RecurrentQPolicy, dict[str, Any]]]:
    """The agents in a policy folder, each with its name, its toolbox, and how it was trained as far as that is told."""
    policy = load_policy(folder) if (folder / DESCRIPTION).is_file() else None
    if not isinstance(policy, RecurrentQPolicy | MeanQPolicy):
        raise ValueError(
            f"agents: {str(folder)!r} is not the folder of a recurrent Q-network, such as agents.train_drqn writes"
        )
    description = read_json(folder / DESCRIPTION)
    training = read_json(folder / RECORD) if (folder / RECORD).is_file() else {}
    own = {"name": description["name"], "toolbox": description["toolbox"], "training": training}
    if isinstance(policy, RecurrentQPolicy):
        return [(policy, own)]
    records = training.get("agents", [own] * len(policy.members))
    return list(zip(policy.members, records, strict=True))


if __name__ == "__main__":
    run_program(lambda: main(tyro.cli(Args)))

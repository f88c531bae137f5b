"""Make one policy of several recurrent agents: the mean of their Q-values decides.

    python -m agents.combine_agents --agents agent-0/ agent-1/ agent-2/ --output my-agents/

Agents trained with different seeds make different mistakes; together they make fewer.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import tyro

from restore_env.files import make_folders, write_text
from restore_env.formats import FORMAT_VERSION, read_json, write_json
from restore_env.policies import MeanQPolicy, RecurrentQPolicy, load_policy, save_policy
from restore_env.policies.storage import DESCRIPTION
from tools.program import run_program

RECORD: Final = "training.json"


@dataclass
class Args:
    """Make one policy of several recurrent agents: the mean of their Q-values decides."""

    agents: tuple[Path, ...]
    """Policy folders that `agents.train_drqn` wrote, of one toolbox."""
    output: Path
    """Policy folder to write; its name becomes the policy's."""


def main(args: Args) -> MeanQPolicy:
    """Write the policy folder with its model card, and return the policy.

    Raises:
        ValueError: if a folder is no recurrent agent, or they do not fit each other.
    """
    if len(args.agents) < 2:
        raise ValueError(f"agents: {len(args.agents)} given; two at least are needed for a mean")
    members = [_recurrent(folder) for folder in args.agents]
    records = [_record(folder) for folder in args.agents]
    toolboxes = {str(record["toolbox"]) for record in records}
    if len(toolboxes) > 1:
        raise ValueError(f"agents were trained on different toolboxes: {', '.join(sorted(toolboxes))}")
    policy = MeanQPolicy(members, args.output.resolve().name)
    make_folders(args.output)
    save_policy(policy, args.output, toolboxes.pop())
    write_json(args.output / RECORD, {"format": FORMAT_VERSION, "agents": records})
    write_text(args.output / "README.md", card(policy, records))
    return policy


def card(policy: MeanQPolicy, records: list[dict[str, Any]]) -> str:
    """The model card."""
    parameters = sum(parameter.numel() for parameter in policy.network.parameters())
    lines = [
        f"# {policy.name}",
        "",
        f"{len(policy.members)} recurrent Q-networks for `restore_env`, {parameters:,} parameters together, for the "
        f"toolbox `{records[0]['toolbox']}`. Each was trained with `python -m agents.train_drqn`; the mean of their "
        "Q-values decides (`python -m agents.combine_agents`).",
        "",
        f"How each was trained, and what it gains alone, is in `{RECORD}`. In short:",
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


def _recurrent(folder: Path) -> RecurrentQPolicy:
    policy = load_policy(folder) if (folder / DESCRIPTION).is_file() else None
    if not isinstance(policy, RecurrentQPolicy):
        raise ValueError(
            f"agents: {str(folder)!r} is not the folder of a recurrent Q-network, such as agents.train_drqn writes"
        )
    return policy


def _record(folder: Path) -> dict[str, Any]:
    """Name and toolbox of an agent, and how it was trained, as far as its folder tells."""
    description = read_json(folder / DESCRIPTION)
    training = read_json(folder / RECORD) if (folder / RECORD).is_file() else {}
    return {"name": description["name"], "toolbox": description["toolbox"], "training": training}


if __name__ == "__main__":
    run_program(lambda: main(tyro.cli(Args)))

"""The record and the model card of a trained agent."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agents.drqn.trainer import DRQNTraining
from restore_env.training.model_card import Blocks, made_with, settings_list, write_model_card


def write_agent_card(folder: Path, training: DRQNTraining, settings: Mapping[str, Any]) -> None:
    """Write the record and the model card of a trained agent.

    Args:
        folder: policy folder.
        training: the finished training.
        settings: what the agent was trained on and how.
    """
    settings = {**settings, **made_with(str(settings["device"]))}
    record = {
        "gain": round(training.kept_gain, 3),
        "share_of_oracle": training.kept_share,
        "patches": len(training.data.validation),
        "updates": training.updates,
        "steps": training.steps,
        "minutes": round(training.seconds / 60, 1),
        "settings": settings,
    }
    parameters = sum(parameter.numel() for network in training.networks for parameter in network.parameters())
    share = f", {training.kept_share:.0%} of the best possible." if training.kept_share else "."
    chosen = "" if training.keep_last else " The policy was chosen on these patches, so this figure is optimistic."
    blocks: Blocks = [
        f"# {training.name}",
        f"A recurrent Q-network for `restore_env` with {parameters:,} parameters, for the toolbox "
        f"`{settings['toolbox']}`, trained with `python -m agents.train_drqn`.",
        f"On {record['patches']} patches of {settings['severity']} distortion, of photos it was not trained on, it "
        f"gains {record['gain']:.2f} dB{share}{chosen}",
        f"Trained for {record['minutes']:.1f} minutes: {record['steps']:,} steps of the environment, "
        f"{record['updates']:,} updates.",
        settings_list(settings),
    ]
    write_model_card(folder, record, blocks)

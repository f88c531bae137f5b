"""What a policy folder tells about its making: `training.json`, and `README.md` made of it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agents.drqn.trainer import DRQNTraining
from restore_env.training.model_card import made_with
from restore_env.utils.files import write_text
from restore_env.utils.serialization import FORMAT_VERSION, write_json


def write_agent_card(folder: Path, run: DRQNTraining, settings: Mapping[str, Any]) -> None:
    """Write the record and the model card of a trained agent.

    Args:
        folder: the policy folder.
        run: the finished training.
        settings: what it was trained on and how.
    """
    record = {
        "gain": round(run.kept_gain, 3),
        "share_of_oracle": run.kept_share,
        "patches": len(run.validation),
        "updates": run.updates,
        "steps": run.steps,
        "minutes": round(run.seconds / 60, 1),
        "settings": {**settings, **made_with(str(settings["device"]))},
    }
    write_json(folder / "training.json", {"format": FORMAT_VERSION, **record})
    write_text(folder / "README.md", card(run, record))


def card(run: DRQNTraining, record: Mapping[str, Any]) -> str:
    """The model card."""
    settings = record["settings"]
    share = record["share_of_oracle"]
    parameters = sum(parameter.numel() for parameter in run.network.parameters())
    lines = [
        f"# {run.name}",
        "",
        f"A recurrent Q-network for `restore_env` with {parameters:,} parameters, for the toolbox "
        f"`{settings['toolbox']}`, trained with `python -m agents.train_drqn`.",
        "",
        f"On {record['patches']} patches of {settings['severity']} distortion, of photos it was not trained on, it "
        f"gains {record['gain']:.2f} dB"
        + (f", {share:.0%} of the best possible." if share else ".")
        + ("" if run.keep_last else " They are the patches by which it was chosen from what it was in the meantime."),
        "",
        f"Trained for {record['minutes']:.1f} minutes: {record['steps']:,} steps of the environment, "
        f"{record['updates']:,} updates.",
        "",
        *(f"- {key}: {_text(value)}" for key, value in settings.items()),
    ]
    return "\n".join(lines)


def _text(value: Any) -> str:
    return ", ".join(f"{key} {item}" for key, item in value.items()) if isinstance(value, dict) else str(value)

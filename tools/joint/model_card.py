"""The record and the model card of tools that were trained jointly."""

from collections.abc import Mapping, Sequence
from typing import Any

from restore_env.toolbox import Toolbox
from restore_env.training.model_card import Blocks, made_with, settings_list, table
from tools.joint.trainer import JointTraining
from tools.specs import describe_tool


def joint_record(training: JointTraining, start: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the record of a finished joint training.

    Args:
        training: the training.
        start: name of the toolbox that it began with.
        settings: what the tools were trained on and how, as plain JSON values; among them the `device`.
    """
    before, after = training.validate()
    return {
        "start": start,
        "toolchains": len(training.validation.chain),
        "psnr_before": round(before, 3),
        "psnr_after": round(after, 3),
        "iterations": training.iteration,
        "minutes": round(training.seconds / 60, 1),
        "uses": dict(zip(training.toolbox.names, training.uses.tolist(), strict=True)),
        "settings": {**settings, **made_with(settings["device"])},
    }


def joint_card(toolbox: Toolbox, records: Sequence[Mapping[str, Any]]) -> Blocks:
    """Return the model card of a jointly trained toolbox.

    Args:
        toolbox: the tools.
        records: the records of all joint trainings that led to them, the first one first.
    """
    rows = [[*describe_tool(tool), f"{sum(item['uses'][tool.name] for item in records):,}"] for tool in toolbox]
    blocks: Blocks = [
        f"# {toolbox.name}",
        f"{len(toolbox)} tools for `restore_env`, trained jointly along toolchains with `python -m "
        f"tools.finetune_joint`, from the toolbox `{records[0]['start']}`.",
        table(["tool", "first made for", "network", "used in training"], rows),
    ]
    for item in records:
        blocks += [
            f"## From {item['start']}",
            f"{item['iterations']:,} iterations, {item['minutes']:.1f} minutes. On {item['toolchains']} held-out "
            f"toolchains the final images went from {item['psnr_before']:.2f} to {item['psnr_after']:.2f} dB.",
            settings_list(item["settings"]),
        ]
    return blocks

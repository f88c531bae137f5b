"""The record and the model card of tools that were trained one by one."""

import json
from collections.abc import Mapping
from typing import Any

from restore_env.toolbox import Toolbox
from restore_env.training.model_card import Blocks, made_with, settings_list, table
from tools.single.trainer import ToolTraining
from tools.specs import describe_tool


def tool_record(training: ToolTraining, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the record of a finished training.

    Args:
        training: the training.
        settings: what the tool was trained on and how, as plain JSON values.
    """
    before, after = training.validate()
    return {
        "psnr_in": round(before, 3),
        "psnr_out": round(after, 3),
        "iterations": training.iteration,
        "minutes": round(training.seconds / 60, 1),
        "settings": {**settings, **made_with(str(training.device))},
    }


def toolbox_card(toolbox: Toolbox, records: Mapping[str, Mapping[str, Any]]) -> Blocks:
    """Return the model card of a toolbox.

    Args:
        toolbox: the tools.
        records: the records of those that were trained by this program, by their names.
    """
    head = ["tool", "made for", "network", "PSNR in", "PSNR out", "gain", "iterations", "minutes"]
    rows = [[*describe_tool(tool), *_results(records[tool.name])] for tool in toolbox if tool.name in records]
    without = [tool.name for tool in toolbox if tool.name not in records]
    robust = all(record["settings"].get("robust", True) for record in records.values())
    own = [tool.interval is not None for tool in toolbox if tool.name in records]  # else made for a mixture
    then = (
        "."
        if not (robust and any(own))
        else ", then by slight noise and JPEG" + ("." if all(own) else " where that is a single distortion.")
    )
    measured = [
        "PSNR in dB, mean over 256 patches of 63x63 from photos that the tools were not trained on. Each patch is",
        f"distorted by what the tool is made for{then}",
        *([f"Not trained by this program: {', '.join(without)}."] if without else []),
    ]
    blocks: Blocks = [
        f"# {toolbox.name}",
        f"{len(toolbox)} tools for `restore_env`, trained with `python -m tools.train_toolbox`.",
        table(head, rows),
        measured,
    ]
    groups: dict[str, list[str]] = {}
    for name, record in records.items():
        groups.setdefault(json.dumps(record["settings"]), []).append(name)
    for settings, names in groups.items():
        blocks += [f"## Training of {', '.join(names)}", settings_list(json.loads(settings))]
    return blocks


def _results(record: Mapping[str, Any]) -> list[str]:
    """Return the cells of a tool's row that come from its record."""
    before, after = record["psnr_in"], record["psnr_out"]
    gains = [f"{before:.2f}", f"{after:.2f}", f"{after - before:+.2f}"]
    return [*gains, f"{record['iterations']:,}", f"{record['minutes']:.1f}"]

"""What a toolbox folder tells about its making: `training.json`, a record of each tool, and `README.md` made of it."""

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import torch

from restore_env.toolbox import Tool, Toolbox
from restore_env.utils.files import write_text
from restore_env.utils.serialization import FORMAT_VERSION, read_json, write_json

RECORDS: Final = "training.json"
CARD: Final = "README.md"


@dataclass(frozen=True)
class TrainedTool:
    """A tool and its training.

    Args:
        tool: the tool.
        before: mean PSNR in dB of the validation patches.
        after: the same, after the tool.
        iterations: updates.
        seconds: of training.
        settings: what it was trained on, how, and where.
    """

    tool: Tool
    before: float
    after: float
    iterations: int
    seconds: float
    settings: Mapping[str, Any] = field(default_factory=dict)

    def record(self) -> dict[str, Any]:
        """All of it but the tool, and what it was made with."""
        return {
            "psnr_in": round(self.before, 3),
            "psnr_out": round(self.after, 3),
            "iterations": self.iterations,
            "minutes": round(self.seconds / 60, 1),
            "settings": {**self.settings, **made_with(str(self.settings.get("device", "cpu")))},
        }


def write_model_card(folder: Path, toolbox: Toolbox, trained: Sequence[TrainedTool]) -> None:
    """Write the records and the model card of a toolbox folder; records of tools not trained now are kept.

    Args:
        folder: the toolbox folder.
        toolbox: what it holds.
        trained: the tools trained now.
    """
    path = folder / RECORDS
    records = read_json(path).get("tools", {}) if path.is_file() else {}
    records |= {item.tool.name: item.record() for item in trained}
    records = {tool.name: records[tool.name] for tool in toolbox if tool.name in records}
    write_json(path, {"format": FORMAT_VERSION, "tools": records})
    write_text(folder / CARD, card(toolbox, records))


def card(toolbox: Toolbox, records: Mapping[str, Mapping[str, Any]]) -> str:
    """The model card of a toolbox whose tools were trained as the records say."""
    rows = [_row(tool, records[tool.name]) for tool in toolbox if tool.name in records]
    without = [tool.name for tool in toolbox if tool.name not in records]
    groups: dict[str, list[str]] = {}
    for name, record in records.items():
        groups.setdefault(json.dumps(record["settings"]), []).append(name)
    robust = all(record["settings"].get("robust", True) for record in records.values())
    lines = [
        f"# {toolbox.name}",
        "",
        f"{len(toolbox)} tools for `restore_env`, trained with `python -m tools.train_toolbox`.",
        "",
        "| tool | made for | network | PSNR in | PSNR out | gain | iterations | minutes |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
        *rows,
        "",
        "PSNR in dB, mean over 256 patches of 63x63 from photos that were not trained on, each distorted by what the",
        "tool is made for" + (", then by slight noise and JPEG." if robust else "."),
        *([f"Not trained by this program: {', '.join(without)}."] if without else []),
    ]
    for settings, names in groups.items():
        lines += ["", f"## How {', '.join(names)} came about", ""]
        lines += [f"- {key}: {_text(value)}" for key, value in json.loads(settings).items()]
    return "\n".join(lines)


def write_joint_card(
    folder: Path, toolbox: Toolbox, record: Mapping[str, Any], before: Sequence[Mapping[str, Any]] = ()
) -> None:
    """Write the record and the model card of jointly trained tools.

    Args:
        folder: the toolbox folder.
        toolbox: what it holds.
        record: `start` (the toolbox before), `psnr_before` and `psnr_after` of `toolchains` validation toolchains in
            dB, `iterations`, `minutes`, `uses` (by tool's name), and `settings`.
        before: the records of the joint trainings that the toolbox before came from, the first one first.
    """
    settings = {**record["settings"], **made_with(str(record["settings"].get("device", "cpu")))}
    records = [*before, {**record, "settings": settings}]
    path = folder / RECORDS
    alone = read_json(path).get("tools", {}) if path.is_file() else {}
    write_json(path, {"format": FORMAT_VERSION, "tools": alone, "joint": records})
    uses = {tool.name: sum(item["uses"][tool.name] for item in records) for tool in toolbox}
    lines = [
        f"# {toolbox.name}",
        "",
        f"{len(toolbox)} tools for `restore_env`, trained jointly along toolchains with `python -m "
        f"tools.finetune_joint`, from the toolbox `{records[0]['start']}`.",
        "",
        "| tool | first made for | network | used in training |",
        "| --- | --- | --- | --- |",
        *(f"| {tool.name} | {_made_for(tool)} | {_size(tool)} | {uses[tool.name]:,} |" for tool in toolbox),
    ]
    for item in records:
        lines += [
            "",
            f"## From {item['start']}",
            "",
            f"{item['iterations']:,} iterations, {item['minutes']:.1f} minutes. On {item['toolchains']} toolchains "
            f"that it did not see the final image went from {item['psnr_before']:.2f} to {item['psnr_after']:.2f} dB.",
            "",
            *(f"- {key}: {_text(value)}" for key, value in item["settings"].items()),
        ]
    write_text(folder / CARD, "\n".join(lines))


def joint_records(folder: Path) -> list[dict[str, Any]]:
    """The records of the joint trainings that a toolbox folder tells of; none if its tools were trained alone."""
    path = folder / RECORDS
    return list(read_json(path).get("joint", [])) if path.is_file() else []


def _row(tool: Tool, record: Mapping[str, Any]) -> str:
    before, after = record["psnr_in"], record["psnr_out"]
    return (
        f"| {tool.name} | {_made_for(tool)} | {_size(tool)} | {before:.2f} | {after:.2f} | {after - before:+.2f} | "
        f"{record['iterations']:,} | {record['minutes']:.1f} |"
    )


def _made_for(tool: Tool) -> str:
    return f"{tool.removes} {tool.interval[0]:g} to {tool.interval[1]:g}" if tool.interval else tool.removes


def _size(tool: Tool) -> str:
    return "unknown" if tool.module is None else f"{sum(p.numel() for p in tool.module.parameters()):,} parameters"


def made_with(device: str) -> dict[str, Any]:
    """Versions and hardware, as a record of a training holds them."""
    cpu = f"{platform.machine()} CPU ({torch.backends.cpu.get_cpu_capability()})"
    return {
        "hardware": torch.cuda.get_device_name(device) if torch.device(device).type == "cuda" else cpu,
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("restore-env", "torch", "pytorch-optimizer", "opencv-python-headless")},
        },
    }


def _text(value: Any) -> str:
    return ", ".join(f"{key} {item}" for key, item in value.items()) if isinstance(value, dict) else str(value)

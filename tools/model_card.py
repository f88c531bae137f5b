"""The README.md of a toolbox folder: what it was made from, how, and how good it is."""

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import restore_env
from restore_env.files import write_text
from restore_env.toolbox import Tool, Toolbox


@dataclass(frozen=True)
class TrainedTool:
    """A tool and its training: validation PSNR in dB before and after it, iterations, seconds."""

    tool: Tool
    before: float
    after: float
    iterations: int
    seconds: float


def write_model_card(
    folder: Path, toolbox: Toolbox, trained: Sequence[TrainedTool], options: Mapping[str, Any], threads: int
) -> None:
    """Write `README.md` into a toolbox folder.

    Args:
        folder: the toolbox folder.
        toolbox: what it holds.
        trained: the tools trained now, in order.
        options: those of the training.
        threads: that each tool was trained with.
    """
    rows = [
        f"| {item.tool.name} | {_interval(item.tool)} | {item.iterations:,} | {item.seconds / 60:.1f} | "
        f"{item.before:.2f} | {item.after:.2f} | {item.after - item.before:+.2f} |"
        for item in trained
    ]
    kept = [tool.name for tool in toolbox if tool.name not in {item.tool.name for item in trained}]
    lines = [
        f"# {toolbox.name}",
        "",
        f"{len(toolbox)} tools for `restore_env`, trained with `python -m tools.train_toolbox`.",
        "",
        "| tool | made for | iterations | minutes | PSNR in | PSNR out | gain |",
        "| --- | --- | --- | --- | --- | --- | --- |",
        *rows,
        "",
        "PSNR in dB, mean over 256 patches of 63x63 from photos that were not trained on, each distorted by what the",
        "tool is made for" + (", then by slight noise and JPEG." if options["robust"] else "."),
        *([f"Kept from an earlier training: {', '.join(kept)}."] if kept else []),
        "",
        f"- Training photos: {options['licence']}",
        f"- Options: {', '.join(f'{key}={value}' for key, value in options.items() if key not in _PATHS)}",
        f"- Versions: restore_env {restore_env.__version__}, torch {torch.__version__}, "
        f"Python {platform.python_version()}",
        f"- Hardware: {platform.machine()} CPU ({torch.backends.cpu.get_cpu_capability()}), threads a tool: {threads}",
    ]
    write_text(folder / "README.md", "\n".join(lines))


_PATHS = ("photos", "output", "validation", "checkpoints", "licence", "name")


def _interval(tool: Tool) -> str:
    return f"{tool.removes} {tool.interval[0]:g} to {tool.interval[1]:g}" if tool.interval else tool.removes

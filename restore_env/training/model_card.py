"""Model cards: `training.json`, the record of a training, and `README.md`, which tells a reader the same."""

import platform
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import torch

from restore_env.utils.files import write_text
from restore_env.utils.serialization import read_json, write_json

RECORD: Final = "training.json"
CARD: Final = "README.md"

Blocks = list[str | list[str]]
"""The paragraphs of a report; a table is a list of its lines."""


def write_model_card(folder: Path, record: Mapping[str, Any], blocks: Blocks) -> None:
    """Write the record of a training and its model card into the folder of what was trained.

    Args:
        folder: of the toolbox or policy.
        record: plain JSON values; `read_record` returns them.
        blocks: the card.
    """
    write_json(folder / RECORD, record)
    write_text(folder / CARD, markdown(blocks))


def read_record(folder: Path) -> dict[str, Any]:
    """Return the record of the training of a folder's content; empty if there is none."""
    path = folder / RECORD
    return read_json(path) if path.is_file() else {}


def markdown(blocks: Blocks) -> str:
    r"""Return the text of paragraphs and tables, with an empty line between two of them.

    Example:
        >>> markdown(["# Tools", ["| tool |", "| --- |", "| blur-1 |"]])
        '# Tools\n\n| tool |\n| --- |\n| blur-1 |'
    """
    return "\n\n".join(block if isinstance(block, str) else "\n".join(block) for block in blocks)


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """Return the lines of a Markdown table.

    Example:
        >>> for line in table(["tool", "gain"], [["blur-1", 0.5]]):
        ...     print(line)
        | tool | gain |
        | --- | --- |
        | blur-1 | 0.5 |
    """
    return [f"| {' | '.join(map(str, row))} |" for row in (head, ["---"] * len(head), *rows)]


def settings_list(settings: Mapping[str, Any]) -> list[str]:
    """Return settings as the lines of a Markdown list; a mapping among them becomes one line.

    Example:
        >>> settings_list({"seed": 0, "recipe": {"name": "fast", "crop": 48}})
        ['- seed: 0', '- recipe: name fast, crop 48']
    """
    return [f"- {key}: {_text(value)}" for key, value in settings.items()]


def made_with(device: str) -> dict[str, Any]:
    """Return the versions and the hardware that a training on `device` uses, for its record."""
    cpu = f"{platform.machine()} CPU ({torch.backends.cpu.get_cpu_capability()})"
    return {
        "hardware": torch.cuda.get_device_name(device) if torch.device(device).type == "cuda" else cpu,
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("restore-env", "torch", "pytorch-optimizer", "opencv-python-headless")},
        },
    }


def _text(value: Any) -> str:
    return ", ".join(f"{key} {item}" for key, item in value.items()) if isinstance(value, Mapping) else str(value)

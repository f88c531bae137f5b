"""Model cards: `training.json`, the record of a training, and `README.md`, which tells a reader the same.

A card begins with metadata in YAML, so that the folder is a repository that the Hugging Face Hub understands.
"""

import json
import platform
import re
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import torch

from restore_env.constants import ENV_ID
from restore_env.policies.storage import DESCRIPTION as POLICY
from restore_env.utils.files import write_text
from restore_env.utils.serialization import CARD, RECORD, read_json, write_json

UNKNOWN: Final = "unknown"
"""Licence of weights whose owner has not chosen one, as the Hub spells it."""

RESULTS: Final = ("gain", "psnr_after", "psnr_out")
"""Names of the results in records; each is a PSNR or a difference of two."""

_METADATA: Final = re.compile(r"\A---\n(.*\n)*?---\n\s*")
"""The metadata at the beginning of a card."""

_LICENCE: Final = re.compile(r"^license(?:_name|_link)?:.*$", re.MULTILINE)
"""The lines of metadata that tell the licence."""

Blocks = list[str | list[str]]
"""The paragraphs of a report; a table is a list of its lines."""


def write_model_card(folder: Path, record: Mapping[str, Any], blocks: Blocks) -> None:
    """Write the record of a training and its model card into the folder of what was trained.

    The licence of a card that is there already stays: the owner of the weights has chosen it.

    Args:
        folder: of the toolbox or policy, which is there already.
        record: plain JSON values; `read_record` returns them.
        blocks: the card.
    """
    write_json(folder / RECORD, record)
    first, unknown, *others = card_metadata(folder)
    write_text(folder / CARD, markdown([[first, *(_licence_of(folder / CARD) or [unknown]), *others], *blocks]))


def write_metadata(folder: Path, licence: str, datasets: Sequence[str]) -> None:
    """Begin the model card of a folder with metadata, in place of any that it had; its text stays.

    Args:
        folder: a toolbox or policy folder with a model card.
        licence: see `card_metadata`, also for `datasets`.
        datasets: names of the data sets.

    Raises:
        OSError: if the card cannot be read or written.
    """
    text = _METADATA.sub("", (folder / CARD).read_text(encoding="utf-8"))
    write_text(folder / CARD, markdown([card_metadata(folder, licence, datasets), text]))


def card_metadata(folder: Path, licence: str = UNKNOWN, datasets: Sequence[str] = ()) -> list[str]:
    """Return the lines of YAML that a model card begins with, as the Hugging Face Hub reads them.

    Args:
        folder: a toolbox or policy folder.
        licence: the licence of the weights, as the Hub spells it, such as "mit".
        datasets: names of the data sets that were trained on; empty if they are not known.

    Example:
        >>> for line in card_metadata(Path("my-tools"), "mit", ["CID22"]):
        ...     print(line)
        ---
        license: "mit"
        library_name: "restore-env"
        pipeline_tag: "image-to-image"
        tags: ["gymnasium", "image-restoration", "reinforcement-learning", "ImageRestore-v1", "restore-env"]
        datasets: ["CID22"]
        ---
    """
    record = json.dumps(read_record(folder))
    metadata = {
        "license": licence,
        "library_name": "restore-env",
        "pipeline_tag": "reinforcement-learning" if (folder / POLICY).is_file() else "image-to-image",
        "tags": ["gymnasium", "image-restoration", "reinforcement-learning", ENV_ID, "restore-env"],
        "datasets": list(datasets),
        "metrics": ["psnr"] if any(f'"{result}":' in record for result in RESULTS) else [],
    }
    return ["---", *(f"{key}: {json.dumps(value)}" for key, value in metadata.items() if value), "---"]  # JSON is YAML


def _licence_of(card: Path) -> list[str]:
    """Return the lines of a card's metadata that tell its licence; none if there are no such lines."""
    if not card.is_file():
        return []
    metadata = _METADATA.match(card.read_text(encoding="utf-8", errors="replace"))
    return _LICENCE.findall(metadata[0]) if metadata else []


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

"""Checkpoints: a training's whole state in one file, complete or not there."""

from pathlib import Path
from typing import Any

import torch

from restore_env.files import replacing


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write a state of tensors, numbers, texts, lists and dictionaries.

    Args:
        path: where to; the folder is made.
        state: what `load_checkpoint` shall return.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        torch.save(state, temporary)


def load_checkpoint(path: Path) -> dict[str, Any] | None:
    """Read a state, or None if there is no such file; nothing but tensors and plain values is ever unpickled.

    Raises:
        ValueError: if the file is damaged.
    """
    if not path.exists():
        return None
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for a damaged file
        raise ValueError(f"{path}: not a checkpoint, or damaged; delete it to start afresh") from error
    return state

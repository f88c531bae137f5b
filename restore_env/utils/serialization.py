"""Folders that hold a JSON description and weights in safetensors. Nothing is pickled."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from restore_env.errors import FormatError
from restore_env.utils.files import replacing, write_text

FORMAT_VERSION: Final = 1

PRETRAINED: Final = Path(__file__).parents[1] / "pretrained"
"""Folder of the shipped toolboxes. The policies for a toolbox lie in the folder `policies` of its folder."""


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object that `write_json` wrote.

    Returns:
        The object without its format version.

    Raises:
        FormatError: if the file cannot be read or has another format version. The message names the file.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FormatError(f"{path}: cannot be read as JSON ({error})") from error
    version = content.pop("format", None) if isinstance(content, dict) else None
    if version != FORMAT_VERSION:
        raise FormatError(f"{path}: format {version!r}; this version reads format {FORMAT_VERSION}")
    return dict(content)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON object and its format version, either completely or not at all."""
    write_text(path, json.dumps({"format": FORMAT_VERSION, **content}, indent=1))


@contextmanager
def as_format_error(path: Path) -> Iterator[None]:
    """Turn errors that a file's content causes in the block into a `FormatError` that names the file."""
    try:
        yield
    except FormatError:
        raise
    except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else error
        raise FormatError(f"{path}: {reason}") from error


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file, or raise a `FormatError` that names it."""
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise FormatError(f"{path}: cannot be read as safetensors ({error})") from error


def write_tensors(path: Path, tensors: Mapping[str, Tensor], dtype: torch.dtype = torch.float32) -> None:
    """Write tensors as floats of one dtype into a safetensors file, either completely or not at all."""
    # Cloned, because safetensors refuses tensors that share memory.
    floats = {key: value.detach().to(dtype).cpu().contiguous().clone() for key, value in tensors.items()}
    with replacing(path) as temporary:
        temporary.write_bytes(save(floats))


def load_weights(module: nn.Module, tensors: Mapping[str, Tensor], where: str) -> None:
    """Load tensors into a module.

    Args:
        module: the module; its weights are replaced.
        tensors: its new state, by the keys of its `state_dict`.
        where: the file, and the part of it, for messages.

    Raises:
        FormatError: if a tensor is missing, has another shape, or belongs to no parameter of the module.
    """
    try:
        module.load_state_dict(dict(tensors))
    except RuntimeError as error:
        _, *reasons = str(error).splitlines()  # the first line names the module's class
        raise FormatError(f"{where}: {' '.join(reason.strip() for reason in reasons)}") from error

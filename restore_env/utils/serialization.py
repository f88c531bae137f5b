"""What toolbox and policy folders have in common: a JSON description and weights in safetensors, never a pickle."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from restore_env.errors import FormatError
from restore_env.utils.files import replacing, write_text

FORMAT_VERSION: Final = 1

PRETRAINED: Final = Path(__file__).parents[1] / "pretrained"
"""Where the shipped folders are."""


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object, or raise a `FormatError` that names the file."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FormatError(f"{path}: cannot be read as JSON ({error})") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT_VERSION:
        found = content.get("format") if isinstance(content, dict) else None
        raise FormatError(f"{path}: format {found!r}; this version reads format {FORMAT_VERSION}")
    return content


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON object, complete or not at all."""
    write_text(path, json.dumps(content, indent=1))


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file, or raise a `FormatError` that names it."""
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise FormatError(f"{path}: cannot be read as safetensors ({error})") from error


def write_tensors(path: Path, tensors: dict[str, Tensor]) -> None:
    """Write a safetensors file, complete or not at all."""
    with replacing(path) as temporary:
        temporary.write_bytes(save(tensors))


def load_weights(module: nn.Module, tensors: Mapping[str, Tensor], where: str) -> None:
    """Load tensors into a module, or raise a `FormatError` that names what does not fit."""
    expected = module.state_dict()
    for key in sorted(expected.keys() | tensors.keys()):
        if key not in tensors:
            raise FormatError(f"{where}: the tensor {key!r} is missing")
        if key not in expected:
            raise FormatError(f"{where}: the tensor {key!r} belongs to nothing in the description")
        if tensors[key].shape != expected[key].shape:
            shapes = f"{tuple(tensors[key].shape)}, the description needs {tuple(expected[key].shape)}"
            raise FormatError(f"{where}: the tensor {key!r} has the shape {shapes}")
    module.load_state_dict(dict(tensors))

"""Folders that hold a JSON description and weights in safetensors. Nothing is pickled.

A description may name a class as "package.module:Class". It is imported only for users who trust the file.
"""

import json
import reprlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from restore_env.errors import FormatError
from restore_env.utils.checks import one_line
from restore_env.utils.files import check_regular, replacing, write_text

FORMAT_VERSION: Final = 1

RECORD: Final = "training.json"
"""File of a toolbox or policy folder that holds the record of its training."""

CARD: Final = "README.md"
"""File of a toolbox or policy folder that tells a reader what it holds."""

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
        check_regular(path)
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise FormatError(f"{path}: cannot be read as JSON ({one_line(error)})") from error
    version = content.pop("format", None) if isinstance(content, dict) else None
    if version != FORMAT_VERSION:
        raise FormatError(f"{path}: format {reprlib.repr(version)}; this version reads format {FORMAT_VERSION}")
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
    except Exception as error:  # what does not fit fails anywhere, and in any way
        reason = f"{error} is missing" if isinstance(error, KeyError) else error
        raise FormatError(f"{path}: {one_line(reason)}") from error


def read_tensors(path: Path, digest: Any = None) -> dict[str, Tensor]:
    """Read a safetensors file.

    Args:
        path: the file.
        digest: SHA-256 of the file in hexadecimal, which the description beside it holds; None if it holds none, as
            those of version 0.1.

    Raises:
        FormatError: if it is not the SHA-256 of the file, or the file cannot be read. The message names the file.
    """
    try:
        check_regular(path)
        content = path.read_bytes()
        damaged = digest is not None and digest != sha256(content).hexdigest()
        tensors = {} if damaged else load(content)
    except Exception as error:  # safetensors raises more kinds than its own
        raise FormatError(f"{path}: cannot be read as safetensors ({one_line(error)})") from error
    if damaged:
        raise FormatError(
            f"{path}: damaged or of another folder, its SHA-256 is not the one in the JSON file beside it"
        )
    return tensors


def write_tensors(path: Path, tensors: Mapping[str, Tensor], dtype: torch.dtype = torch.float32) -> str:
    """Write tensors into a safetensors file, all floats in one dtype, either completely or not at all.

    Returns:
        The SHA-256 of the file in hexadecimal.
    """
    # Cloned, because safetensors refuses tensors that share memory.
    content = save(
        {key: _converted(value.detach(), dtype).cpu().contiguous().clone() for key, value in tensors.items()}
    )
    with replacing(path) as temporary:
        temporary.write_bytes(content)
    return sha256(content).hexdigest()


def load_weights(module: nn.Module, tensors: Mapping[str, Tensor], where: str) -> None:
    """Load tensors into a module, floats as float32.

    Make the module within `torch.device("meta")`, where it takes no memory. Then a file whose description asks for a
    huge network is refused before there is one.

    Args:
        module: the module; its weights are replaced.
        tensors: its new state, by the keys of its `state_dict`.
        where: the file, and the part of it, for messages.

    Raises:
        FormatError: if a tensor is missing, has another shape, or belongs to no parameter of the module.
    """
    try:
        copies = {key: _converted(value, torch.float32).clone() for key, value in tensors.items()}
        module.load_state_dict(copies, assign=True)
    except RuntimeError as error:
        first, *reasons = str(error).splitlines()  # the first of several lines names the module's class
        raise FormatError(f"{where}: {one_line(' '.join(reasons) or first)}") from error


def import_class(name: str, path: str, base: type) -> Any:
    """Import a class, which runs the code of its module: do so only for a file that the user trusts.

    Args:
        name: name of the value, for the message.
        path: the class as "package.module:Class".
        base: what the class must derive from.

    Raises:
        ValueError: if there is no such class.

    Example:
        >>> import_class("architecture", "torch.nn:Identity", nn.Module)
        <class 'torch.nn.modules.linear.Identity'>
    """
    module, _, attribute = path.partition(":")
    try:
        kind = getattr(import_module(module), attribute)
    except Exception as error:  # whatever the module raises
        raise ValueError(f"{name}={path!r} cannot be imported ({one_line(error)})") from error
    if not (isinstance(kind, type) and issubclass(kind, base)):
        raise ValueError(f"{name}={path!r} is not a class of {base.__module__}.{base.__name__}")
    return kind


def _converted(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """Return floats in another dtype, and other tensors as they are, such as the indices that a network looks up."""
    return tensor.to(dtype) if tensor.is_floating_point() else tensor

"""Load and save toolbox folders: `toolbox.json` describes the tools, `tools.safetensors` holds their weights."""

import os
import warnings
from collections.abc import Mapping
from math import isfinite
from pathlib import Path
from typing import Any, Final, cast

import torch
from torch import Tensor

from restore_env.constants import DEFAULT_TOOLBOX
from restore_env.errors import FormatError
from restore_env.toolbox.classical import classical_toolbox
from restore_env.toolbox.networks import ARCHITECTURES, ToolNetwork
from restore_env.toolbox.tool import Tool
from restore_env.toolbox.toolbox import Toolbox
from restore_env.utils.checks import check_choice, check_device, check_name, check_text, check_whole
from restore_env.utils.serialization import (
    PRETRAINED,
    as_format_error,
    load_weights,
    read_json,
    read_tensors,
    write_json,
    write_tensors,
)
from restore_env.utils.tensors import computes_bfloat16

DESCRIPTION: Final = "toolbox.json"
WEIGHTS: Final = "tools.safetensors"
STORED: Final = {"float32": torch.float32, "float16": torch.float16}
"""Dtypes in which weights can be stored."""


def available_toolboxes() -> list[str]:
    """Return the names that `load_toolbox` accepts.

    Example:
        >>> available_toolboxes()
        ['rl-restore-12', 'rl-restore-12-separate', 'classical']
    """
    return [*_shipped(), "classical"]


def load_toolbox(
    name: str | os.PathLike[str] | Toolbox = DEFAULT_TOOLBOX,
    device: str | torch.device = "cpu",
    dtype: str | None = None,
) -> Toolbox:
    """Load a toolbox by its name or from its folder.

    Args:
        name: name of a shipped toolbox such as "rl-restore-12", "classical", a toolbox folder, or a `Toolbox`.
        device: where the networks compute.
        dtype: precision in which they compute, "float32" or "bfloat16"; None keeps that of the toolbox.

    Returns:
        The toolbox on the device.

    Raises:
        TypeError: if `name` is none of the above.
        ValueError: if there is no such toolbox, the device is not available, or `dtype` is unknown.
        FormatError: if the folder's files are damaged or do not fit each other.

    Example:
        >>> toolbox = load_toolbox("rl-restore-12")
        >>> toolbox.action_names[-3:]
        ('jpeg-3', 'jpeg-4', 'stop')
    """
    check_device(device)
    if dtype == "bfloat16" and not computes_bfloat16(device):
        warnings.warn("this processor imitates bfloat16, which is 4 to 7 times slower than float32", stacklevel=2)
    if isinstance(name, Toolbox):
        return name.to(device, dtype)
    if not isinstance(name, str | os.PathLike):
        raise TypeError(f"toolbox={name!r} is not a name, a folder or a Toolbox")
    if name == "classical":
        return classical_toolbox().to(device, dtype)
    folder = toolbox_folder(name)
    if not (folder / DESCRIPTION).is_file():
        known = ", ".join(map(repr, available_toolboxes()))
        raise ValueError(f"toolbox={str(name)!r} is neither one of {known} nor a folder with a {DESCRIPTION}")
    return _load_folder(folder).to(device, dtype)


def toolbox_folder(name: str | os.PathLike[str]) -> Path:
    """Return the folder of a shipped toolbox, or `name` as a path."""
    return PRETRAINED / name if name in _shipped() else Path(name)


def save_toolbox(toolbox: Toolbox, folder: str | os.PathLike[str], *, weights: str = "float32") -> None:
    """Write a toolbox of networks as a folder that `load_toolbox` reads.

    Args:
        toolbox: the toolbox.
        folder: where to write; the folder is made.
        weights: dtype in which weights are stored, "float32" or "float16", which takes half the space. They are loaded
            as float32 in any case.

    Raises:
        ValueError: if `weights` is neither, a tool is not a network of `restore_env.toolbox.networks`, or the toolbox
            or a tool has a name that no file can have.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> from restore_env.toolbox.networks import ThreeLayerCNN
        >>> with TemporaryDirectory() as folder:
        ...     save_toolbox(Toolbox([Tool.from_module("mine", ThreeLayerCNN())], "my-tools"), folder)
        ...     load_toolbox(folder)
        Toolbox('my-tools': mine)
    """
    check_choice("weights", weights, STORED)
    check_name("name", toolbox.name)
    networks = {check_name("tool", tool.name): _own_network(tool) for tool in toolbox}
    tensors = {
        f"{name}.{key}": value for name, network in networks.items() for key, value in network.state_dict().items()
    }
    Path(folder).mkdir(parents=True, exist_ok=True)
    digest = write_tensors(Path(folder) / WEIGHTS, tensors, STORED[weights])
    architectures = {kind: name for name, kind in ARCHITECTURES.items()}
    tools = [
        {
            "name": tool.name,
            "removes": tool.removes,
            "interval": tool.interval,
            "architecture": architectures[type(networks[tool.name])],
            "arguments": networks[tool.name].arguments,
        }
        for tool in toolbox
    ]
    write_json(Path(folder) / DESCRIPTION, {"name": toolbox.name, "sha256": digest, "tools": tools})


def build_network(architecture: str, arguments: Mapping[str, int], where: str) -> ToolNetwork:
    """Make a network, with random weights, from its description in a toolbox folder.

    Args:
        architecture: a name in `ARCHITECTURES`.
        arguments: arguments of the network's constructor.
        where: name of the tool, for messages.

    Raises:
        ValueError: if there is no such network, or the arguments do not fit it.

    Example:
        >>> build_network("three-layer", {"wide": 8}, "tool 'mine'").arguments
        {'wide': 8, 'narrow': 16}
    """
    check_choice(f"{where}: architecture", architecture, ARCHITECTURES)
    try:
        return ARCHITECTURES[architecture](**{key: check_whole(key, size, 1) for key, size in arguments.items()})
    except (AttributeError, OverflowError, RuntimeError, TypeError, ValueError) as error:
        raise ValueError(f"{where}: {architecture!r} cannot be made from the arguments {arguments!r}") from error


def parse_interval(interval: Any, where: str) -> tuple[float, float]:
    """Return a tool's interval as two floats, or raise a `ValueError` that names `where` if it is not two numbers."""
    try:
        low, high = map(float, interval if isinstance(interval, list | tuple) else ())
        if isfinite(low) and isfinite(high):
            return low, high
    except (OverflowError, TypeError, ValueError):
        pass
    raise ValueError(f"{where}: interval={interval!r} is not two numbers")


def _shipped() -> list[str]:
    """Return the names of the shipped toolboxes."""
    return sorted(path.parent.name for path in PRETRAINED.glob(f"*/{DESCRIPTION}"))


def _own_network(tool: Tool) -> ToolNetwork:
    """Return the network of a tool, or raise a `ValueError` if a toolbox folder cannot hold it."""
    if type(tool.module) not in ARCHITECTURES.values():
        raise ValueError(f"tool {tool.name!r} cannot be saved: only networks of {', '.join(ARCHITECTURES)} can")
    return cast(ToolNetwork, tool.module)


def _load_folder(folder: Path) -> Toolbox:
    """Load a toolbox folder, or raise a `FormatError` that names the file at fault."""
    content = read_json(folder / DESCRIPTION)
    tensors = read_tensors(folder / WEIGHTS, content.get("sha256"))
    with as_format_error(folder / DESCRIPTION):
        entries = [dict(entry) for entry in content["tools"]]
        tools = [_tool(entry, tensors, folder) for entry in entries]
        toolbox = Toolbox(tools, check_name("name", content["name"]))
    if tensors:
        raise FormatError(f"{folder / WEIGHTS}: the tensor {min(tensors)!r} belongs to no tool of {DESCRIPTION}")
    return toolbox


def _tool(entry: Mapping[str, Any], tensors: dict[str, Tensor], folder: Path) -> Tool:
    """Make a tool from its description and its tensors, which are removed from `tensors`."""
    name = check_name("tool", entry["name"])
    where = f"tool {name!r}"
    with torch.device("meta"):
        network = build_network(entry["architecture"], entry["arguments"], where)
    keys = {key: f"{name}.{key}" for key in network.state_dict()}
    own = {key: tensors.pop(stored) for key, stored in keys.items() if stored in tensors}
    load_weights(network, own, f"{folder / WEIGHTS}: {where}")
    given = entry.get("interval")
    interval = None if given is None else parse_interval(given, where)
    removes = check_text(f"{where}: removes", entry.get("removes", ""))
    return Tool.from_module(name, network, removes=removes, interval=interval)

"""Toolbox folders: `toolbox.json` describes the tools, `tools.safetensors` holds their weights."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from restore_env.constants import DEFAULT_TOOLBOX
from restore_env.errors import FormatError
from restore_env.toolbox.classical import classical_toolbox
from restore_env.toolbox.networks import ARCHITECTURES
from restore_env.toolbox.tool import Tool
from restore_env.toolbox.toolbox import Toolbox
from restore_env.utils.checks import check_device
from restore_env.utils.serialization import (
    FORMAT_VERSION,
    PRETRAINED,
    load_weights,
    read_json,
    read_tensors,
    write_json,
    write_tensors,
)

DESCRIPTION: Final = "toolbox.json"
WEIGHTS: Final = "tools.safetensors"


def available_toolboxes() -> list[str]:
    """The names that `load_toolbox` knows."""
    return sorted(path.parent.name for path in PRETRAINED.glob(f"*/{DESCRIPTION}")) + ["classical"]


def load_toolbox(
    name: str | os.PathLike[str] | Toolbox = DEFAULT_TOOLBOX,
    device: str | torch.device = "cpu",
    dtype: str | None = None,
) -> Toolbox:
    """Load a shipped toolbox by name or any other by its folder.

    Args:
        name: "rl-restore-12", "classical", or a folder; a `Toolbox` is returned as it is, on `device`.
        device: where its networks compute.
        dtype: in which precision they convolve, "float32" or "bfloat16"; by default as they are.

    Raises:
        ValueError: if there is no such toolbox, or this machine lacks the device.
        FormatError: if the folder's files are damaged or do not fit each other.
    """
    check_device(device)
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
    """Where a shipped toolbox lies, or the folder given."""
    return PRETRAINED / name if name in available_toolboxes() else Path(name)


def save_toolbox(toolbox: Toolbox, folder: str | os.PathLike[str]) -> None:
    """Write a toolbox of networks as a folder.

    Raises:
        ValueError: if one of its tools is not one of the package's networks.
    """
    entries = [_entry(tool) for tool in toolbox]
    weights = {
        f"{tool.name}.{key}": value.detach().float().cpu().contiguous().clone()  # tools may share a network
        for tool in toolbox
        if tool.module is not None
        for key, value in tool.module.state_dict().items()
    }
    Path(folder).mkdir(parents=True, exist_ok=True)
    write_tensors(Path(folder) / WEIGHTS, weights)
    write_json(Path(folder) / DESCRIPTION, {"format": FORMAT_VERSION, "name": toolbox.name, "tools": entries})


def build_network(architecture: str, arguments: Mapping[str, int], where: str) -> nn.Module:
    """Make a network from its entry in a toolbox folder, or raise a `FormatError` that names `where`."""
    if architecture not in ARCHITECTURES:
        known = ", ".join(map(repr, ARCHITECTURES))
        raise FormatError(f"{where}: architecture {architecture!r} is not one of {known}")
    try:
        return ARCHITECTURES[architecture](**arguments)
    except (TypeError, RuntimeError, ValueError) as error:
        raise FormatError(f"{where}: {architecture!r} cannot be made from the arguments {arguments!r}") from error


def _entry(tool: Tool) -> dict[str, Any]:
    names = {network: name for name, network in ARCHITECTURES.items()}
    if type(tool.module) not in names:
        raise ValueError(f"tool {tool.name!r} cannot be saved: only networks of {', '.join(ARCHITECTURES)} can")
    return {
        "name": tool.name,
        "removes": tool.removes,
        "interval": tool.interval,
        "architecture": names[type(tool.module)],  # type: ignore[index]
        "arguments": tool.module.arguments,  # type: ignore[union-attr]
    }


def _load_folder(folder: Path) -> Toolbox:
    path = folder / DESCRIPTION
    content = read_json(path)
    tensors = read_tensors(folder / WEIGHTS)
    try:
        entries = [dict(entry) for entry in content["tools"]]
        tools = [_tool(entry, _take(tensors, entry["name"]), folder) for entry in entries]
        toolbox = Toolbox(tools, str(content["name"]))
    except FormatError:
        raise
    except (KeyError, TypeError, ValueError) as error:
        raise FormatError(f"{path}: {type(error).__name__}: {error}") from error
    if tensors:
        raise FormatError(f"{folder / WEIGHTS}: the tensor {min(tensors)!r} belongs to no tool of {DESCRIPTION}")
    return toolbox


def _take(tensors: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    """Take the tensors of one tool out of those of all, without the tool's name before their keys."""
    owned = [key for key in tensors if key.rsplit(".", 2)[0] == name]  # a tool's name may hold dots
    return {key.removeprefix(f"{name}."): tensors.pop(key) for key in owned}


def _tool(entry: Mapping[str, Any], tensors: Mapping[str, Tensor], folder: Path) -> Tool:
    network = build_network(
        entry["architecture"], entry["arguments"], f"{folder / DESCRIPTION}, tool {entry['name']!r}"
    )
    load_weights(network, tensors, f"{folder / WEIGHTS}, tool {entry['name']!r}")
    return Tool.from_module(entry["name"], network, removes=entry.get("removes", ""), interval=_interval(entry))


def _interval(entry: Mapping[str, Any]) -> tuple[float, float] | None:
    interval = entry.get("interval")
    if interval is None:
        return None
    try:
        low, high = map(float, interval)
    except (TypeError, ValueError) as error:
        raise ValueError(f"tool {entry['name']!r}: interval {interval!r} is not two numbers") from error
    return low, high

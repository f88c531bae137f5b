"""Toolbox folders: `toolbox.json` describes the tools, `tools.safetensors` holds their weights."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from restore_env.constants import DEFAULT_TOOLBOX
from restore_env.errors import FormatError
from restore_env.files import replacing
from restore_env.toolbox.classical import classical_toolbox
from restore_env.toolbox.networks import ARCHITECTURES
from restore_env.toolbox.tool import Tool
from restore_env.toolbox.toolbox import Toolbox

FORMAT_VERSION: Final = 1
DESCRIPTION: Final = "toolbox.json"
WEIGHTS: Final = "tools.safetensors"
PRETRAINED: Final = Path(__file__).parent.parent / "pretrained"


def available_toolboxes() -> list[str]:
    """The names that `load_toolbox` knows."""
    return sorted(path.parent.name for path in PRETRAINED.glob(f"*/{DESCRIPTION}")) + ["classical"]


def load_toolbox(
    name: str | os.PathLike[str] | Toolbox = DEFAULT_TOOLBOX, device: str | torch.device = "cpu"
) -> Toolbox:
    """Load a shipped toolbox by name or any other by its folder.

    Args:
        name: "rl-restore-12", "classical", or a folder; a `Toolbox` is returned as it is, on `device`.
        device: where its networks compute.

    Raises:
        ValueError: if there is no such toolbox.
        FormatError: if the folder's files are damaged or do not fit each other.
    """
    if isinstance(name, Toolbox):
        return name.to(device)
    if not isinstance(name, str | os.PathLike):
        raise TypeError(f"toolbox={name!r} is not a name, a folder or a Toolbox")
    if name == "classical":
        return classical_toolbox()
    folder = PRETRAINED / name if name in available_toolboxes() else Path(name)
    if not (folder / DESCRIPTION).is_file():
        known = ", ".join(map(repr, available_toolboxes()))
        raise ValueError(f"toolbox={str(name)!r} is neither one of {known} nor a folder with a {DESCRIPTION}")
    return _load_folder(folder).to(device)


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
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


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

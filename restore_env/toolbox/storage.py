"""Load and save toolbox folders: `toolbox.json` describes the tools, `tools.safetensors` holds their weights."""

import json
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from restore_env.constants import DEFAULT_TOOLBOX
from restore_env.errors import FormatError
from restore_env.toolbox.classical import classical_toolbox
from restore_env.toolbox.networks import ARCHITECTURES, ToolNetwork
from restore_env.toolbox.spandrel_network import SpandrelNetwork, digest_of_file, open_spandrel
from restore_env.toolbox.tool import NetworkAtLevel, Tool
from restore_env.toolbox.toolbox import Toolbox
from restore_env.utils.checks import check_choice, check_device, check_name, check_number, check_whole, one_line
from restore_env.utils.files import copy_file, real_path
from restore_env.utils.serialization import (
    PRETRAINED,
    as_format_error,
    import_class,
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

SPANDREL: Final = "spandrel"
"""The architecture of tools whose weights are a file beside the description, which spandrel opens."""

SAVED: Final = f"only networks of {', '.join(ARCHITECTURES)} can, and with trust=True networks of your own"
"""What can be saved, for messages."""


def available_toolboxes() -> list[str]:
    """Return the names that `load_toolbox` accepts.

    Example:
        >>> available_toolboxes()
        ['restore-12', 'rl-restore-12', 'rl-restore-12-separate', 'classical']
    """
    return [*_shipped(), "classical"]


def load_toolbox(
    name: str | os.PathLike[str] | Toolbox = DEFAULT_TOOLBOX,
    device: str | torch.device = "cpu",
    dtype: str | None = None,
    *,
    trust: bool = False,
) -> Toolbox:
    """Load a toolbox by its name or from its folder.

    Args:
        name: name of a shipped toolbox such as "restore-12", "classical", a toolbox folder, or a `Toolbox`.
        device: where the networks compute.
        dtype: precision in which they compute, "float32" or "bfloat16"; None keeps that of the toolbox.
        trust: whether to import network classes that a folder names, which runs the code of their modules.

    Returns:
        The toolbox on the device.

    Raises:
        TypeError: if `name` is none of the above.
        ValueError: if there is no such toolbox, the device is not available, or `dtype` is unknown.
        FormatError: if the folder's files are damaged or do not fit each other, or name a class and are not trusted.

    Example:
        >>> toolbox = load_toolbox("restore-12")
        >>> toolbox.action_names[-3:]
        ('refine-1', 'refine-2', 'stop')
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
    return _load_folder(folder, trust).to(device, dtype)


def toolbox_folder(name: str | os.PathLike[str]) -> Path:
    """Return the folder of a shipped toolbox, or `name` as a path."""
    return PRETRAINED / name if name in _shipped() else Path(name)


def toolbox_files(folder: Path) -> list[str]:
    """Return the names of the files that a toolbox folder consists of, as its description tells; none is opened.

    Raises:
        FormatError: if the description is damaged, or names a file in another folder.

    Example:
        >>> toolbox_files(PRETRAINED / "rl-restore-12")
        ['toolbox.json', 'tools.safetensors']
    """
    path = folder / DESCRIPTION
    content = read_json(path)
    with as_format_error(path):
        own = [entry["file"] for entry in content["tools"] if entry.get("architecture") == SPANDREL]
        return list(dict.fromkeys([DESCRIPTION, WEIGHTS, *(check_name("file", name) for name in own)]))


def save_toolbox(
    toolbox: Toolbox, folder: str | os.PathLike[str], *, weights: str = "float32", trust: bool = False
) -> None:
    """Write a toolbox of networks as a folder that `load_toolbox` reads.

    Files that `Tool.from_spandrel` opened are copied into the folder.

    Args:
        toolbox: the toolbox.
        folder: where to write; the folder is made.
        weights: dtype in which weights are stored, "float32" or "float16", which takes half the space. They are loaded
            as float32 in any case.
        trust: whether to save networks of your own by the import paths of their classes. Such a folder is loaded only
            with `trust=True`. If the constructor takes arguments, the network has them, by name, in its attribute
            `arguments`.

    Raises:
        ValueError: if `weights` is neither, a tool cannot be saved, or the toolbox or a tool has a name that no file
            can have.

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
    networks: dict[str, nn.Module] = {}
    tools = [_describe(tool, networks, trust) for tool in toolbox]
    files = _files_to_copy(toolbox)
    tensors = {
        f"{name}.{key}": value for name, network in networks.items() for key, value in network.state_dict().items()
    }
    Path(folder).mkdir(parents=True, exist_ok=True)
    for file in files:
        if real_path(file) != real_path(Path(folder) / file.name):
            copy_file(file, Path(folder) / file.name)
    digest = write_tensors(Path(folder) / WEIGHTS, tensors, STORED[weights])
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


def _shipped() -> list[str]:
    """Return the names of the shipped toolboxes."""
    return sorted(path.parent.name for path in PRETRAINED.glob(f"*/{DESCRIPTION}"))


def _describe(tool: Tool, networks: dict[str, nn.Module], trust: bool) -> dict[str, Any]:
    """Return the description of a tool, and add its network to `networks` if it holds weights that are not there yet.

    Raises:
        ValueError: if a toolbox folder cannot hold the tool.
    """
    where = f"tool {check_name('tool', tool.name)!r}"
    entry: dict[str, Any] = {"name": tool.name, "removes": tool.removes, "interval": tool.interval}
    entry |= {} if tool.given_cost is None else {"cost": tool.given_cost}
    network = tool.module
    if network is None:
        raise ValueError(f"{where} cannot be saved: {SAVED}")
    if isinstance(network, SpandrelNetwork):
        return entry | {"architecture": SPANDREL, "file": _checked_file(network, where).name, "sha256": network.digest}
    if isinstance(network, NetworkAtLevel):
        entry |= {"level": network.level, "scale": network.scale}
        network = network.network
        for owner, stored in networks.items():
            if stored is network:
                return entry | {"network": owner}
    entry["architecture"], entry["arguments"] = _describe_network(network, where, trust)
    networks[tool.name] = network
    return entry


def _describe_network(network: nn.Module, where: str, trust: bool) -> tuple[str, Mapping[str, Any]]:
    """Return the name of a network's architecture, or the path of its class, and the arguments of its constructor."""
    names = {kind: name for name, kind in ARCHITECTURES.items()}
    if isinstance(network, ToolNetwork) and type(network) in names:
        return names[type(network)], network.arguments
    if not trust:
        raise ValueError(f"{where} cannot be saved: {SAVED}")
    path, arguments = f"{type(network).__module__}:{type(network).__qualname__}", getattr(network, "arguments", {})
    try:
        arguments = json.loads(json.dumps(arguments))  # as they will be loaded
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where} cannot be saved: JSON cannot hold its arguments {arguments!r}") from error
    if path.startswith("__main__:"):
        raise ValueError(f"{where} cannot be saved: no other program can import {path!r}; put it into a module")
    again = _build_own(path, arguments, where)
    if _shapes(again) != _shapes(network):
        raise ValueError(
            f"{where} cannot be saved: {path!r} with the arguments {arguments!r} has other weights; give the network "
            "the attribute `arguments`, with the arguments of its constructor by name"
        )
    return path, arguments


def _shapes(network: nn.Module) -> dict[str, torch.Size]:
    """Return the shapes of a network's weights by name."""
    return {key: value.shape for key, value in network.state_dict().items()}


def _checked_file(network: SpandrelNetwork, where: str) -> Path:
    """Return the file that a network of spandrel was made of, if it still is that file."""
    if network.file is None:
        raise ValueError(f"{where} cannot be saved: it was not made of a file; give Tool.from_spandrel the path of one")
    if digest_of_file(network.file) != network.digest:
        raise ValueError(f"{where} cannot be saved: {network.file} has changed since it was opened")
    check_name(f"{where}: file", network.file.name)
    return network.file


def _files_to_copy(toolbox: Toolbox) -> list[Path]:
    """Return the files of the tools of spandrel, or raise a `ValueError` if two of them have the same name."""
    networks = [tool.module for tool in toolbox if isinstance(tool.module, SpandrelNetwork)]
    digests = {DESCRIPTION: "", WEIGHTS: ""}
    for network in networks:
        assert network.file is not None
        if digests.setdefault(network.file.name, network.digest) != network.digest:
            raise ValueError(f"{network.file}: the folder would have two files of this name; rename this one")
    return [network.file for network in networks if network.file is not None]


def _load_folder(folder: Path, trust: bool) -> Toolbox:
    """Load a toolbox folder, or raise a `FormatError` that names the file at fault."""
    content = read_json(folder / DESCRIPTION)
    tensors = read_tensors(folder / WEIGHTS, content.get("sha256"))
    networks: dict[str, nn.Module] = {}
    with as_format_error(folder / DESCRIPTION):
        entries = [dict(entry) for entry in content["tools"]]
        tools = [_tool(entry, tensors, networks, folder, trust) for entry in entries]
        toolbox = Toolbox(tools, check_name("name", content["name"]))
    if tensors:
        raise FormatError(f"{folder / WEIGHTS}: the tensor {min(tensors)!r} belongs to no tool of {DESCRIPTION}")
    return toolbox


def _tool(
    entry: Mapping[str, Any], tensors: dict[str, Tensor], networks: dict[str, nn.Module], folder: Path, trust: bool
) -> Tool:
    """Make a tool from its description.

    Args:
        entry: the description.
        tensors: the weights of all tools; its own are removed.
        networks: the networks of the tools before it, by name; its own is added.
        folder: the toolbox folder.
        trust: whether to import a class.
    """
    name = check_name("tool", entry["name"])
    where = f"tool {name!r}"
    if "network" in entry:
        check_choice(f"{where}: network", entry["network"], networks)
        network = networks[entry["network"]]
    else:
        network = networks[name] = _network(name, entry, tensors, folder, trust)
    if "level" in entry:
        level, scale = (check_number(f"{where}: {key}", entry[key]) for key in ("level", "scale"))
        network = NetworkAtLevel(network, level, scale)
    return Tool.from_module(
        name, network, removes=entry.get("removes", ""), interval=entry.get("interval"), cost=entry.get("cost")
    )


def _network(name: str, entry: Mapping[str, Any], tensors: dict[str, Tensor], folder: Path, trust: bool) -> nn.Module:
    """Make the network of a tool; see `_tool`."""
    where, architecture = f"tool {name!r}", entry["architecture"]
    if architecture == SPANDREL:
        return open_spandrel(folder / check_name(f"{where}: file", entry["file"]), str(entry["sha256"]))
    if isinstance(architecture, str) and ":" in architecture:
        if not trust:
            raise ValueError(
                f"{where}: architecture={architecture!r} names a class, which is imported only with trust=True "
                "(--trust); importing it runs its code"
            )
        network = _build_own(architecture, entry["arguments"], where)
    else:
        with torch.device("meta"):
            network = build_network(architecture, entry["arguments"], where)
    keys = {key: f"{name}.{key}" for key in network.state_dict()}
    own = {key: tensors.pop(stored) for key, stored in keys.items() if stored in tensors}
    load_weights(network, own, f"{folder / WEIGHTS}: {where}")
    return network


def _build_own(path: str, arguments: Any, where: str) -> nn.Module:
    """Make a network of a class of the user's own, with random weights."""
    kind = import_class(f"{where}: architecture", path, nn.Module)
    try:
        with torch.random.fork_rng(devices=[]):
            network: nn.Module = kind(**arguments)
            return network
    except Exception as error:  # whatever a user's class raises
        reason = f"{type(error).__name__}: {one_line(error)}"
        raise ValueError(f"{where}: {path!r} cannot be made from the arguments {arguments!r} ({reason})") from error

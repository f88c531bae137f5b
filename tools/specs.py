"""What the tools of a toolbox are: paper, Table 1, and descriptions of your own."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from importlib import import_module
from os import PathLike
from pathlib import Path
from typing import Any, Final

import torch

from restore_env.data.distortions import (
    Distortion,
    DistortionModel,
    GaussianBlur,
    GaussianNoise,
    JPEGCompression,
    MixedDistortion,
    OneOf,
)
from restore_env.errors import FormatError
from restore_env.toolbox.storage import build_network
from restore_env.toolbox.tool import Tool
from restore_env.toolbox.toolbox import STOP
from restore_env.utils.serialization import FORMAT_VERSION, read_json, write_json

SHIPPED: Final = Path(__file__).parent / "toolboxes"
"""Where the shipped descriptions are."""

DISTORTIONS: Final[dict[str, type[Distortion]]] = {
    "blur": GaussianBlur,
    "noise": GaussianNoise,
    "jpeg": JPEGCompression,
}
"""What tools can be made for, by name."""

SLIGHT: Final[tuple[Distortion, ...]] = (GaussianNoise(0, 5), JPEGCompression(80, 100))
"""The mildest level of noise and of JPEG."""


def distortion_of(name: str, removes: str, interval: tuple[float, float]) -> Distortion:
    """What the tool `name` is made for.

    Raises:
        ValueError: if it is no distortion, or the interval is not one of it.
    """
    kind = DISTORTIONS.get(removes) or _import_distortion(str(removes), name)
    try:
        return kind(*sorted(interval))
    except (TypeError, ValueError) as error:
        raise ValueError(f"tool {name!r}: {error}") from error


def robust_distortion(own: Distortion) -> OneOf:
    """What makes a tool robust to the middle states of a toolchain.

    The paper adds "slight Gaussian noise and JPEG" to every tool's training data (section 3.3) and gives no numbers.
    With the mildest level of each alone, a tool for noise fails on noise that was never compressed,
    and a tool for blur raises whatever noise another tool left; so some images come without it, and some with more.

    Args:
        own: what the tool is made for.
    """
    slight = [own, *SLIGHT]
    more = [own, GaussianNoise(0, 30), JPEGCompression(20, 100)]
    other = [own, GaussianNoise(0, 30)] if isinstance(own, GaussianBlur) else [GaussianBlur(), *slight]
    return OneOf([MixedDistortion(chain) for chain in (slight, more, [own], other)], weights=(5, 3, 1, 1))


@dataclass(frozen=True)
class ToolSpec:
    """One tool to train.

    Args:
        name: the tool's name.
        removes: "blur", "noise", "jpeg", or "package.module:Class" for a `Distortion` of your own.
        interval: the parameter's interval, from the milder to the stronger end.
        architecture: "three-layer" or "eight-layer".
        arguments: sizes of the network where they differ from the paper's.

    Raises:
        ValueError: if the distortion or the network cannot be made, or there is no name.
    """

    name: str
    removes: str
    interval: tuple[float, float]
    architecture: str
    arguments: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _ = self.own_distortion
        tool = self.tool(self.network(0))
        if Path(tool.name).name != tool.name:  # checkpoints are called by it
            raise ValueError(f"tool {tool.name!r}: the name cannot be that of a file")

    @property
    def own_distortion(self) -> Distortion:
        """What the tool is made for, alone."""
        return distortion_of(self.name, self.removes, self.interval)

    def task(self, robust: bool = True) -> MixedDistortion:
        """What the tool is measured on: its own distortion, then slight noise and JPEG if `robust`."""
        return MixedDistortion([self.own_distortion, *(SLIGHT if robust else ())])

    def distortion(self, robust: bool = True) -> DistortionModel:
        """What the tool is trained on."""
        return robust_distortion(self.own_distortion) if robust else self.task(False)

    def network(self, seed: int) -> torch.nn.Module:
        """A new network with weights drawn from `seed`; PyTorch's global generator is left as it was."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return build_network(self.architecture, self.arguments, f"tool {self.name!r}")

    def tool(self, network: torch.nn.Module) -> Tool:
        """The trained network as a tool."""
        return Tool.from_module(self.name, network, removes=self.removes, interval=self.interval)


@dataclass(frozen=True)
class ToolboxSpec:
    """The tools of a toolbox, in order.

    Args:
        name: the toolbox's name.
        tools: its tools.

    Raises:
        ValueError: if there are none, two have one name, or one is called "stop".
    """

    name: str
    tools: tuple[ToolSpec, ...]

    def __post_init__(self) -> None:
        names = [tool.name for tool in self.tools]
        twice = [name for name in names if names.count(name) > 1]
        if twice or not names:
            raise ValueError(f"{twice[0]!r} comes twice" if twice else "there are no tools")
        if STOP in names:
            raise ValueError(f"the name {STOP!r} is reserved")

    def chosen(self, names: Sequence[str]) -> list[ToolSpec]:
        """The tools named, or all.

        Raises:
            ValueError: if a name is none of theirs.
        """
        known = {tool.name: tool for tool in self.tools}
        unknown = [name for name in names if name not in known]
        if unknown:
            raise ValueError(f"tools: {unknown[0]!r} is not one of {', '.join(known)}")
        return [known[name] for name in dict.fromkeys(names or known)]


def available_specs() -> list[str]:
    """The names that `load_spec` knows."""
    return sorted((path.stem for path in SHIPPED.glob("*.json")), key=lambda name: int(name.rsplit("-", 1)[1]))


def load_spec(name: str | PathLike[str]) -> ToolboxSpec:
    """Read the description of a toolbox.

    It is a JSON file like the `toolbox.json` of a toolbox folder, which can be given as well.

    Args:
        name: "rl-restore-6", "rl-restore-12", "rl-restore-18", or a file.

    Raises:
        ValueError: if there is no such description, or it is wrong; the message says where.
    """
    path = SHIPPED / f"{name}.json" if name in available_specs() else Path(name)
    if not path.is_file():
        known = ", ".join(map(repr, available_specs()))
        raise ValueError(f"toolbox={str(name)!r} is neither one of {known} nor a file")
    content = read_json(path)
    try:
        return ToolboxSpec(str(content["name"]), tuple(_tool_spec(entry) for entry in content["tools"]))
    except (KeyError, TypeError, ValueError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else error
        raise FormatError(f"{path}: {reason}") from error


def save_spec(spec: ToolboxSpec, path: str | PathLike[str]) -> None:
    """Write a description that `load_spec` reads."""
    tools = [asdict(tool) for tool in spec.tools]
    write_json(Path(path), {"format": FORMAT_VERSION, "name": spec.name, "tools": tools})


def _tool_spec(entry: Any) -> ToolSpec:
    if not isinstance(entry, dict):
        raise ValueError(f"{entry!r} is not the description of a tool")
    where = f"tool {entry.get('name')!r}"
    unknown = entry.keys() - ToolSpec.__dataclass_fields__.keys()
    if unknown:
        raise ValueError(f"{where}: {min(unknown)!r} means nothing here")
    missing = [key for key in ("name", "removes", "interval", "architecture") if key not in entry]
    if missing:
        raise ValueError(f"{where}: {missing[0]!r} is missing")
    arguments = entry.get("arguments", {})
    if not isinstance(arguments, dict):
        raise ValueError(f"{where}: arguments={arguments!r} are not names and numbers")
    try:
        low, high = map(float, entry["interval"])
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where}: interval={entry['interval']!r} is not two numbers") from error
    return ToolSpec(entry["name"], entry["removes"], (low, high), entry["architecture"], arguments)


def _import_distortion(reference: str, tool: str) -> type[Distortion]:
    """The distortion class that "package.module:Class" names."""
    module, _, name = reference.partition(":")
    known = ", ".join(map(repr, DISTORTIONS))
    if not name:
        raise ValueError(f"tool {tool!r}: removes={reference!r} is not one of {known} or 'package.module:Class'")
    try:
        kind = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"tool {tool!r}: removes={reference!r} cannot be imported ({error})") from error
    if not (isinstance(kind, type) and issubclass(kind, Distortion)):
        raise ValueError(
            f"tool {tool!r}: removes={reference!r} is not a class of restore_env.data.distortions.Distortion"
        )
    return kind

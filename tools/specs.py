"""Descriptions of tools to train: those of the paper's Table 1, and your own."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any, Final, get_args

import torch
from torch import nn

from restore_env import Tool, Toolbox
from restore_env.constants import Severity
from restore_env.data.distortions import (
    DefocusBlur,
    Distortion,
    DistortionModel,
    GaussianBlur,
    GaussianNoise,
    JPEGCompression,
    MixedDistortion,
    MotionBlur,
    OneOf,
    PoissonNoise,
    Resampling,
    SaltAndPepperNoise,
    WebPCompression,
    as_distortion,
)
from restore_env.toolbox.networks import ToolNetwork
from restore_env.toolbox.storage import build_network
from restore_env.toolbox.tool import parse_interval
from restore_env.utils.checks import check_name, check_text
from restore_env.utils.serialization import as_format_error, import_class, read_json

SHIPPED: Final = Path(__file__).parent / "toolboxes"
"""Folder of the shipped descriptions."""

DISTORTIONS: Final[dict[str, type[Distortion]]] = {
    "blur": GaussianBlur,
    "motion-blur": MotionBlur,
    "defocus-blur": DefocusBlur,
    "noise": GaussianNoise,
    "poisson-noise": PoissonNoise,
    "salt-and-pepper-noise": SaltAndPepperNoise,
    "resampling": Resampling,
    "jpeg": JPEGCompression,
    "webp": WebPCompression,
}
"""The distortions that tools can remove, by name, in the order in which they happen to a photo."""

SLIGHT: Final[tuple[Distortion, ...]] = (GaussianNoise(0, 5), JPEGCompression(80, 100))
"""The mildest level of noise and of JPEG."""


def names_class(removes: str) -> bool:
    """Return whether `removes` names a class as "package.module:Class"."""
    return ":" in removes


def distortion_of(name: str, removes: str, interval: tuple[float, float], trust: bool = False) -> Distortion:
    """Return the distortion that a tool removes.

    Args:
        name: name of the tool, for errors.
        removes: one of `DISTORTIONS`, such as "noise", or "package.module:Class" for a `Distortion` of your own.
        interval: the parameter's interval; either end may come first.
        trust: whether to import a class, which runs the code of its module.

    Raises:
        ValueError: if there is no such distortion, its parameter cannot lie in the interval, or a class is not trusted.

    Example:
        >>> distortion_of("jpeg-2", "jpeg", (60, 35))
        JPEGCompression(low=35, high=60)
    """
    kind = DISTORTIONS.get(removes)
    if kind is None:
        check_trust(name, removes, trust)
        kind = _import_distortion(removes, name)
    try:
        return kind(*sorted(interval))
    except (TypeError, ValueError) as error:
        raise ValueError(f"tool {name!r}: {error}") from error


def mixture_of(removes: str) -> DistortionModel | None:
    """Return the mixture that a tool is made for, None if `removes` names no mixture.

    Args:
        removes: names of severities joined by "+", as `as_distortion` takes them.

    Example:
        >>> mixture_of("mild+light").weights
        (1.0, 1.0)
    """
    return as_distortion(removes) if set(removes.split("+")) <= set(get_args(Severity)) else None


def own_distortion(
    name: str, removes: str, interval: tuple[float, float] | None, trust: bool = False
) -> DistortionModel:
    """Return the mixture that a tool is made for, or the `Distortion` that it removes, alone.

    Args:
        name: name of the tool, for errors.
        removes: as in `ToolSpec`.
        interval: the parameter's interval, None for a mixture.
        trust: whether to import a class, which runs the code of its module.

    Raises:
        ValueError: if there is no such distortion, the interval does not fit it, or a class is not trusted.

    Example:
        >>> own_distortion("noise-1", "noise", (0.0, 15.0))
        GaussianNoise(low=0.0, high=15.0)
    """
    mixture = mixture_of(removes)
    if mixture is None:
        if interval is None:
            raise ValueError(f"tool {name!r}: 'interval' is missing")
        return distortion_of(name, removes, interval, trust)
    if interval is not None:
        raise ValueError(f"tool {name!r}: interval={interval} means nothing for {removes!r}")
    return mixture


def training_distortion(own: DistortionModel) -> DistortionModel:
    """Return the training distortion that makes a tool robust to the middle states of a toolchain.

    A mixture stays as it is. The paper adds "slight Gaussian noise and JPEG" to every tool's training data (section
    3.3) and gives no numbers. If only the mildest level of each is added, a tool for noise fails on noise that was
    never compressed. A tool for blur then raises the noise that another tool left. So some images come without
    additions, and some with stronger ones.

    Args:
        own: what the tool is made for.
    """
    if not isinstance(own, Distortion):
        return own
    slight = [own, *SLIGHT]
    more = [own, GaussianNoise(0, 30), JPEGCompression(20, 100)]
    is_blur = isinstance(own, GaussianBlur | MotionBlur | DefocusBlur)
    other = [own, GaussianNoise(0, 30)] if is_blur else [GaussianBlur(), *slight]
    return OneOf([MixedDistortion(chain) for chain in (slight, more, [own], other)], weights=(5, 3, 1, 1))


@dataclass(frozen=True)
class ToolSpec:
    """One tool to train. A class that `removes` names is imported.

    Args:
        name: the tool's name.
        removes: one of `DISTORTIONS`, such as "noise"; "package.module:Class" for a `Distortion` of your own; or a
            mixture such as "everyday" or "moderate+severe" (`mixture_of`).
        interval: the parameter's interval, from the milder to the stronger end; None for a mixture.
        architecture: "three-layer", "eight-layer" or "two-scale".
        arguments: sizes of the network where they differ from the paper's.

    Raises:
        ValueError: if the distortion or the network cannot be made, or no file can have the name.

    Example:
        >>> spec = ToolSpec("noise-2", "noise", (12.5, 25), "three-layer")
        >>> spec.task(robust=False)
        MixedDistortion(distortions=(GaussianNoise(low=12.5, high=25),))
    """

    name: str
    removes: str
    interval: tuple[float, float] | None
    architecture: str
    arguments: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_name("tool", self.name)  # checkpoints have its name
        _ = self.own_distortion, self.outline()

    @property
    def own_distortion(self) -> DistortionModel:
        """The mixture that the tool is made for, or the `Distortion` that it removes, alone."""
        return own_distortion(self.name, self.removes, self.interval, trust=True)

    def task(self, robust: bool = True) -> DistortionModel:
        """Return the distortion that the tool is measured on: its own, then slight noise and JPEG if `robust`.

        A mixture is measured as it is.
        """
        own = self.own_distortion
        return MixedDistortion([own, *(SLIGHT if robust else ())]) if isinstance(own, Distortion) else own

    def distortion(self, robust: bool = True) -> DistortionModel:
        """Return the distortion that the tool is trained on."""
        return training_distortion(self.own_distortion) if robust else self.task(False)

    def network(self, seed: int) -> ToolNetwork:
        """Return a new network with weights drawn from `seed`; PyTorch's global generator stays as it was."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return build_network(self.architecture, self.arguments, f"tool {self.name!r}")

    def outline(self) -> Tool:
        """Return the tool with a network that has no weights and takes no memory."""
        with torch.device("meta"):
            return self.tool(build_network(self.architecture, self.arguments, f"tool {self.name!r}"))

    def tool(self, network: nn.Module) -> Tool:
        """Return the tool that a trained network makes."""
        return Tool.from_module(self.name, network, removes=self.removes, interval=self.interval)


@dataclass(frozen=True)
class ToolboxSpec:
    """The tools of a toolbox, in order.

    Args:
        name: the toolbox's name.
        tools: its tools.

    Raises:
        ValueError: if there are none, two have the same name, or one is called "stop".
    """

    name: str
    tools: tuple[ToolSpec, ...]

    def __post_init__(self) -> None:
        Toolbox([tool.outline() for tool in self.tools], check_name("name", self.name))  # checks the tools' names

    def chosen(self, names: Sequence[str]) -> list[ToolSpec]:
        """Return the tools of some names in the order of the names, or all tools if there are no names.

        Raises:
            ValueError: if no tool has one of the names.
        """
        known = {tool.name: tool for tool in self.tools}
        unknown = [name for name in names if name not in known]
        if unknown:
            raise ValueError(f"tools: {unknown[0]!r} is not one of {', '.join(known)}")
        return [known[name] for name in dict.fromkeys(names or known)]


def available_specs() -> list[str]:
    """Return the names that `load_spec` knows.

    Example:
        >>> available_specs()
        ['restore-12', 'rl-restore-6', 'rl-restore-12', 'rl-restore-18']
    """
    found = (path.stem.rsplit("-", 1) for path in SHIPPED.glob("*.json"))
    return [f"{family}-{size}" for family, size in sorted(found, key=lambda parts: (parts[0], int(parts[1])))]


def load_spec(name: str | PathLike[str], trust: bool = False) -> ToolboxSpec:
    """Read the description of a toolbox.

    It is a JSON file like the `toolbox.json` of a toolbox folder, which can be given as well.

    Args:
        name: one of `available_specs`, or a file.
        trust: whether to import the classes that the file names, which runs the code of their modules.

    Raises:
        ValueError: if there is no such description, it is wrong, or names a class and is not trusted; the message says
            where.

    Example:
        >>> load_spec("rl-restore-12").tools[0]
        ToolSpec(name='blur-1', removes='blur', interval=(0.0, 1.25), architecture='three-layer', arguments={})
    """
    path = SHIPPED / f"{name}.json" if name in available_specs() else Path(name)
    if not path.is_file():
        known = ", ".join(map(repr, available_specs()))
        raise ValueError(f"toolbox={str(name)!r} is neither one of {known} nor a file")
    content = read_json(path)
    with as_format_error(path):
        return ToolboxSpec(content["name"], tuple(_tool_spec(entry, trust) for entry in content["tools"]))


def describe_tool(tool: Tool) -> tuple[str, str, str]:
    """Return the first cells of a tool's row in a model card: its name, what it is made for, and its size.

    Example:
        >>> spec = ToolSpec("noise-2", "noise", (12.5, 25), "three-layer")
        >>> describe_tool(spec.tool(spec.network(seed=0)))
        ('noise-2', 'noise 12.5 to 25', '21,827 parameters')
    """
    made_for = f"{tool.removes} {tool.interval[0]:g} to {tool.interval[1]:g}" if tool.interval else tool.removes
    if tool.module is None:
        return tool.name, made_for, "unknown"
    return tool.name, made_for, f"{sum(parameter.numel() for parameter in tool.module.parameters()):,} parameters"


def check_trust(tool: str, removes: str, trust: bool) -> None:
    """Raise a `ValueError` if `removes` names a class that is not trusted."""
    if names_class(removes) and not trust:
        raise ValueError(
            f"tool {tool!r}: removes={removes!r} names a class, which is imported only if tools.train_toolbox is given "
            "--trust; importing it runs its code"
        )


def _tool_spec(entry: Any, trust: bool) -> ToolSpec:
    """Return the tool of an entry in a description, or raise a `ValueError` that says what is wrong."""
    if not isinstance(entry, dict):
        raise ValueError(f"{entry!r} is not the description of a tool")
    where, entry = f"tool {entry.get('name')!r}", {"arguments": {}, "interval": None, **entry}
    keys = ToolSpec.__dataclass_fields__.keys()
    for key in sorted(entry.keys() ^ keys):
        raise ValueError(f"{where}: {key!r} {'is missing' if key in keys else 'means nothing here'}")
    if not isinstance(entry["arguments"], dict):
        raise ValueError(f"{where}: arguments={entry['arguments']!r} are not names and numbers")
    check_trust(check_name("tool", entry["name"]), check_text(f"{where}: removes", entry["removes"]), trust)
    interval = entry["interval"]
    return ToolSpec(**entry | {"interval": None if interval is None else parse_interval(interval, where)})


def _import_distortion(reference: str, tool: str) -> type[Distortion]:
    """Return the distortion class that "package.module:Class" names."""
    if not names_class(reference):
        known = ", ".join(map(repr, DISTORTIONS))
        raise ValueError(f"tool {tool!r}: removes={reference!r} is not one of {known} or 'package.module:Class'")
    kind: type[Distortion] = import_class(f"tool {tool!r}: removes", reference, Distortion)
    return kind

"""Policy folders, and the policies that have a name."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn

from restore_env.constants import DEFAULT_POLICY
from restore_env.errors import FormatError
from restore_env.policies.base import Policy, Yardstick, check_actions_fit
from restore_env.policies.baselines import FixedToolchain, GreedyWithReference, Oracle, RandomPolicy
from restore_env.policies.ensemble import MeanQPolicy
from restore_env.policies.recurrent_q import RecurrentQNetwork, RecurrentQPolicy
from restore_env.toolbox import STOP, Toolbox
from restore_env.utils.serialization import (
    FORMAT_VERSION,
    PRETRAINED,
    load_weights,
    read_json,
    read_tensors,
    write_json,
    write_tensors,
)

DESCRIPTION: Final = "policy.json"
WEIGHTS: Final = "policy.safetensors"
FIXED: Final = "fixed:"

_NAMED: Final[Mapping[str, Callable[[Toolbox], Policy | Yardstick]]] = {
    STOP: lambda toolbox: FixedToolchain((), toolbox.action_names),
    "random": RandomPolicy,
    "greedy": lambda toolbox: GreedyWithReference(),
    "oracle": lambda toolbox: Oracle(),
}


def available_policies() -> list[str]:
    """The names that `load_policy` knows, besides "fixed:" and a list of tools."""
    return _shipped() + list(_NAMED)


def _shipped() -> list[str]:
    return sorted(path.parent.name for path in PRETRAINED.glob(f"*/{DESCRIPTION}"))


def load_policy(
    name: str | os.PathLike[str] | Policy | Yardstick = DEFAULT_POLICY,
    toolbox: Toolbox | None = None,
    device: str | torch.device = "cpu",
) -> Policy | Yardstick:
    """Load a policy by name or from its folder.

    Args:
        name: a shipped policy; "random", "stop", "greedy" or "oracle" (the last two need references);
            "fixed:noise-3,blur-2" for a toolchain; a policy folder; a `.zip` that SB3 saved, which can run code when it
            is loaded: name only files you trust; or a policy.
        toolbox: what it shall act on; needed unless `name` is a folder.
        device: where it computes.

    Raises:
        ValueError: if there is no such policy, or it was made for other actions than the toolbox has.
        FormatError: if the folder's files are damaged or do not fit each other.
    """
    policy = _find(name, toolbox)
    if toolbox is not None:
        check_actions_fit(policy, toolbox)
    return policy.to(device) if isinstance(policy, Policy) else policy


def save_policy(policy: Policy, folder: str | os.PathLike[str], toolbox_name: str) -> None:
    """Write a recurrent Q-policy, a mean of several or a fixed toolchain as a folder.

    Args:
        policy: what to save.
        folder: where to; it is made.
        toolbox_name: the toolbox it was trained with, for the record.

    Raises:
        ValueError: if it is of another kind.
    """
    description = {"format": FORMAT_VERSION, "name": policy.name, "toolbox": toolbox_name}
    description["actions"] = list(policy.action_names or ())
    if isinstance(policy, RecurrentQPolicy):
        description |= {"kind": "recurrent-q", "arguments": policy.network.arguments}
    elif isinstance(policy, MeanQPolicy):
        networks = [member.network.arguments for member in policy.members]
        description |= {"kind": "mean-q", "arguments": {"networks": networks, "least_gain": policy.least_gain}}
    elif isinstance(policy, FixedToolchain):
        description |= {"kind": "fixed-toolchain", "arguments": {"tools": list(policy.tools)}}
    else:
        raise ValueError(
            f"policy {policy.name!r} cannot be saved: only recurrent Q-policies, means of several and fixed toolchains "
            "can"
        )
    Path(folder).mkdir(parents=True, exist_ok=True)
    if isinstance(policy, RecurrentQPolicy | MeanQPolicy):
        weights = {key: value.detach().float().cpu().contiguous() for key, value in policy.network.state_dict().items()}
        write_tensors(Path(folder) / WEIGHTS, weights)
    write_json(Path(folder) / DESCRIPTION, description)


def _find(name: str | os.PathLike[str] | Policy | Yardstick, toolbox: Toolbox | None) -> Policy | Yardstick:
    if isinstance(name, Policy | Yardstick):
        return name
    if not isinstance(name, str | os.PathLike):
        raise TypeError(f"policy={name!r} is not a name, a folder or a policy")
    folder = PRETRAINED / name if name in _shipped() else Path(name)
    if (folder / DESCRIPTION).is_file():
        return _load_folder(folder)
    if folder.suffix == ".zip" and folder.is_file():
        return _load_sb3(folder)
    text = str(name)
    if (text in _NAMED or text.startswith(FIXED)) and toolbox is None:
        raise ValueError(f"policy={text!r} needs a toolbox to act on")
    if text in _NAMED and toolbox is not None:
        return _NAMED[text](toolbox)
    if text.startswith(FIXED) and toolbox is not None:
        return FixedToolchain([tool for tool in text.removeprefix(FIXED).split(",") if tool], toolbox.action_names)
    known = ", ".join(map(repr, available_policies()))
    raise ValueError(
        f"policy={text!r} is neither one of {known}, nor 'fixed:TOOL,TOOL', nor a folder with a {DESCRIPTION}, "
        "nor a .zip of Stable-Baselines3"
    )


def _load_sb3(file: Path) -> Policy:
    try:
        from restore_env.policies.sb3_policy import load_sb3_policy  # noqa: PLC0415  -- few need it, and it is slow
    except ImportError as error:
        raise ValueError(f"policy={str(file)!r} needs Stable-Baselines3: install restore-env[train]") from error
    return load_sb3_policy(file)


def _load_folder(folder: Path) -> Policy:
    path = folder / DESCRIPTION
    content = read_json(path)
    try:
        return _build(content, folder)
    except FormatError:
        raise
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise FormatError(f"{path}: {type(error).__name__}: {error}") from error


def _build(content: Mapping[str, Any], folder: Path) -> Policy:
    actions, name, arguments = tuple(content["actions"]), str(content["name"]), content["arguments"]
    if content["kind"] == "fixed-toolchain":
        return FixedToolchain(arguments["tools"], actions, name)
    if content["kind"] == "recurrent-q":
        network = RecurrentQNetwork(**arguments)
        load_weights(network, read_tensors(folder / WEIGHTS), str(folder / WEIGHTS))
        return RecurrentQPolicy(network, actions, name)
    if content["kind"] == "mean-q":
        networks = [RecurrentQNetwork(**each) for each in arguments["networks"]]
        load_weights(nn.ModuleList(networks), read_tensors(folder / WEIGHTS), str(folder / WEIGHTS))
        members = [RecurrentQPolicy(network, actions) for network in networks]
        return MeanQPolicy(members, name, arguments.get("least_gain", 0.0))
    raise FormatError(
        f"{folder / DESCRIPTION}: kind {content['kind']!r} is not 'recurrent-q', 'mean-q' or 'fixed-toolchain'"
    )

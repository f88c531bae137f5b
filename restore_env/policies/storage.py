"""Policy folders, and policies by name."""

import os
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn

from restore_env.constants import DEFAULT_POLICY, DEFAULT_TOOLBOX
from restore_env.policies.base import Policy, check_actions_fit
from restore_env.policies.baselines import FixedToolchain, GreedyWithReference, Oracle, RandomPolicy
from restore_env.policies.ensemble import EnsembleQPolicy
from restore_env.policies.q_policy import QPolicy
from restore_env.policies.recurrent_q import RecurrentQNetwork, RecurrentQPolicy
from restore_env.toolbox import STOP, Toolbox
from restore_env.toolbox.fingerprint import digest_of_toolbox
from restore_env.utils.checks import check_name, check_names, check_number, check_text, check_whole
from restore_env.utils.serialization import (
    PRETRAINED,
    as_format_error,
    load_weights,
    read_json,
    read_tensors,
    write_json,
    write_tensors,
)

DESCRIPTION: Final = "policy.json"
WEIGHTS: Final = "policy.safetensors"
FIXED: Final = "fixed:"
GAIN_SCALE: Final = "gain_scale"
"""The key of `QPolicy.gain_scale` in a description; it is 1 if there is none."""

_NAMED: Final[Mapping[str, Callable[[Toolbox], Policy]]] = {
    STOP: lambda toolbox: FixedToolchain((), toolbox.action_names),
    "random": RandomPolicy,
    "greedy": lambda toolbox: GreedyWithReference(),
    "oracle": lambda toolbox: Oracle(),
}


def available_policies() -> list[str]:
    """Return the names that `load_policy` accepts, besides "fixed:" with a list of tools.

    Example:
        >>> available_policies()
        ['best-fixed', 'best-single', 'drqn', 'drqn-any', 'stop', 'random', 'greedy', 'oracle']
    """
    return [*sorted({folder.name for folder in _shipped()}), *_NAMED]


def load_policy(
    name: str | os.PathLike[str] | Policy = DEFAULT_POLICY,
    toolbox: Toolbox | None = None,
    device: str | torch.device = "cpu",
    trust: bool = False,
) -> Policy:
    """Load a policy by name or from its folder or file.

    Args:
        name: a policy, or one of:

            - the name of a shipped policy, such as "drqn": the one that was trained for the toolbox;
            - "random", "stop", "greedy" or "oracle"; the last two need references;
            - "fixed:" and a toolchain, such as "fixed:noise-2,blur-1";
            - a policy folder;
            - a `.zip` file that SB3 saved, with `trust`.
        toolbox: the toolbox that the policy acts on. It is optional for shipped policies, folders and files.
            Without it, a shipped policy is the one for the default toolbox.
        device: device of the policy's networks.
        trust: whether to load a `.zip` file, which can run any code: trust only files whose origin you know.

    Returns:
        The policy.

    Raises:
        TypeError: if `name` is not a name, a path or a policy.
        ValueError: if there is no such policy, it was made for other actions than the toolbox has, or it is a `.zip`
            file that is not trusted.
        FormatError: if the folder's files are damaged or do not fit each other.

    Example:
        >>> from restore_env import load_toolbox
        >>> load_policy("fixed:median-3,bilateral", load_toolbox("classical")).tools
        ('median-3', 'bilateral')
    """
    policy = find_policy(name, toolbox, trust)
    if toolbox is not None:
        check_actions_fit(policy, toolbox)
        warn_of_other_tools(policy, toolbox)
    return policy.to(device)


def policy_files(folder: Path) -> list[str]:
    """Return the names of the files that a policy folder consists of, as its description tells; none is opened.

    Raises:
        FormatError: if the description is damaged.

    Example:
        >>> policy_files(PRETRAINED / "rl-restore-12" / "policies" / "best-fixed")
        ['policy.json']
    """
    path = folder / DESCRIPTION
    content = read_json(path)
    with as_format_error(path):
        return [DESCRIPTION] if content["kind"] == "fixed-toolchain" else [DESCRIPTION, WEIGHTS]


def save_policy(policy: Policy, folder: str | os.PathLike[str], toolbox: Toolbox | str) -> None:
    """Write a recurrent Q-policy, an ensemble of these or a fixed toolchain as a folder.

    Args:
        policy: the policy.
        folder: the folder to write; it is made if it does not exist.
        toolbox: the toolbox that the policy was trained with, or its name. With other tools of the same names,
            `load_policy` warns.

    Raises:
        ValueError: if the policy is of another kind, or it, a tool or the toolbox has a name that no file can have.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_policy(FixedToolchain(["denoise"], ["denoise", "stop"], "mine"), folder, "my-toolbox")
        ...     load_policy(folder).name
        'mine'
    """
    known = (
        (toolbox.name, digest_of_toolbox(toolbox)) if isinstance(toolbox, Toolbox) else (toolbox, policy.fingerprint)
    )
    content: dict[str, Any] = {"name": check_name("name", policy.name), "toolbox": check_name("toolbox", known[0])}
    content |= {"fingerprint": known[1]} if known[1] else {}
    content |= {GAIN_SCALE: policy.gain_scale} if isinstance(policy, QPolicy) and policy.gain_scale != 1 else {}
    content["actions"] = list(check_names("actions", policy.action_names or ()))
    if isinstance(policy, RecurrentQPolicy):
        content |= {"kind": "recurrent-q", "arguments": policy.network.arguments}
    elif isinstance(policy, EnsembleQPolicy):
        networks = [member.network.arguments for member in policy.members]
        content |= {"kind": "ensemble-q", "arguments": {"networks": networks, "stop_margin": policy.stop_margin}}
    elif isinstance(policy, FixedToolchain):
        content |= {"kind": "fixed-toolchain", "arguments": {"tools": list(policy.tools)}}
    else:
        raise ValueError(
            f"policy {policy.name!r} cannot be saved: only recurrent Q-policies, ensembles of them and fixed "
            "toolchains can"
        )
    Path(folder).mkdir(parents=True, exist_ok=True)
    if policy.network is not None:
        content["sha256"] = write_tensors(Path(folder) / WEIGHTS, policy.network.state_dict())
    write_json(Path(folder) / DESCRIPTION, content)


def find_policy(name: str | os.PathLike[str] | Policy, toolbox: Toolbox | None, trust: bool = False) -> Policy:
    """Return the policy that `name` stands for, as `load_policy` does, even if it was made for other actions.

    Example:
        >>> from restore_env import load_toolbox
        >>> find_policy("drqn", load_toolbox("classical")).action_names[:2]
        ('blur-1', 'blur-2')
    """
    if isinstance(name, Policy):
        return name
    if not isinstance(name, str | os.PathLike):
        raise TypeError(f"policy={name!r} is not a name, a folder or a policy")
    folder = _folder_of(name, toolbox)
    if (folder / DESCRIPTION).is_file():
        return _load_folder(folder)
    if folder.suffix == ".zip" and folder.is_file():
        if not trust:
            raise ValueError(
                f"policy={str(name)!r}: a file of SB3 can run any code when it is loaded; give trust=True (--trust) if "
                "you trust it"
            )
        return _load_sb3(folder)
    text = str(name)
    is_fixed = text.startswith(FIXED)
    if text not in _NAMED and not is_fixed:
        known = ", ".join(map(repr, available_policies()))
        raise ValueError(
            f"policy={text!r} is neither one of {known}, nor 'fixed:TOOL,TOOL', nor a folder with a {DESCRIPTION}, "
            "nor a .zip of Stable-Baselines3"
        )
    if toolbox is None:
        raise ValueError(f"policy={text!r} needs a toolbox to act on")
    if is_fixed:
        return FixedToolchain([tool for tool in text.removeprefix(FIXED).split(",") if tool], toolbox.action_names)
    return _NAMED[text](toolbox)


def _shipped() -> list[Path]:
    """Return the folders of the shipped policies, those for the default toolbox first."""
    found = sorted(path.parent for path in PRETRAINED.glob(f"*/policies/*/{DESCRIPTION}"))
    return sorted(found, key=lambda folder: folder.parts[-3] != DEFAULT_TOOLBOX)


def _folder_of(name: str | os.PathLike[str], toolbox: Toolbox | None) -> Path:
    """Return the folder of a shipped policy, else `name` as a path.

    A shipped policy is the one for the toolbox, else one for the same actions, else one for some of them, from which a
    training can start, else any, which is then refused.
    """
    folders = [folder for folder in _shipped() if folder.name == name]
    if not folders:
        return Path(name)
    if toolbox is None:
        return folders[0]
    folders.sort(key=lambda folder: folder.parts[-3] != toolbox.name)  # its own first
    known = {folder: read_json(folder / DESCRIPTION).get("actions", []) for folder in folders}
    same = [folder for folder in folders if known[folder] == list(toolbox.action_names)]
    fewer = [folder for folder in folders if set(known[folder]) <= set(toolbox.action_names)]
    return (same or fewer or folders)[0]


def warn_of_other_tools(policy: Policy, toolbox: Toolbox) -> None:
    """Warn if a policy was trained with other tools of the same names."""
    if policy.fingerprint is not None and policy.fingerprint != digest_of_toolbox(toolbox):
        warnings.warn(
            f"policy {policy.name!r} was trained with other tools of the same names than those of {toolbox.name!r}",
            stacklevel=3,
        )


def _load_sb3(file: Path) -> Policy:
    """Load a file of Stable-Baselines3, if that is installed."""
    try:
        from restore_env.policies.sb3_policy import load_sb3_policy  # noqa: PLC0415  -- few need it, and it is slow
    except ImportError as error:
        raise ValueError(f"policy={str(file)!r} needs Stable-Baselines3: install restore-env[train]") from error
    return load_sb3_policy(file)


def _load_folder(folder: Path) -> Policy:
    """Load a policy folder; an error names its file."""
    content = read_json(folder / DESCRIPTION)
    with as_format_error(folder / DESCRIPTION):
        policy = _build(content, folder)
        check_name("toolbox", content["toolbox"])
        fingerprint = content.get("fingerprint")
        fingerprint = None if fingerprint is None else check_text("fingerprint", fingerprint)
        if isinstance(policy, QPolicy):
            policy.gain_scale = check_number(GAIN_SCALE, content.get(GAIN_SCALE, 1.0), 0)
    for each in (policy, *getattr(policy, "members", ())):
        each.fingerprint = fingerprint
    return policy


def _build(content: Mapping[str, Any], folder: Path) -> Policy:
    """Make the policy that a folder describes; "mean-q" and "least_gain" are names of version 0.1."""
    actions, name, arguments = _actions(content["actions"]), check_name("name", content["name"]), content["arguments"]
    kind = content["kind"]
    if kind == "fixed-toolchain":
        if not isinstance(arguments["tools"], list):
            raise ValueError("tools are not a list")
        return FixedToolchain(arguments["tools"], actions, name)
    if kind not in ("recurrent-q", "ensemble-q", "mean-q"):
        raise ValueError(f"kind {kind!r} is not 'recurrent-q', 'ensemble-q' or 'fixed-toolchain'")
    tensors = read_tensors(folder / WEIGHTS, content.get("sha256"))
    if kind == "recurrent-q":
        network = _new_network(arguments)
        load_weights(network, tensors, str(folder / WEIGHTS))
        return RecurrentQPolicy(network, actions, name)
    networks = [_new_network(each) for each in arguments["networks"]]
    load_weights(nn.ModuleList(networks), tensors, str(folder / WEIGHTS))
    members = [RecurrentQPolicy(network, actions) for network in networks]
    return EnsembleQPolicy(members, name, float(arguments.get("stop_margin", arguments.get("least_gain", 0.0))))


def _actions(names: Any) -> tuple[str, ...]:
    """Return the names of the actions that a folder holds, if *stop* is the last of them."""
    actions = check_names("actions", names)
    if actions[-1:] != (STOP,):
        raise ValueError(f"the last of the actions is not {STOP!r}")
    return actions


def _new_network(arguments: Mapping[str, Any]) -> RecurrentQNetwork:
    """Make a network without weights from its saved arguments; "dueling" and "statistics" are names of version 0.1."""
    current = {"degradation_features" if name == "statistics" else name: value for name, value in arguments.items()}
    if current.pop("dueling", False):
        raise ValueError("dueling networks of version 0.1 cannot be loaded any more")
    for name in {"n_tools", "features", "hidden", "patch_size"} & current.keys():
        check_whole(name, current[name], 1)
    with torch.device("meta"):
        return RecurrentQNetwork(**current)

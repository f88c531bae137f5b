"""Start an agent for a larger toolbox from one that knows some of its tools."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from restore_env.policies import RecurrentQPolicy
from restore_env.policies.recurrent_q import RecurrentQNetwork
from restore_env.policies.storage import warn_of_other_tools
from restore_env.toolbox import Toolbox


def network_for(policy: RecurrentQPolicy, toolbox: Toolbox) -> RecurrentQNetwork:
    """Return a policy's network for a toolbox that has the policy's tools and others, in any order.

    Tools are matched by name. At first the network chooses as the policy does, until the policy applies a new tool.

    Args:
        policy: the policy.
        toolbox: the toolbox. If its actions are those of the policy, in this order, the policy's network is returned.

    Raises:
        ValueError: if the toolbox lacks a tool of the policy.

    Example:
        >>> from restore_env import Tool, load_policy, load_toolbox
        >>> new = Tool("darken", lambda images: images / 2)
        >>> tools = load_toolbox("rl-restore-12")
        >>> network_for(load_policy("drqn", tools), Toolbox([new, *tools])).n_tools
        13
    """
    names = policy.action_names
    missing = [name for name in names if name not in toolbox.action_names]
    if missing:
        raise ValueError(
            f"policy {policy.name!r} was made for tools that the toolbox {toolbox.name!r} does not have: "
            f"{', '.join(missing)}; it needs all of {', '.join(names[:-1])}"
        )
    if names == toolbox.action_names:
        return policy.network
    warn_of_other_tools(policy, Toolbox([toolbox[toolbox.index(name)] for name in names[:-1]], toolbox.name))
    return with_actions(policy.network, [toolbox.index(name) for name in names[:-1]], len(toolbox))


def with_actions(network: RecurrentQNetwork, places: Sequence[int], n_tools: int) -> RecurrentQNetwork:
    """Return a copy of a network that has more tools.

    The value of a new tool is at first the mean over the known actions. It is below that of the best, so a new tool is
    not chosen before more is learnt; but it is tried as often as others, so that more is learnt soon. When it is
    applied, it is remembered as the mean of the known tools is.

    Args:
        network: the network.
        places: the new number of each of its tools.
        n_tools: number of tools of the new network.
    """
    arguments: dict[str, Any] = network.arguments | {"n_tools": n_tools}
    with torch.device("meta"):
        grown = RecurrentQNetwork(**arguments)
    weights = {name: value.clone() for name, value in network.state_dict().items()}
    features = network.gates.in_features - network.n_tools - network.hidden
    encoded, actions, hidden = weights["gates.weight"].split([features, network.n_tools, network.hidden], dim=1)
    remembered = _spread(actions.T, actions.mean(1), places, n_tools)  # (4 * hidden, n) -> (n_tools, 4 * hidden)
    weights["gates.weight"] = torch.cat([encoded, remembered.T, hidden], dim=1)
    for name in filter(_is_of_head, list(weights)):
        rows = weights[name]
        weights[name] = torch.cat([_spread(rows[:-1], rows.mean(0), places, n_tools), rows[-1:]])
    grown.load_state_dict(weights, assign=True)
    return grown


def weights_of_tools(network: RecurrentQNetwork, tools: Sequence[int]) -> dict[str, Tensor]:
    """Return which weights concern some tools only: their values, their preferences, and how they are remembered.

    Returns:
        A bool tensor of its shape for each of the network's parameters.

    Example:
        >>> masks = weights_of_tools(RecurrentQNetwork(n_tools=3), [1])
        >>> masks["values.bias"].tolist(), int(masks["gates.weight"].sum())
        ([False, True, False, False], 200)
    """
    masks = {name: torch.zeros_like(value, dtype=torch.bool) for name, value in network.named_parameters()}
    first = network.gates.in_features - network.hidden - network.n_tools
    masks["gates.weight"][:, [first + tool for tool in tools]] = True
    for name in filter(_is_of_head, masks):
        masks[name][list(tools)] = True
    return masks


def _is_of_head(name: str) -> bool:
    """Return whether a parameter has a row for each action."""
    return name.startswith(("values.", "preferred."))


def _spread(rows: Tensor, other: Tensor, places: Sequence[int], n: int) -> Tensor:
    """Return n rows, those given in their places and `other` in the rest: (k, ...) -> (n, ...)."""
    spread = other.expand(n, *other.shape).clone()
    spread[list(places)] = rows
    return spread

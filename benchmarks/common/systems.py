"""The systems that benchmarks compare: a policy with the toolbox that it acts on."""

import re
from collections.abc import Iterable
from typing import NamedTuple

from restore_env import Evaluation, Pairs, Policy, Toolbox, evaluate, load_policy, load_toolbox


class System(NamedTuple):
    """A policy, the toolbox that it acts on, and the label that stands for both in the results."""

    label: str
    policy: Policy
    toolbox: Toolbox

    def evaluate(self, pairs: Pairs) -> Evaluation:
        """Restore pairs and return what was reached."""
        return evaluate(pairs, self.policy, self.toolbox)


def paths_in(texts: Iterable[str]) -> list[str]:
    """Return all that may be a path in texts like [LABEL=]POLICY[@TOOLBOX].

    Example:
        >>> paths_in(["mine=agents/mine@tools", "drqn"])
        ['mine', 'agents/mine', 'tools', 'drqn']
    """
    return [part for text in texts for part in re.split("[=@]", text)]


def load_system(text: str, toolbox: Toolbox, trust: bool = False) -> System:
    """Load what [LABEL=]POLICY[@TOOLBOX] names.

    Args:
        text: names or folders. A path with = or @ in it needs both LABEL= and @TOOLBOX.
        toolbox: what the policy acts on where the text names no toolbox.
        trust: whether to load a .zip of SB3, which can run any code.

    Raises:
        ValueError: if there is no such policy or toolbox.

    Example:
        >>> from restore_env import load_toolbox
        >>> system = load_system("mine=fixed:median-3@classical", load_toolbox("classical"))
        >>> (system.label, system.policy.name, system.toolbox.name)
        ('mine', 'fixed:median-3', 'classical')
    """
    label, given, rest = text.partition("=")
    name, at, other = (rest if given else text).rpartition("@")
    tools = load_toolbox(other) if at and other else toolbox
    policy = load_policy(name if at else other, tools, trust=trust)
    return System(label if given else policy.name, policy, tools)

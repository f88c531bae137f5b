"""Policies: the interface, baselines, the paper's recurrent network, ensembles, and policy folders."""

from warnings import warn

from restore_env.policies.base import Policy, play
from restore_env.policies.baselines import FixedToolchain, GreedyWithReference, Oracle, RandomPolicy
from restore_env.policies.ensemble import EnsembleQPolicy
from restore_env.policies.recurrent_q import RecurrentQNetwork, RecurrentQPolicy
from restore_env.policies.storage import available_policies, load_policy, save_policy

__all__ = [
    "EnsembleQPolicy",
    "FixedToolchain",
    "GreedyWithReference",
    "Oracle",
    "Policy",
    "RandomPolicy",
    "RecurrentQNetwork",
    "RecurrentQPolicy",
    "available_policies",
    "load_policy",
    "play",
    "save_policy",
]


def __getattr__(name: str) -> type[EnsembleQPolicy]:
    """Return a class by its name of version 0.1, with a warning."""
    if name != "MeanQPolicy":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    warn(
        "restore_env.policies.MeanQPolicy is deprecated and goes with version 0.3; use EnsembleQPolicy",
        DeprecationWarning,
        stacklevel=2,
    )
    return EnsembleQPolicy

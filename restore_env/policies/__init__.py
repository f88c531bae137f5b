"""Policies: the interface, baselines, the paper's recurrent network, ensembles, and policy folders."""

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

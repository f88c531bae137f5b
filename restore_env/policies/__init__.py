"""Policies: the contract, the baselines, the paper's recurrent network, and the folders they are kept in."""

from restore_env.policies.base import Policy, Yardstick, play
from restore_env.policies.baselines import FixedToolchain, GreedyWithReference, Oracle, RandomPolicy
from restore_env.policies.ensemble import MeanQPolicy
from restore_env.policies.recurrent_q import RecurrentQNetwork, RecurrentQPolicy
from restore_env.policies.storage import available_policies, load_policy, save_policy

__all__ = [
    "FixedToolchain",
    "GreedyWithReference",
    "MeanQPolicy",
    "Oracle",
    "Policy",
    "RandomPolicy",
    "RecurrentQNetwork",
    "RecurrentQPolicy",
    "Yardstick",
    "available_policies",
    "load_policy",
    "play",
    "save_policy",
]

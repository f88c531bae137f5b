"""Warnings while an agent learns to please a reward instead of restoring images."""

import sys
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any, Final

import torch

from restore_env.data.pairs import Pairs
from restore_env.restoration.batch import RestorationBatch
from restore_env.restoration.metrics import psnr
from restore_env.restoration.rewards import Reward, compute_reward
from restore_env.toolbox import Toolbox
from restore_env.training.logging import RunLogger
from restore_env.training.trainer import Status

BATCH: Final = 64
"""References that are valued at once."""

KEYS: Final = {"validation/gain", "validation/reward"}
"""Names of what a measurement is judged by."""

FALL: Final = 0.1
"""How far below its highest value the gain in PSNR, in dB, may fall while the reward is at its highest."""


class RewardGuard:
    """Passes measurements on to a log, and warns on standard error if they show that the reward is hacked.

    Args:
        reward: the reward that the agent learns from.
        pairs: the pairs that it is measured on.
        toolbox: the tools.
        device: where rewards are computed.
        log: receives the measurements; those that lack one of `KEYS` are not judged.
    """

    def __init__(self, reward: Reward, pairs: Pairs, toolbox: Toolbox, device: str, log: RunLogger) -> None:
        self.log, self.clean = log, reward_of_references(reward, pairs, toolbox, device)

    def report(self, status: Status) -> None:
        """Pass a measurement on to the log, and print a warning if there is one."""
        self.log.report(status)
        found = warning_of(self.log.entries, self.clean)
        if found:
            print(f"warning: {found}", file=sys.stderr, flush=True)


def reward_of_references(reward: Reward, pairs: Pairs, toolbox: Toolbox, device: str = "cpu") -> float:
    """Return the mean reward of one step from the distorted images to the references, without any cost.

    Args:
        reward: the reward.
        pairs: distorted and reference images of one size.
        toolbox: the tools.
        device: where it is computed.

    Example:
        >>> from restore_env import as_source, draw_pairs, load_toolbox
        >>> from restore_env.restoration.rewards import as_reward
        >>> pairs = draw_pairs(as_source("embedded", "moderate", 63), 2, seed=0)
        >>> round(reward_of_references(as_reward("final_mse"), pairs, load_toolbox("classical")), 4)
        0.006
    """
    rewards: list[float] = []
    for first in range(0, len(pairs), BATCH):
        some = pairs[first : first + BATCH]
        batch = RestorationBatch(toolbox, reward=reward)
        batch.start(*some.to_tensors(device), some.labels)
        assert batch.reference is not None
        values = psnr(batch.reference, batch.reference)
        # The previous action is stop, which costs nothing.
        step = batch.transition(batch.reference, values, torch.ones_like(batch.ended), batch.previous_action)
        rewards += compute_reward(reward, step).tolist()
    return fmean(rewards)


def warning_of(entries: Sequence[Mapping[str, Any]], clean: float) -> str:
    """Return what the last of a training's measurements tells of its reward, or "".

    Args:
        entries: measurements with `validation/gain`, in dB, and `validation/reward`, the latest last.
        clean: reward of the references.

    Example:
        >>> before = {"validation/gain": 2.0, "validation/reward": 1.0}
        >>> now = {"validation/gain": 1.5, "validation/reward": 1.2}
        >>> warning_of([before, now], clean=3.0)
        'the reward rises to 1.2 while the gain in PSNR falls from 2.00 to 1.50 dB'
        >>> warning_of([before, now], clean=1.1)
        'the reward of 1.2 is above that of the clean photos, 1.1'
    """
    # Trainings of earlier versions have measured no rewards.
    measured = [
        (entry["validation/gain"], entry["validation/reward"]) for entry in entries if len(KEYS & entry.keys()) > 1
    ]
    if not measured:
        return ""
    *before, (gain, reward) = measured
    if reward > clean:
        return f"the reward of {reward:.4g} is above that of the clean photos, {clean:.4g}"
    highest = max((one for one, _ in before), default=gain)
    if reward > max((other for _, other in before), default=reward) and gain < highest - FALL:
        return f"the reward rises to {reward:.4g} while the gain in PSNR falls from {highest:.2f} to {gain:.2f} dB"
    return ""

"""How policies decide for whole photos: region by region, or by a vote."""

from typing import Final, get_args

import torch
from torch import Tensor
from torch.nn.functional import pad

from restore_env.constants import Decide
from restore_env.policies.base import Policy, State
from restore_env.policies.q_policy import QPolicy
from restore_env.restoration.batch import Observation, RestorationBatch
from restore_env.restoration.regions import RegionBatch
from restore_env.restoration.rewards import Reward
from restore_env.toolbox import Toolbox
from restore_env.utils.checks import check_choice
from restore_env.utils.progress import Progress

GATE: Final = 0.3
"""A photo is left as it is if less is expected to be gained, in dB, mean over its regions. On some regions of a clean
photo a policy expects to gain something; on the whole photo that was at most 0.2 dB."""


def episodes_of(
    decide: Decide,
    policy: Policy,
    toolbox: Toolbox,
    max_steps: int,
    reward: str | Reward = "step_psnr",
    consistency: float = 0.0,
) -> tuple[RestorationBatch | RegionBatch, Policy]:
    """Return the batch in which photos are restored, and the policy that plays it.

    Args:
        decide: "regions" or "vote".
        policy: the policy; one that sees images of any size always decides for the whole photo.
        toolbox: the tools.
        max_steps: largest number of tools applied.
        reward: a name of `restore_env.restoration.rewards.REWARDS`, or a function.
        consistency: as `RegionPolicy` takes it.

    Raises:
        ValueError: if `decide` is neither.
    """
    check_choice("decide", decide, get_args(Decide))
    if decide == "vote" or policy.patch_size is None:
        return RestorationBatch(toolbox, max_steps=max_steps, reward=reward), policy
    batch = RegionBatch(toolbox, policy.patch_size, max_steps=max_steps, reward=reward)
    return batch, RegionPolicy(policy, GATE, consistency) if isinstance(policy, QPolicy) else policy


class RegionPolicy(Policy):
    """Decides for the regions of photos by the Q-values of a policy.

    Args:
        policy: the policy that values actions.
        gate: photos of several regions are left as they are if fewer dB are expected to be gained, mean over the
            regions.
        consistency: how much the Q-values of a region's neighbours count, beside its own: 0 not at all, 1 as much.

    Attributes:
        gains: float32 (photos, rows, columns), what the policy expects to gain on each region in dB; None before the
            first decision.
    """

    def __init__(self, policy: QPolicy, gate: float = 0.0, consistency: float = 0.0) -> None:
        self.policy, self.gate, self.consistency = policy, gate, consistency
        self.name, self.patch_size, self.action_names = policy.name, policy.patch_size, policy.action_names
        self.gains: Tensor | None = None

    @property
    def expected_gain(self) -> Tensor | None:
        """Return what the policy expects to gain on each photo in dB, mean over its regions, float32 (photos,)."""
        return None if self.gains is None else self.gains.mean((1, 2))

    def start(self, batch: RestorationBatch, progress: Progress | None = None) -> State:
        """Return the state at the start of the regions of a batch of photos."""
        assert isinstance(batch, RegionBatch)
        self._shape, self.gains = batch.shape, None
        return self.policy.start(batch, progress)

    def act(self, observation: Observation, state: State) -> tuple[Tensor, State]:
        """Choose an action for each region; see `Policy.act`."""
        values, state = self.policy.q_values(observation, state)
        if self.consistency:
            values = self._smooth(values)
        actions, stop = self.policy.choose(values), values.shape[1] - 1
        photos, rows, columns = self._shape
        several = rows * columns > 1  # a single patch is decided as in the environment
        if several:
            actions = torch.where(_is_flat(observation.image), stop, actions)
        if self.gains is None:
            gains = values.gather(1, actions.unsqueeze(1)).squeeze(1) - values[:, -1]  # (n, actions) -> (n, 1) -> (n,)
            self.gains = self.policy.gain_scale * gains.view(self._shape)
            if several:
                closed = self.gains.mean((1, 2)) < self.gate
                actions = torch.where(closed.repeat_interleave(rows * columns), stop, actions)
        return actions, state

    def _smooth(self, values: Tensor) -> Tensor:
        """Return the weighted mean of each region's Q-values and those of its four neighbours."""
        grid = values.view(*self._shape, -1).permute(0, 3, 1, 2)  # (n, actions) -> (photos, actions, rows, columns)
        padded = pad(grid, (1, 1, 1, 1), mode="replicate")
        around = padded[..., :-2, 1:-1] + padded[..., 2:, 1:-1] + padded[..., 1:-1, :-2] + padded[..., 1:-1, 2:]
        mixed = (grid + self.consistency * around / 4) / (1 + self.consistency)
        return mixed.permute(0, 2, 3, 1).flatten(0, 2)  # (photos, actions, rows, columns) -> (n, actions)


def _is_flat(images: Tensor) -> Tensor:
    """Return which patches show one colour, within a level: tools have nothing to restore there, and would tint it.

    Args:
        images: uint8 (n, h, w, 3).
    """
    pixels = images.flatten(1, 2)  # (n, h, w, 3) -> (n, h * w, 3)
    return (pixels.amax(1) - pixels.amin(1) <= 1).all(1)

"""Rewards of a step (section 4.3 and Table 6 of the paper)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import torch
from torch import Tensor

from restore_env.data.pairs import Label
from restore_env.restoration.metrics import ssim
from restore_env.restoration.niqe import BLOCK, niqe
from restore_env.toolbox import Toolbox
from restore_env.utils.checks import check_choice


@dataclass(frozen=True)
class Transition:
    """One step of n episodes, the argument of a reward function.

    Args:
        before: float (n, 3, h, w), images before the step.
        after: float (n, 3, h, w), images after the step, not clipped.
        reference: float (n, 3, h, w), reference images.
        psnr_initial: float64 (n,), PSNR at the start of the episode in dB.
        psnr_before: float64 (n,), PSNR of `before` in dB.
        psnr_after: float64 (n,), PSNR of `after` in dB.
        ended: bool (n,), whether the episode ended with this step.
        action: int64 (n,), the actions.
        step: int64 (n,), number of steps taken before.
        label: n labels, what each image shows; None where that is unknown.
        toolbox: the tools, in the order of their actions.

    Example:
        >>> import restore_env
        >>> def gain_minus_cost(step: restore_env.Transition) -> Tensor:
        ...     return step.psnr_after - step.psnr_before - 0.1
        >>> env = restore_env.ImageRestoreEnv(toolbox="classical", reward=gain_minus_cost)
        >>> _ = env.reset(seed=0)
        >>> round(env.step(env.toolbox.stop)[1], 6)
        -0.1
    """

    before: Tensor
    after: Tensor
    reference: Tensor
    psnr_initial: Tensor
    psnr_before: Tensor
    psnr_after: Tensor
    ended: Tensor
    action: Tensor
    step: Tensor
    label: tuple[Label | None, ...]
    toolbox: Toolbox

    @property
    def cost(self) -> Tensor:
        """The tools' multiplications on a patch of 63x63, float64 (n,) in 1e9; 0 for *stop*."""
        return self.toolbox.costs.to(self.action.device)[self.action]


Reward = Callable[[Transition], Any]
"""A function that takes a `Transition` and returns n finite floats, or one for all episodes.

It runs without gradients. Rows of ended episodes are ignored.
"""


def step_psnr(step: Transition) -> Tensor:
    """Return the increase of the PSNR in the step, in dB."""
    return step.psnr_after - step.psnr_before


def step_ssim(step: Transition) -> Tensor:
    """Return the increase of the SSIM in the step."""
    return ssim(step.after, step.reference) - ssim(step.before, step.reference)


def final_psnr(step: Transition) -> Tensor:
    """Return the increase of the PSNR over the episode in dB at its end; 0 before."""
    return torch.where(step.ended, step.psnr_after - step.psnr_initial, 0.0)


def final_mse(step: Transition) -> Tensor:
    """Return the decrease of the mean squared error (peak value 1) over the episode at its end; 0 before."""
    error_initial, error_after = (10 ** (-value / 10) for value in (step.psnr_initial, step.psnr_after))
    return torch.where(step.ended, error_initial - error_after, 0.0)


def step_niqe(step: Transition) -> Tensor:
    """Return the decrease of the NIQE in the step, which needs no reference, but images of at least 96 pixels."""
    return niqe(step.before) - niqe(step.after)


def cost(step: Transition) -> Tensor:
    """Return `Transition.cost`, the tools' multiplications; its weight in `Weighted` is negative."""
    return step.cost


def tools(step: Transition) -> Tensor:
    """Return 1 for a tool and 0 for *stop*; its weight in `Weighted` is negative."""
    return (step.action != step.toolbox.stop).double()


REWARDS: Final[Mapping[str, Reward]] = {
    "step_psnr": step_psnr,
    "step_ssim": step_ssim,
    "final_psnr": final_psnr,
    "final_mse": final_mse,
    "step_niqe": step_niqe,
    "cost": cost,
    "tools": tools,
}


def as_reward(reward: str | Reward) -> Reward:
    """Return the reward function that the argument `reward` of an environment stands for.

    Args:
        reward: a name of `REWARDS`, or a function.

    Raises:
        ValueError: if the name is unknown.
        TypeError: if `reward` is neither a name nor a function.

    Example:
        >>> as_reward("step_psnr").__name__
        'step_psnr'
    """
    if isinstance(reward, str):
        check_choice("reward", reward, REWARDS)
        return REWARDS[reward]
    if not callable(reward):
        raise TypeError(f"reward={reward!r} is neither one of {', '.join(map(repr, REWARDS))} nor a function")
    return reward


def check_size(reward: Reward, patch_size: int) -> None:
    """Raise a `ValueError` if patches of `patch_size` pixels are too small for a reward.

    Example:
        >>> check_size(as_reward("step_niqe"), 63)
        Traceback (most recent call last):
            ...
        ValueError: patch_size=63; the reward step_niqe needs at least 96
    """
    if isinstance(reward, Weighted):
        for name in reward.weights:
            check_size(as_reward(name), patch_size)
    if reward is step_niqe and patch_size < BLOCK:
        raise ValueError(f"patch_size={patch_size}; the reward step_niqe needs at least {BLOCK}")


class Weighted:
    """A reward that adds up others, each times a weight.

    Args:
        weights: the weight of each reward, by its name in `REWARDS`.

    Raises:
        ValueError: if a name is unknown.

    Example:
        >>> import restore_env
        >>> reward = Weighted({"step_psnr": 1.0, "cost": -0.5})  # a tool of 0.2e9 multiplications costs 0.1 dB
        >>> env = restore_env.ImageRestoreEnv(reward=reward, toolbox="rl-restore-12")
        >>> _, before = env.reset(seed=0)
        >>> *_, paid, _, _, after = env.step(env.toolbox.index("noise-4"))
        >>> round(float(after["psnr"] - before["psnr"]) - paid, 2)
        0.1
    """

    def __init__(self, weights: Mapping[str, float]) -> None:
        self.weights = dict(weights)
        self._terms = [(as_reward(name), float(weight)) for name, weight in self.weights.items()]

    def __call__(self, step: Transition) -> Tensor:
        """Return the weighted sum, float64 (n,)."""
        return torch.stack([weight * term(step) for term, weight in self._terms]).sum(0)

    def __repr__(self) -> str:
        return f"Weighted({self.weights})"


def compute_reward(reward: Reward, step: Transition) -> Tensor:
    """Call a reward function without gradients and check the result.

    A function of the user gets copies, so that it cannot change the episodes.

    Args:
        reward: the function.
        step: a step of n episodes.

    Returns:
        The rewards, float64 (n,).

    Raises:
        RuntimeError: if the function raises an error.
        TypeError: if it does not return numbers.
        ValueError: if it returns neither n finite numbers nor one.
    """
    name = getattr(reward, "__name__", repr(reward))
    ours = type(reward) is Weighted or any(reward is known for known in REWARDS.values())
    try:
        with torch.no_grad():
            value = reward(step if ours else _copied(step))
    except Exception as error:  # whatever a user's function raises
        raise RuntimeError(f"reward={name} raised {type(error).__name__}: {error}") from error
    try:
        rewards = torch.as_tensor(value).detach().to(step.psnr_after)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(f"reward={name} returned {type(value).__name__}; a tensor of numbers is needed") from error
    if rewards.ndim == 0:
        rewards = rewards.expand_as(step.psnr_after)  # () -> (n,)
    if rewards.shape != step.psnr_after.shape:
        raise ValueError(
            f"reward={name} returned the shape {tuple(rewards.shape)}; {tuple(step.ended.shape)} is needed"
        )
    if not torch.isfinite(rewards).all():
        raise ValueError(f"reward={name} returned NaN or infinity")
    return rewards


def _copied(step: Transition) -> Transition:
    """Return a step with tensors of its own."""
    copies: dict[str, Any] = {key: value.clone() for key, value in vars(step).items() if isinstance(value, Tensor)}
    return replace(step, **copies)

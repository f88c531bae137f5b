"""What a step is worth (paper, section 4.3 and Table 6)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from restore_env.restoration.metrics import ssim
from restore_env.utils.checks import check_choice


@dataclass(frozen=True)
class Transition:
    """One step of n episodes, as a reward sees it.

    Args:
        before: float (n, 3, h, w), the images that the tools were applied to.
        after: the images that came out, of the same shape; not clipped.
        reference: what they should be.
        psnr_initial: float64 (n,), PSNR in dB at the start of the episode.
        psnr_before: PSNR of `before`.
        psnr_after: PSNR of `after`.
        ended: bool (n,), whether the episode ended with this step.
    """

    before: Tensor
    after: Tensor
    reference: Tensor
    psnr_initial: Tensor
    psnr_before: Tensor
    psnr_after: Tensor
    ended: Tensor


Reward = Callable[[Transition], Tensor]
"""A reward takes a `Transition` and returns n finite floats. Rows of episodes that had ended before are ignored."""


def step_psnr(step: Transition) -> Tensor:
    """How much the PSNR rose, in dB."""
    return step.psnr_after - step.psnr_before


def step_ssim(step: Transition) -> Tensor:
    """How much the SSIM rose."""
    return ssim(step.after, step.reference) - ssim(step.before, step.reference)


def final_psnr(step: Transition) -> Tensor:
    """At the end of the episode, how much the PSNR rose over all of it, in dB; else 0."""
    return torch.where(step.ended, step.psnr_after - step.psnr_initial, 0.0)


def final_mse(step: Transition) -> Tensor:
    """At the end of the episode, how much the mean squared error fell over all of it (peak value 1); else 0."""
    error_initial, error_after = (10 ** (-value / 10) for value in (step.psnr_initial, step.psnr_after))
    return torch.where(step.ended, error_initial - error_after, 0.0)


REWARDS: Final[Mapping[str, Reward]] = {
    "step_psnr": step_psnr,
    "step_ssim": step_ssim,
    "final_psnr": final_psnr,
    "final_mse": final_mse,
}


def as_reward(reward: str | Reward) -> Reward:
    """Return the function that an environment's `reward` argument stands for.

    Raises:
        ValueError: if it is a name that is not known.
        TypeError: if it is neither a name nor a function.
    """
    if isinstance(reward, str):
        check_choice("reward", reward, REWARDS)
        return REWARDS[reward]
    if not callable(reward):
        raise TypeError(f"reward={reward!r} is neither one of {', '.join(map(repr, REWARDS))} nor a function")
    return reward


def pay(reward: Reward, step: Transition) -> Tensor:
    """Call a reward and check what it returns: float64 (n,).

    Raises:
        TypeError: if what it returned are no numbers.
        ValueError: if it did not return n finite numbers.
    """
    name = getattr(reward, "__name__", repr(reward))
    value = reward(step)
    try:
        paid = torch.as_tensor(value).to(step.psnr_after)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(f"reward={name} returned {type(value).__name__}; a tensor of numbers is needed") from error
    if paid.shape != step.psnr_after.shape:
        raise ValueError(f"reward={name} returned the shape {tuple(paid.shape)}; {tuple(step.ended.shape)} is needed")
    if not torch.isfinite(paid).all():
        raise ValueError(f"reward={name} returned NaN or infinity")
    return paid

"""Restoring a photo of any size, without a reference."""

from copy import copy
from math import nan
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from restore_env.constants import DEFAULT_TOOLBOX, MAX_STEPS, PATCH_SIZE, RESTORING_POLICY, Decide
from restore_env.data.image_io import AnyImage, check_image
from restore_env.policies import Policy, load_policy, play
from restore_env.policies.q_policy import QPolicy
from restore_env.policies.regions import RegionPolicy, episodes_of
from restore_env.restoration.regions import RegionBatch
from restore_env.toolbox import Toolbox, load_toolbox
from restore_env.utils.checks import check_number

ROWS: Final = 256
"""Rows of a photo that are converted at once."""


class Restored(NamedTuple):
    """A restored photo and the steps that led to it.

    Attributes:
        image: the photo, with the shape and dtype of the input.
        steps: for each step a dictionary with `step` (from 1), `action` (the most frequent one), and `votes` (the
            number of regions, or patches, for each action).
        choices: int64 (steps, rows, columns), the action of each region at each step; one row and column if patches
            voted.
        expected_gain: what the policy expected to gain in dB, mean over the regions; NaN if it knows no Q-values.
        images: the photo after each step; empty unless `record`.

    Example:
        >>> photo = np.full((80, 100, 3), 128, np.uint8)
        >>> restored = restore(photo, "fixed:median-3", "classical", max_steps=1)
        >>> restored.steps, restored.choices.tolist()
        ([{'step': 1, 'action': 'median-3', 'votes': {'median-3': 1}}], [[[0]]])
    """

    image: AnyImage
    steps: list[dict[str, Any]]
    choices: NDArray[np.int64]
    expected_gain: float
    images: list[AnyImage]


def restore(
    image: AnyImage,
    policy: Any = RESTORING_POLICY,
    toolbox: Any = DEFAULT_TOOLBOX,
    *,
    decide: Decide = "regions",
    max_steps: int = MAX_STEPS,
    strength: float = 1.0,
    stop_margin: float | None = None,
    consistency: float = 0.0,
    record: bool = False,
    device: str = "cpu",
) -> Restored:
    """Restore a photo.

    Each region of about a patch's size gets the tools that the policy chooses for it. Where neighbours get different
    ones, the results pass into each other. A photo on which little is expected to be gained is left as it is. With
    `decide="vote"` all patches vote, and the winning tool is applied to the whole photo, as in the authors' program. A
    policy that sees whole photos also decides for the whole photo. A photo that is smaller than a patch is extended by
    reflection first.

    Args:
        image: uint8 or uint16; (h, w) grey, (h, w, 1) grey, (h, w, 2) grey and alpha, (h, w, 3) RGB, or (h, w, 4) RGB
            and alpha. Alpha does not change.
        policy: a name, a folder or a policy that needs no reference.
        toolbox: a name, a folder or a toolbox.
        decide: "regions" or "vote".
        max_steps: largest number of tools applied.
        strength: how much of the change is made, 0 to 1.
        stop_margin: a region is left as it is unless a tool promises this much more than *stop*, in dB; None takes the
            policy's own margin.
        consistency: how much the Q-values of a region's neighbours count, beside its own: 0 not at all, 1 as much.
        record: whether the result holds the photo after each step.
        device: device of tools and policy, "cpu" or "cuda".

    Returns:
        The restored photo and the steps.

    Raises:
        TypeError, ValueError: if an argument is none of these.
        ToolError: if a tool fails.

    Example:
        >>> photo = np.full((80, 100, 3), 128, np.uint8)
        >>> restore(photo, "stop", "classical").image.shape
        (80, 100, 3)
    """
    check_image(image, fewest_channels=1)
    check_number("strength", strength, 0, 1)
    check_number("consistency", consistency, 0)
    tools: Toolbox = load_toolbox(toolbox, device)
    chooser = with_margin(check_policy(load_policy(policy, tools, device)), stop_margin)
    colour = _to_rgb(image)
    height, width = colour.shape[:2]
    batch, player = episodes_of(decide, chooser, tools, max_steps, consistency=consistency)
    batch.start(_to_tensor(_extend(colour, chooser.patch_size or PATCH_SIZE)).to(device))
    shape = batch.shape[1:] if isinstance(batch, RegionBatch) else (1, 1)
    steps: list[dict[str, Any]] = []
    choices: list[NDArray[np.int64]] = []
    images: list[AnyImage] = []

    def as_photo() -> AnyImage:
        restored = batch.images[0, :, :height, :width].permute(1, 2, 0).cpu().numpy()  # (3, h, w) -> (h, w, 3)
        return blend(image, _like(restored, image), strength)

    def note(actions: Tensor, votes: Tensor) -> None:
        if record and steps:
            images.append(as_photo())  # after the step before
        names, counted = tools.action_names, votes.sum(0)  # (n, actions) -> (actions,)
        winner = int(actions[0]) if len(actions) == 1 else int(counted.argmax())
        counts = {name: count for name, count in zip(names, counted.tolist(), strict=True) if count}
        steps.append({"step": len(steps) + 1, "action": names[winner], "votes": counts})
        choices.append(actions.view(shape).cpu().numpy())

    play(player, batch, note)
    last = as_photo()
    gain = player.expected_gain if isinstance(player, RegionPolicy) else None
    expected = nan if gain is None else float(gain[0])
    return Restored(last, steps, np.stack(choices), expected, [*images, last] if record else [])


def blend(before: AnyImage, after: AnyImage, strength: float) -> AnyImage:
    """Return a photo of which only a part of the change is made.

    Args:
        before: the photo, uint8 or uint16, (h, w) or (h, w, channels).
        after: the changed photo, of the same shape and dtype.
        strength: how much of the change is made, 0 to 1.

    Returns:
        A photo of the same shape and dtype; `after` itself if the strength is 1.

    Raises:
        ValueError: if `strength` is no number from 0 to 1.

    Example:
        >>> blend(np.array([[10, 20]], np.uint8), np.array([[20, 0]], np.uint8), 0.3).tolist()
        [[13, 14]]
    """
    check_number("strength", strength, 0, 1)
    if strength == 1:
        return after
    result = before.copy()
    for first in range(0, len(before), ROWS):  # a few rows at once: a photo may be large
        rows = slice(first, first + ROWS)
        start = before[rows].astype(np.float32)
        result[rows] = np.rint(start + np.float32(strength) * (after[rows] - start))
    return result


def check_policy(policy: Policy) -> Policy:
    """Return `policy`, or raise a `ValueError` if it needs a reference."""
    if policy.needs_reference:
        raise ValueError(f"policy={policy.name!r} needs a reference; a photo that is to be restored has none")
    return policy


def with_margin(policy: Policy, stop_margin: float | None) -> Policy:
    """Return a policy with another margin; itself if the margin is None.

    Raises:
        ValueError: if the margin is no number of at least 0, or the policy has no Q-values.
    """
    if stop_margin is None:
        return policy
    check_number("stop_margin", stop_margin, 0)
    if not isinstance(policy, QPolicy):
        raise ValueError(f"stop_margin={stop_margin}: policy {policy.name!r} has no Q-values to compare")
    changed = copy(policy)
    changed.stop_margin = stop_margin
    return changed


def _to_rgb(image: AnyImage) -> AnyImage:
    """Return the colour of a photo as three channels."""
    if image.ndim == 2:
        return np.repeat(image[..., None], 3, axis=2)  # (h, w) -> (h, w, 3)
    return image[..., :3] if image.shape[2] > 2 else np.repeat(image[..., :1], 3, axis=2)


def _extend(image: AnyImage, side: int) -> AnyImage:
    """Extend an image below and to the right by reflection until it is at least as large as a patch."""
    missing = [max(0, side - length) for length in image.shape[:2]]
    return np.pad(image, ((0, missing[0]), (0, missing[1]), (0, 0)), mode="symmetric")


def _to_tensor(image: AnyImage) -> Tensor:
    """Convert a photo: uint8 or uint16 (h, w, 3) -> float32 (1, 3, h, w) in [0, 1]."""
    floats = np.divide(image, np.iinfo(image.dtype).max, dtype=np.float32)
    return torch.from_numpy(floats).permute(2, 0, 1).unsqueeze(0)  # (h, w, 3) -> (3, h, w) -> (1, 3, h, w)


def _like(restored: NDArray[np.float32], image: AnyImage) -> AnyImage:
    """Convert restored colours, float32 (h, w, 3), to the dtype and channels of the photo, and add its alpha."""
    peak = np.iinfo(image.dtype).max
    grey = image.ndim == 2 or image.shape[2] < 3
    result = image.copy()
    for first in range(0, len(image), ROWS):  # a few rows at once: a photo may be large
        colour = restored[first : first + ROWS]
        colour = colour.mean(axis=2, keepdims=True) if grey else colour
        rounded = np.rint(np.clip(colour, 0, 1) * peak)
        rows = result[first : first + ROWS]
        if image.ndim == 2:
            rows[...] = rounded[..., 0]
        else:
            rows[..., : rounded.shape[2]] = rounded
    return result

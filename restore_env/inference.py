"""Restoring a photo of any size, without a reference."""

from collections.abc import Callable, Sequence
from copy import copy
from functools import partial
from math import inf, nan
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from restore_env.constants import DEFAULT_TOOLBOX, MAX_STEPS, PATCH_SIZE, RESTORING_POLICY, Decide
from restore_env.data.image_io import AnyImage, check_image
from restore_env.policies import Policy, load_policy, play
from restore_env.policies.baselines import FixedToolchain
from restore_env.policies.q_policy import QPolicy
from restore_env.policies.regions import RegionPolicy, episodes_of
from restore_env.restoration.batch import RestorationBatch
from restore_env.restoration.blocks import BLOCK_PIXELS, Block, blocks_of
from restore_env.restoration.canvas import ROWS, Canvas
from restore_env.restoration.regions import RegionBatch, axis_of
from restore_env.toolbox import Toolbox, load_toolbox
from restore_env.utils.checks import check_number
from restore_env.utils.progress import Progress


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
    progress: Progress | None = None,
    watch: Callable[[AnyImage], None] | None = None,
) -> Restored:
    """Restore a photo.

    Each region of about a patch's size gets the tools that the policy chooses for it. Where neighbours get different
    ones, the results pass into each other. A photo on which little is expected to be gained is left as it is. With
    `decide="vote"` all patches vote, and the winning tool is applied to the whole photo, as in the authors' program. A
    policy that sees whole photos also decides for the whole photo.

    A photo that is smaller than a patch is extended by reflection first. A large photo is restored in blocks, so that
    memory beside that of the photo itself stays below 200 MB. It is restored at once if one toolchain is decided for,
    or the toolbox has functions, which may have to see all of it.

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
        progress: called with the share of the photo that is done.
        watch: called after each step of each block but its last, with a copy of the photo as it stands.

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
    batch, player = episodes_of(decide, chooser, tools, max_steps, consistency=consistency)
    options: dict[str, Any] = {"strength": strength, "record": record, "device": device}
    return restore_in(batch, player, image, progress=progress, watch=watch, **options)


def restore_in(
    batch: RestorationBatch,
    player: Policy,
    image: AnyImage,
    *,
    strength: float = 1.0,
    record: bool = False,
    device: str = "cpu",
    progress: Progress | None = None,
    watch: Callable[[AnyImage], None] | None = None,
) -> Restored:
    """Restore a photo in a batch, block after block; see `restore`.

    Args:
        batch: the batch.
        player: the policy that plays it.
        image: the photo.
        strength: how much of the change is made, 0 to 1.
        record: whether the result holds the photo after each step.
        device: the device of the tools and the policy.
        progress: called with the share of the photo that is done.
        watch: called after each step of each block but its last, with a copy of the photo as it stands.
    """
    canvas, (blocks, shape) = Canvas(image, record), _blocks(image, batch, player)
    log, expected = _Log(batch.toolbox.action_names, shape), nan
    if isinstance(player, RegionPolicy) and len(blocks) > 1:
        expected = _look(canvas, blocks, batch, player, device)
        # The gate is one for the whole photo, and behind it nothing is looked at again
        names, closed = batch.toolbox.action_names, expected < player.gate
        player = FixedToolchain((), names) if closed else RegionPolicy(player.policy, -inf, player.consistency)
    for number, block in enumerate(blocks):
        _start(batch, canvas.read(block).to(device), block)
        show = None if watch is None else partial(_show, watch, canvas, block, strength)
        canvas.write(block, _play(batch, player, block, log, record, show))
        if progress is not None:
            progress((number + 1) / len(blocks))
    if len(blocks) == 1 and isinstance(player, RegionPolicy) and player.expected_gain is not None:
        expected = float(player.expected_gain[0])
    images = [blend(image, each, strength) for each in canvas.images]
    return Restored(images[-1], log.steps, np.stack(log.choices), expected, images if record else [])


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


class _Log:
    """The actions of the regions of a photo, block after block.

    Args:
        names: names of the actions, *stop* last.
        shape: rows and columns of regions of the photo.

    Attributes:
        choices: for each step int64 (rows, columns), the actions; *stop* where nothing happens any more.
        votes: for each step int64 (actions,), how many regions or patches chose each.
    """

    def __init__(self, names: Sequence[str], shape: tuple[int, int]) -> None:
        self.names, self.shape = names, shape
        self.choices: list[NDArray[np.int64]] = []
        self.votes: list[NDArray[np.int64]] = []

    def note(self, step: int, block: Block, actions: Tensor, votes: Tensor) -> None:
        """Note a step of a block: the actions of all regions that it sees, and the votes for each of them."""
        if step == len(self.choices):
            self.choices.append(np.full(self.shape, len(self.names) - 1))
            self.votes.append(np.zeros(len(self.names), np.int64))
        rows, columns = block
        own = rows.decided, columns.decided
        shape = len(rows.axis), len(columns.axis)
        self.choices[step][rows.regions, columns.regions] = actions.view(shape)[own].cpu().numpy()
        self.votes[step] += votes.view(*shape, -1)[own].sum((0, 1)).cpu().numpy()

    @property
    def steps(self) -> list[dict[str, Any]]:
        """The steps as `Restored` has them."""
        steps, stop = [], len(self.names) - 1
        total = self.votes[0].sum()
        for number, (choices, votes) in enumerate(zip(self.choices, self.votes, strict=True), start=1):
            votes[stop] += total - votes.sum()  # blocks that had ended
            winner = int(choices.flat[0]) if choices.size == 1 else int(votes.argmax())
            counts = {name: int(count) for name, count in zip(self.names, votes, strict=True) if count}
            steps.append({"step": number, "action": self.names[winner], "votes": counts})
        return steps


def _blocks(image: AnyImage, batch: RestorationBatch, player: Policy) -> tuple[list[Block], tuple[int, int]]:
    """Return the blocks of a photo, and its numbers of rows and columns of regions."""
    size = player.patch_size or PATCH_SIZE
    sides = [max(size, side) for side in image.shape[:2]]  # a photo smaller than a patch is extended by reflection
    regional, blend = (True, batch.blend) if isinstance(batch, RegionBatch) else (False, 1)
    rows, columns = (axis_of(side, size, blend) for side in sides)
    cut = regional or isinstance(player, FixedToolchain)  # other policies see the whole photo; this one sees nothing
    cut = cut and all(tool.radius is not None for tool in batch.toolbox)  # else a tool may have to see all of it
    blocks = blocks_of(rows, columns, BLOCK_PIXELS if cut else inf)
    if regional:
        return list(blocks), (len(rows), len(columns))
    return [block.as_one() for block in blocks], (1, 1)


def _start(batch: RestorationBatch, images: Tensor, block: Block) -> None:
    """Begin the episodes of a block."""
    if isinstance(batch, RegionBatch):
        batch.start(images, axes=(block.rows.axis, block.columns.axis))
    else:
        batch.start(images)


def _look(canvas: Canvas, blocks: Sequence[Block], batch: RestorationBatch, player: RegionPolicy, device: str) -> float:
    """Return what a policy expects to gain on a photo in dB, mean over its regions."""
    found = []
    for block in blocks:
        _start(batch, canvas.read(block).to(device), block)
        player.act(batch.observe(), player.start(batch))
        assert player.gains is not None
        found.append(player.gains[0, block.rows.decided, block.columns.decided].flatten())
    return float(torch.cat(found).mean())


def _show(watch: Callable[[AnyImage], None], canvas: Canvas, block: Block, strength: float, images: Tensor) -> None:
    """Show the photo as it stands, with what a block sees now."""
    watch(blend(canvas.image, canvas.preview(block, images), strength))


def _play(
    batch: RestorationBatch,
    player: Policy,
    block: Block,
    log: _Log,
    record: bool,
    show: Callable[[Tensor], None] | None = None,
) -> list[Tensor]:
    """Play the episodes of a block to their end; return what it sees after each step, or only after the last."""
    images: list[Tensor] = []

    def note(actions: Tensor, votes: Tensor) -> None:
        step = int(batch.steps.max())
        log.note(step, block, actions, votes)
        if record and step:
            images.append(batch.images)
        if show is not None and step:
            show(batch.images)

    play(player, batch, note)
    return [*images, batch.images]

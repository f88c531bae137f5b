"""How good a policy is on a set of pairs."""

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from math import nan
from statistics import fmean
from typing import Any, Final

from torch import Tensor

from restore_env.constants import DEFAULT_POLICY, DEFAULT_TOOLBOX, MAX_STEPS, PATCH_SIZE
from restore_env.data.pairs import Pairs
from restore_env.policies import Policy, Yardstick, load_policy, play
from restore_env.policies.base import check_actions_fit
from restore_env.restoration.batch import RestorationBatch
from restore_env.restoration.metrics import SMALLEST_SIDE, ssim
from restore_env.toolbox import STOP, Toolbox, load_toolbox
from restore_env.utils.progress import Progress
from restore_env.utils.tensors import images_to_tensor

BATCH_PIXELS: Final = 64 * PATCH_SIZE**2
"""Pixels of the images that are played side by side."""


@dataclass(frozen=True)
class ImageResult:
    """What became of one pair: PSNR in dB and SSIM before and after, and the tools applied."""

    name: str
    psnr_in: float
    psnr_out: float
    ssim_in: float
    ssim_out: float
    toolchain: tuple[str, ...]


@dataclass(frozen=True)
class Evaluation:
    """Means over a set of pairs.

    PSNR and SSIM are those of the transition: of the images as the tools leave them, neither clipped nor rounded.

    Attributes:
        n: how many pairs.
        policy: the policy's name.
        toolbox: the toolbox's name.
        psnr_in: mean PSNR in dB of the distorted images.
        psnr_out: mean PSNR in dB of the restored ones.
        ssim_in: mean SSIM of the distorted images.
        ssim_out: mean SSIM of the restored ones.
        gain: `psnr_out - psnr_in`.
        steps: mean number of tools applied.
        tool_ratio: for each step, the share of the images for which each action was taken; an image that has stopped
            goes on counting as stop (paper, Figure 6).
        seconds: of wall-clock time.
        images: the single results.
    """

    n: int
    policy: str
    toolbox: str
    psnr_in: float
    psnr_out: float
    ssim_in: float
    ssim_out: float
    gain: float
    steps: float
    tool_ratio: list[dict[str, float]]
    seconds: float
    images: list[ImageResult]

    def to_json(self) -> dict[str, Any]:
        """All of it as plain JSON values."""
        return asdict(self)


def evaluate(
    pairs: Pairs,
    policy: str | Policy | Yardstick = DEFAULT_POLICY,
    toolbox: Any = DEFAULT_TOOLBOX,
    *,
    max_steps: int = MAX_STEPS,
    device: str = "cpu",
    progress: Progress | None = None,
) -> Evaluation:
    """Let a policy restore pairs and measure what comes out.

    Images larger than what the policy looks at are restored by the vote of their patches; smaller ones are refused.

    Args:
        pairs: distorted and reference images, of one size or of many.
        policy: a name, a folder, or a policy.
        toolbox: a name, a folder, or a toolbox.
        max_steps: tools applied to an image at most.
        device: where to compute, "cpu" or "cuda".
        progress: called with the share that is done.

    Raises:
        ValueError: for an unknown policy or toolbox, or if they do not fit each other or the images.
        ToolError: if a tool fails.
    """
    tools = load_toolbox(toolbox, device)
    player = load_policy(policy, tools, device)
    check_actions_fit(player, tools)
    _check_sizes(pairs)
    started = time.perf_counter()
    results: dict[int, ImageResult] = {}
    for rows in _batches(pairs):
        batch = RestorationBatch(tools, max_steps=max_steps)
        batch.start(*_tensors(pairs, rows, device))
        part = _part_of(progress, len(results) / len(pairs), len(rows) / len(pairs))
        results |= zip(rows, _play(player, batch, [pairs.names[row] for row in rows], part), strict=True)
        part(1.0)
    return _summary([results[row] for row in range(len(pairs))], player.name, tools, max_steps, started)


def share_of_best(evaluation: Evaluation, oracle: Evaluation) -> float:
    """The share of the oracle's gain that a policy reached on the same pairs, the oracle's first n of them.

    NaN if the oracle gains nothing.
    """
    if not oracle.gain:
        return nan
    return fmean(image.psnr_out - image.psnr_in for image in evaluation.images[: oracle.n]) / oracle.gain


def _check_sizes(pairs: Pairs) -> None:
    for name, image in zip(pairs.names, pairs.distorted, strict=True):
        height, width = image.shape[:2]
        if min(height, width) < SMALLEST_SIDE:
            needed = f"{SMALLEST_SIDE}x{SMALLEST_SIDE}"
            raise ValueError(f"pair {name} of {width}x{height} pixels; SSIM needs at least {needed}")


def _tensors(pairs: Pairs, rows: list[int], device: str) -> tuple[Tensor, Tensor]:
    distorted = images_to_tensor([pairs.distorted[row] for row in rows], device)
    return distorted, images_to_tensor([pairs.reference[row] for row in rows], device)


def _part_of(progress: Progress | None, done: float, share: float) -> Progress:
    """The progress of a part of the work, of which `done` is done and the part is `share`."""
    return lambda part: progress(done + share * part) if progress is not None else None


def _play(
    policy: Policy | Yardstick, batch: RestorationBatch, names: list[str], progress: Progress
) -> list[ImageResult]:
    """Play a started batch to its end."""
    assert batch.reference is not None
    ssim_in = ssim(batch.images, batch.reference)
    play(policy, batch, progress=progress)
    ssim_out = ssim(batch.images, batch.reference)
    columns = (column.tolist() for column in (batch.psnr_initial, batch.psnr, ssim_in, ssim_out))
    chains = (batch.toolchain(row) for row in range(len(batch)))
    return [ImageResult(*values) for values in zip(names, *columns, chains, strict=True)]


def _batches(pairs: Pairs) -> Iterator[list[int]]:
    """Numbers of pairs of one size, as many as are played side by side."""
    by_shape: dict[tuple[int, ...], list[int]] = {}
    for row, image in enumerate(pairs.distorted):
        by_shape.setdefault(image.shape, []).append(row)
    for (height, width, *_), rows in by_shape.items():
        length = max(1, BATCH_PIXELS // (height * width))
        yield from (rows[start : start + length] for start in range(0, len(rows), length))


def _summary(images: list[ImageResult], policy: str, toolbox: Toolbox, max_steps: int, started: float) -> Evaluation:
    psnr_in, psnr_out = fmean(image.psnr_in for image in images), fmean(image.psnr_out for image in images)
    return Evaluation(
        n=len(images),
        policy=policy,
        toolbox=toolbox.name,
        psnr_in=psnr_in,
        psnr_out=psnr_out,
        ssim_in=fmean(image.ssim_in for image in images),
        ssim_out=fmean(image.ssim_out for image in images),
        gain=psnr_out - psnr_in,
        steps=fmean(len(image.toolchain) for image in images),
        tool_ratio=[_ratios(images, step, toolbox.action_names) for step in range(max_steps)],
        seconds=time.perf_counter() - started,
        images=images,
    )


def _ratios(images: list[ImageResult], step: int, actions: tuple[str, ...]) -> dict[str, float]:
    taken = [image.toolchain[step] if step < len(image.toolchain) else STOP for image in images]
    return {action: taken.count(action) / len(taken) for action in actions}

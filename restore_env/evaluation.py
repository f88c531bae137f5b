"""Measuring a policy on pairs of distorted and reference images."""

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from math import nan
from statistics import fmean
from typing import Any, Final, NamedTuple

import torch

from restore_env.constants import DEFAULT_POLICY, DEFAULT_TOOLBOX, MAX_STEPS, PATCH_SIZE, Decide
from restore_env.data.pairs import Pairs, pairs_to_tensors
from restore_env.policies import Policy, load_policy, play
from restore_env.policies.regions import episodes_of
from restore_env.restoration.batch import RestorationBatch
from restore_env.restoration.metrics import SMALLEST_SIDE, psnr, ssim
from restore_env.restoration.rewards import Reward
from restore_env.toolbox import STOP, Toolbox, load_toolbox
from restore_env.utils.progress import Progress

BATCH_PIXELS: Final = 64 * PATCH_SIZE**2
"""Number of pixels that are restored in one batch."""


@dataclass(frozen=True)
class ImageResult:
    """The result for one pair.

    Attributes:
        name: name of the pair.
        psnr_in: PSNR of the distorted image in dB.
        psnr_out: PSNR of the restored image in dB.
        ssim_in: SSIM of the distorted image.
        ssim_out: SSIM of the restored image.
        toolchain: names of the tools applied; where regions got tools of their own, the most frequent toolchain.
    """

    name: str
    psnr_in: float
    psnr_out: float
    ssim_in: float
    ssim_out: float
    toolchain: tuple[str, ...]


class _Episodes(NamedTuple):
    """The toolchains of an image's regions, or its own, and the mean sum of their rewards."""

    chains: list[tuple[str, ...]]
    reward: float


@dataclass(frozen=True)
class Evaluation:
    """The results of a policy on a set of pairs.

    PSNR and SSIM are measured on the images as the tools return them, neither clipped nor rounded.

    Attributes:
        n: number of pairs.
        policy: name of the policy.
        toolbox: name of the toolbox.
        psnr_in: mean PSNR of the distorted images in dB.
        psnr_out: mean PSNR of the restored images in dB.
        ssim_in: mean SSIM of the distorted images.
        ssim_out: mean SSIM of the restored images.
        gain: `psnr_out - psnr_in`.
        steps: mean number of tools applied to an image, or to a region of it.
        tool_ratio: for each step, the share of the images, or regions, for each action. What has stopped counts as
            "stop" in the later steps (Figure 6 of the paper).
        seconds: wall-clock time of the evaluation.
        images: results of the single pairs.
        reward: mean sum of an image's rewards.

    Example:
        >>> from restore_env import as_source, draw_pairs
        >>> result = evaluate(draw_pairs(as_source("embedded", "moderate", 63), 2, seed=0), "stop", "classical")
        >>> result.n, result.policy, result.gain, result.tool_ratio[0]["stop"]
        (2, 'stop', 0.0, 1.0)
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
    reward: float = nan

    def to_json(self) -> dict[str, Any]:
        """Return all results as plain JSON values."""
        return asdict(self)


def evaluate(
    pairs: Pairs,
    policy: str | Policy = DEFAULT_POLICY,
    toolbox: Any = DEFAULT_TOOLBOX,
    *,
    decide: Decide = "regions",
    max_steps: int = MAX_STEPS,
    reward: str | Reward = "step_psnr",
    device: str = "cpu",
    progress: Progress | None = None,
) -> Evaluation:
    """Restore pairs with a policy and measure the results.

    An image that is larger than the policy's patches is restored region by region, as by `restore`.

    Args:
        pairs: distorted and reference images, of one or several sizes.
        policy: a name, a folder, or a policy.
        toolbox: a name, a folder, or a toolbox.
        decide: "regions", or "vote" for one toolchain for each image, by a vote of its patches; see `play`.
        max_steps: largest number of tools applied to an image.
        reward: a name of `restore_env.restoration.rewards.REWARDS`, or a function; policies do not see it.
        device: device of tools and policy, "cpu" or "cuda".
        progress: called with the share of the work that is done.

    Returns:
        The results.

    Raises:
        ValueError: if policy or toolbox is unknown, they do not fit each other, or an image is too small.
        ToolError: if a tool fails.

    Example:
        >>> from restore_env import as_source, draw_pairs
        >>> pairs = draw_pairs(as_source("embedded", "moderate", 63), 2, seed=0)
        >>> evaluate(pairs, "fixed:median-3,unsharp-mild", "classical").steps
        2.0
    """
    tools = load_toolbox(toolbox, device)
    player = load_policy(policy, tools, device)
    _check_sizes(pairs)
    started = time.perf_counter()
    results: dict[int, tuple[ImageResult, _Episodes]] = {}
    batch, decider = episodes_of(decide, player, tools, max_steps, reward)
    for rows in _batches(pairs):
        batch.start(*pairs_to_tensors((pairs[row] for row in rows), device), [pairs.labels[row] for row in rows])
        report = _progress_of_part(progress, len(results) / len(pairs), len(rows) / len(pairs))
        results |= zip(rows, _play(decider, batch, [pairs.names[row] for row in rows], report), strict=True)
        report(1.0)
    return _summarise([results[row] for row in range(len(pairs))], player.name, tools, max_steps, started)


def share_of_best(evaluation: Evaluation, oracle: Evaluation) -> float:
    """Return the share of the oracle's gain that a policy reached on the same pairs.

    Args:
        evaluation: results of the policy.
        oracle: results of the oracle, which may have only the first of the pairs.

    Returns:
        The share, at most 1; NaN if the oracle gains nothing.

    Example:
        >>> from restore_env import as_source, draw_pairs
        >>> pairs = draw_pairs(as_source("embedded", "moderate", 63), 2, seed=0)
        >>> best, stop = (evaluate(pairs, name, "classical", max_steps=1) for name in ("oracle", "stop"))
        >>> share_of_best(stop, best)
        0.0
    """
    if not oracle.gain:
        return nan
    return fmean(image.psnr_out - image.psnr_in for image in evaluation.images[: oracle.n]) / oracle.gain


def _check_sizes(pairs: Pairs) -> None:
    """Raise a `ValueError` if an image is too small for SSIM."""
    for name, image in zip(pairs.names, pairs.distorted, strict=True):
        height, width = image.shape[:2]
        if min(height, width) < SMALLEST_SIDE:
            needed = f"{SMALLEST_SIDE}x{SMALLEST_SIDE}"
            raise ValueError(f"pair {name} of {width}x{height} pixels; SSIM needs at least {needed}")


def _progress_of_part(progress: Progress | None, done: float, share: float) -> Progress:
    """Return the progress of a part that is `share` of the work and begins when `done` of the work is done."""
    return lambda part: progress(done + share * part) if progress is not None else None


def _play(
    policy: Policy, batch: RestorationBatch, names: list[str], progress: Progress
) -> list[tuple[ImageResult, _Episodes]]:
    """Play a started batch to its end and return the results of each image, and of its episodes."""
    assert batch.reference is not None
    before = psnr(batch.images, batch.reference), ssim(batch.images, batch.reference)
    play(policy, batch, progress=progress)
    after = psnr(batch.images, batch.reference), ssim(batch.images, batch.reference)
    numbers = torch.stack([before[0], after[0], before[1], after[1]], 1).tolist()  # 4 times (n,) -> (n, 4)
    chains, returns = batch.named_toolchains(slice(None)), batch.returns.tolist()
    count = len(batch) // len(names)
    found = []
    for image, (name, (psnr_in, psnr_out, ssim_in, ssim_out)) in enumerate(zip(names, numbers, strict=True)):
        own = slice(image * count, (image + 1) * count)
        frequent = Counter(chains[own]).most_common(1)[0][0]
        result = ImageResult(name, psnr_in, psnr_out, ssim_in, ssim_out, frequent)
        found.append((result, _Episodes(chains[own], fmean(returns[own]))))
    return found


def _batches(pairs: Pairs) -> Iterator[list[int]]:
    """Yield numbers of pairs of one size, as many as are restored in one batch."""
    by_shape: dict[tuple[int, ...], list[int]] = {}
    for row, image in enumerate(pairs.distorted):
        by_shape.setdefault(image.shape, []).append(row)
    for (height, width, *_), rows in by_shape.items():
        length = max(1, BATCH_PIXELS // (height * width))
        yield from (rows[start : start + length] for start in range(0, len(rows), length))


def _summarise(
    results: list[tuple[ImageResult, _Episodes]], policy: str, toolbox: Toolbox, max_steps: int, started: float
) -> Evaluation:
    """Return the means over all images."""
    images, episodes = [image for image, _ in results], [one for _, one in results]
    columns = ("psnr_in", "psnr_out", "ssim_in", "ssim_out")
    means = {column: fmean(getattr(image, column) for image in images) for column in columns}
    return Evaluation(
        **means,
        n=len(images),
        policy=policy,
        toolbox=toolbox.name,
        gain=means["psnr_out"] - means["psnr_in"],
        steps=fmean(fmean(map(len, one.chains)) for one in episodes),
        tool_ratio=[_ratios(episodes, step, toolbox.action_names) for step in range(max_steps)],
        seconds=time.perf_counter() - started,
        images=images,
        reward=fmean(one.reward for one in episodes),
    )


def _ratios(episodes: list[_Episodes], step: int, actions: tuple[str, ...]) -> dict[str, float]:
    """Return the share of each action in one step, mean over the images."""
    shares = dict.fromkeys(actions, 0.0)
    for one in episodes:
        for chain in one.chains:
            shares[chain[step] if step < len(chain) else STOP] += 1 / len(one.chains)
    return {action: share / len(episodes) for action, share in shares.items()}

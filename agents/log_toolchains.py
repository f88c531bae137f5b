"""Record what a policy does on many images: a toolchain log, along which tools are fine-tuned.

    python -m agents.log_toolchains --images photos/ --output toolchains/ --policy drqn

You can stop the program at any moment; the same command continues where the log ends.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from agents.data import PatchSize, digest_of_source
from restore_env import Pairs, Toolbox, load_toolbox
from restore_env.constants import DEFAULT_POLICY, DEFAULT_TOOLBOX, MAX_STEPS, PATCH_SIZE
from restore_env.data.sampling import PatchSampler
from restore_env.data.sources import PairSource, as_source, draw_pairs
from restore_env.data.toolchain_log import LogHeader, ToolchainLogWriter, Toolchains
from restore_env.policies import Policy, RandomPolicy, load_policy, play
from restore_env.restoration.batch import RestorationBatch
from restore_env.toolbox.fingerprint import digest_of_toolbox, digest_of_weights
from restore_env.training.fingerprints import digest_of_text
from restore_env.training.program import check_paths, lock_folder, run_program
from restore_env.training.signals import stop_request
from restore_env.utils.checks import Count, Device, Natural, Options, Steps, Text
from restore_env.utils.files import make_folders
from restore_env.utils.progress import progress_bar

BATCH: Final = 64
"""Images that are played side by side."""


@dataclass(kw_only=True)
class Args(Options):
    """Record what a policy does on many images.

    Raises:
        ValueError: if an option is outside its range.
    """

    images: Text
    """Folder of clean photos, a pairs file (.npz) whose pairs are taken in order, or "embedded"."""
    output: Path
    """Folder of the log."""
    policy: Text = DEFAULT_POLICY
    """Name or folder of a policy, or a reference policy such as greedy."""
    toolbox: Text = DEFAULT_TOOLBOX
    """Name or folder of a toolbox."""
    trust: bool = False
    """Import the network classes that the toolbox folder names, and load a .zip of SB3. Both run any code in them."""
    severity: str = "moderate"
    """Distortion of clean photos: the name of a severity, such as moderate or web, or several joined by +."""
    augment: bool = True
    """Mirror, transpose, recolour and shrink clean photos at random, to train tools. Pairs are not changed."""
    n: Count = 20_000
    """Number of toolchains; for a pairs file at most the number of its pairs."""
    patch_size: PatchSize = PATCH_SIZE
    """Height and width of the patches in pixels, 11 to 1024. The pairs of a pairs file must have it."""
    max_steps: Steps = MAX_STEPS
    """Largest number of tools in a toolchain."""
    device: Device = "cpu"
    """Device of the policy and the tools: cpu or cuda."""
    seed: Natural = 0
    """Seed of the distorted patches."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A log that is ready to be written.

    Attributes:
        args: the options.
        toolbox: the tools.
        policy: the policy that plays.
        source: where the images come from.
        n: number of toolchains.
        header: header of the log.
    """

    args: Args
    toolbox: Toolbox
    policy: Policy
    source: PairSource
    n: int
    header: LogHeader


def main(args: Args) -> int:
    """Write the log and return the number of its toolchains.

    Raises:
        Stopped: if SIGINT or SIGTERM came; the log holds what was played.
        ValueError: if an option or a file is wrong.
    """
    return run(plan(args))


def plan(args: Args) -> Plan:
    """Open all that a log needs."""
    inputs = {"--images": args.images, "--policy": args.policy, "--toolbox": args.toolbox}
    check_paths(inputs, folders={"--output": args.output})
    toolbox = load_toolbox(args.toolbox, args.device, trust=args.trust)
    policy = load_policy(args.policy, toolbox, args.device, args.trust)
    source = as_source(args.images, args.severity, args.patch_size)
    check_sizes(policy, source, args.patch_size)
    if args.augment and isinstance(source, PatchSampler):
        source = source.for_training()
    name, n = Path(args.images).name, args.n  # not the path, which means nothing on another machine
    if isinstance(source, Pairs):
        drawn, n = name, min(n, len(source))
    else:
        drawn = f"{args.severity}, {name}{', augmented' * args.augment}"
    names = (policy.name, toolbox.name, toolbox.action_names)
    digests = [digest_of_toolbox(toolbox), digest_of_source(source)]
    digests += [] if policy.network is None else [digest_of_weights([policy.network])]
    sizes, digest = (args.patch_size, args.max_steps), digest_of_text(" ".join(digests))
    header = LogHeader(*names, *sizes, drawn, args.seed, digest)
    return Plan(args=args, toolbox=toolbox, policy=policy, source=source, n=n, header=header)


def run(plan: Plan) -> int:
    """Write the log as planned, as `main` does."""
    args, policy = plan.args, plan.policy
    make_folders(args.output)
    lock_folder(args.output)
    batch = RestorationBatch(plan.toolbox, max_steps=args.max_steps)
    with (
        stop_request() as request,
        ToolchainLogWriter(args.output, plan.header) as log,
        progress_bar("toolchains") as report,
    ):
        for pairs in _batches(plan.source, range(len(log), plan.n), args.seed):
            batch.start(*pairs.to_tensors(args.device))
            if isinstance(policy, RandomPolicy):  # its seed depends on the place in the log, so that a log can continue
                policy = RandomPolicy(plan.toolbox, 2**32 * args.seed + len(log))
            play(policy, batch)
            arrays = (np.stack(pairs.distorted), np.stack(pairs.reference), batch.toolchains.cpu().numpy())
            log.add(Toolchains(*arrays, pairs.distortions))
            report(len(log) / plan.n)
            request.check()
        return len(log)


def check_sizes(policy: Policy, source: PairSource, patch_size: int) -> None:
    """Raise a `ValueError` if a policy cannot play patches of this size, or fixed pairs have another."""
    needed = policy.patch_size
    if needed is not None and needed > patch_size:
        raise ValueError(f"patch_size={patch_size}: policy {policy.name!r} looks at patches of {needed} pixels")
    if isinstance(source, Pairs):
        for name, image in zip(source.names, source.distorted, strict=True):
            if set(image.shape[:2]) != {patch_size}:
                height, width = image.shape[:2]
                raise ValueError(f"patch_size={patch_size}: pair {name} has {width}x{height} pixels")


def _batches(source: PairSource, numbers: range, seed: int) -> Iterator[Pairs]:
    """Yield the pairs of some numbers, a batch at a time."""
    for first in range(numbers.start, numbers.stop, BATCH):
        some = range(first, min(first + BATCH, numbers.stop))
        if isinstance(source, Pairs):
            yield source[some.start : some.stop]
        else:
            yield draw_pairs(source, some, seed)


if __name__ == "__main__":
    run_program(main, Args)

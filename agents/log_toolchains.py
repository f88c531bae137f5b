"""Write down what a policy does on many images: a toolchain log, which tools are fine-tuned along.

    python -m agents.log_toolchains --images photos/ --output toolchains/ --policy drqn

Stopped at any moment, the same command goes on where the log ends.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import tyro
from torch import nn

from agents.data import digest_of_source
from restore_env.constants import DEFAULT_POLICY, DEFAULT_TOOLBOX, MAX_STEPS, PATCH_SIZE
from restore_env.data.distortions import as_distortion
from restore_env.data.pairs import Pairs
from restore_env.data.sampling import FINE_SHRINK_FACTORS, PatchSampler
from restore_env.data.sources import PairSource, as_source, draw_pairs
from restore_env.data.toolchain_log import LogHeader, ToolchainLogWriter, Toolchains
from restore_env.policies import Policy, RandomPolicy, Yardstick, load_policy, play
from restore_env.restoration.batch import RestorationBatch
from restore_env.toolbox import Toolbox, load_toolbox
from restore_env.toolbox.fingerprint import digest_of_toolbox, digest_of_weights
from restore_env.training.fingerprints import digest_of_text
from restore_env.training.program import run_program
from restore_env.training.signals import stop_request
from restore_env.utils.checks import check_device, check_whole
from restore_env.utils.progress import progress_bar
from restore_env.utils.tensors import images_to_tensor

BATCH: Final = 64
"""Images that are played side by side."""


@dataclass
class Args:
    """Write down what a policy does on many images."""

    images: str
    """Folder of clean photos, a pairs file (.npz) whose pairs are taken in order, or "embedded"."""
    output: Path
    """Folder of the log."""
    policy: str = DEFAULT_POLICY
    """Name or folder of a policy, or a yardstick such as greedy."""
    toolbox: str = DEFAULT_TOOLBOX
    """Name or folder of a toolbox."""
    severity: str = "moderate"
    """Of the distortion of clean photos: mild, moderate, severe, any or everyday."""
    augment: bool = True
    """Mirror, transpose, recolour and shrink clean photos at random, for tools that are trained with the log. Pairs are
    taken as they are."""
    n: int = 20_000
    """Toolchains, for a pairs file its pairs at most."""
    max_steps: int = MAX_STEPS
    """Tools in a toolchain at most."""
    device: str = "cpu"
    """cpu or cuda."""
    seed: int = 0
    """Seed of the distorted patches."""


def main(args: Args) -> int:
    """Write the log, and return how many toolchains it holds.

    Raises:
        Stopped: when SIGINT or SIGTERM came; what was played is in the log.
        ValueError: if an option cannot be.
    """
    for name, least in (("n", 1), ("max_steps", 1), ("seed", 0)):
        check_whole(name, getattr(args, name), least)
    check_device(args.device)
    toolbox = load_toolbox(args.toolbox, args.device)
    policy = load_policy(args.policy, toolbox, args.device)
    source = source_of(args)
    n = min(args.n, len(source)) if isinstance(source, Pairs) else args.n
    where = Path(args.images).name  # not where it lies on this machine
    drawn = where if isinstance(source, Pairs) else f"{args.severity}, {where}{', augmented' * args.augment}"
    header = LogHeader(
        policy.name,
        toolbox.name,
        toolbox.action_names,
        PATCH_SIZE,
        args.max_steps,
        drawn,
        args.seed,
        digest_of(source, toolbox, policy),
    )
    batch = RestorationBatch(toolbox, max_steps=args.max_steps)
    with (
        stop_request() as request,
        ToolchainLogWriter(args.output, header) as log,
        progress_bar("toolchains") as report,
    ):
        for pairs in _batches(source, range(len(log), n), args.seed):
            batch.start(*(images_to_tensor(images, args.device) for images in (pairs.distorted, pairs.reference)))
            # A random policy begins anew with each batch, so that a log that was gone on with is as one that was not.
            player = RandomPolicy(toolbox, 2**32 * args.seed + len(log)) if isinstance(policy, RandomPolicy) else policy
            play(player, batch)
            arrays = (np.stack(pairs.distorted), np.stack(pairs.reference), batch.toolchains.cpu().numpy())
            log.add(Toolchains(*arrays))
            report(len(log) / n)
            request.check()
        return len(log)


def source_of(args: Args) -> PairSource:
    """Where the images come from."""
    source = as_source(args.images, as_distortion(args.severity), PATCH_SIZE)
    if not (args.augment and isinstance(source, PatchSampler)):
        return source
    return replace(source, augment=True, colours=True, factors=FINE_SHRINK_FACTORS)


def digest_of(source: PairSource, toolbox: Toolbox, policy: Policy | Yardstick) -> str:
    """Letters that stand for what a log is made of."""
    parts = [digest_of_toolbox(toolbox), digest_of_source(source)]
    network = getattr(policy, "network", None)
    parts += [digest_of_weights([network])] if isinstance(network, nn.Module) else []
    return digest_of_text(" ".join(parts))


def _batches(source: PairSource, numbers: range, seed: int) -> Iterator[Pairs]:
    """Pairs of those numbers, some at a time."""
    for first in range(numbers.start, numbers.stop, BATCH):
        some = range(first, min(first + BATCH, numbers.stop))
        if isinstance(source, Pairs):
            yield Pairs(source.distorted[some.start : some.stop], source.reference[some.start : some.stop])
        else:
            yield draw_pairs(source, some, seed)


if __name__ == "__main__":
    run_program(lambda: main(tyro.cli(Args)))

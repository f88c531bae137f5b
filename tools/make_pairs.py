"""Distort patches of clean photos once and for all: a pairs file to evaluate on, or as an environment's fast source.

python -m tools.make_pairs --photos photos/ --output pairs.npz --n 512 --severity moderate
"""

from dataclasses import dataclass
from pathlib import Path

import tyro

from restore_env.constants import PATCH_SIZE
from restore_env.data.distortions import as_distortion
from restore_env.data.pairs import Pairs, save_pairs
from restore_env.data.photos import FolderPhotos
from restore_env.data.sampling import PatchSampler
from restore_env.training.parallel import draw_in_parallel
from restore_env.training.program import run_program
from restore_env.utils.checks import check_whole


@dataclass
class Args:
    """Distort patches of clean photos once and for all."""

    photos: Path
    """Folder of clean photos."""
    output: Path
    """Pairs file to write, ending in .npz."""
    n: int = 512
    """How many pairs."""
    severity: str = "moderate"
    """mild, moderate, severe, any or everyday."""
    patch_size: int = PATCH_SIZE
    """Height and width of a patch in pixels."""
    seed: int = 0
    """Seed of all that is drawn."""
    jobs: int = 1
    """Processes that work side by side; the file does not depend on how many."""


def main(args: Args) -> Pairs:
    """Draw the pairs, write the file, and return them."""
    check_whole("n", args.n, 1)
    check_whole("jobs", args.jobs, 1)
    sampler = PatchSampler(FolderPhotos(args.photos), as_distortion(args.severity), args.patch_size)
    pairs = draw_in_parallel(sampler, args.n, args.seed, args.jobs, "pairs")
    save_pairs(args.output, pairs)
    return pairs


if __name__ == "__main__":
    run_program(lambda: main(tyro.cli(Args)))

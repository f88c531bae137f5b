"""Distort patches of clean photos once: a pairs file to evaluate on, or to use as an environment's fast source.

python -m tools.make_pairs --photos photos/ --output pairs.npz --n 512 --severity moderate
"""

from dataclasses import dataclass
from pathlib import Path

from restore_env.constants import PATCH_SIZE, Severity
from restore_env.data.distortions import as_distortion
from restore_env.data.pairs import Pairs, save_pairs
from restore_env.data.photos import FolderPhotos
from restore_env.data.sampling import PatchSampler
from restore_env.training.parallel import draw_in_parallel
from restore_env.training.program import check_paths, run_program
from restore_env.utils.checks import Count, Natural, Options
from restore_env.utils.files import make_folders, real_path


@dataclass(kw_only=True)
class Args(Options):
    """Distort patches of clean photos once.

    Raises:
        ValueError: if an option is outside its range.
    """

    photos: Path
    """Folder of clean photos."""
    output: Path
    """Pairs file to write (.npz)."""
    n: Count = 512
    """Number of pairs."""
    severity: Severity = "moderate"
    """How strongly the patches are distorted."""
    patch_size: Count = PATCH_SIZE
    """Height and width of a patch in pixels."""
    seed: Natural = 0
    """Seed of all random numbers."""
    jobs: Count = 1
    """Processes that work in parallel; the file does not depend on how many."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.output.suffix != ".npz":
            raise ValueError(f"output={str(self.output)!r} does not end in .npz")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is drawn, and where it is written."""

    args: Args
    sampler: PatchSampler


def plan(args: Args) -> Plan:
    """Open the photos.

    Raises:
        ValueError: if no file in the folder is a photo.
    """
    check_paths({"--photos": args.photos}, files={"--output": args.output})
    sampler = PatchSampler(FolderPhotos(args.photos), as_distortion(args.severity), args.patch_size)
    return Plan(args=args, sampler=sampler)


def run(plan: Plan) -> Pairs:
    """Draw the pairs, write the file, and return them."""
    pairs = draw_in_parallel(plan.sampler, plan.args.n, plan.args.seed, plan.args.jobs, "pairs")
    make_folders(real_path(plan.args.output).parent)
    save_pairs(plan.args.output, pairs)
    return pairs


def main(args: Args) -> Pairs:
    """Draw the pairs, write the file, and return them."""
    return run(plan(args))


if __name__ == "__main__":
    run_program(main, Args)

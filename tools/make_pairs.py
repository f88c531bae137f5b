"""Distort patches of clean photos once and for all: a pairs file to evaluate on, or as an environment's fast source.

python -m tools.make_pairs --photos photos/ --output pairs.npz --n 512 --severity moderate
"""

import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
import tyro

from restore_env.checks import check_whole
from restore_env.constants import PATCH_SIZE
from restore_env.distortions import as_distortion
from restore_env.images import FolderPhotos
from restore_env.pairs import Pairs, PatchSampler, draw_pairs, save_pairs


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
    """mild, moderate, severe or any."""
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
    ranges = [range(part, args.n, args.jobs) for part in range(args.jobs)]
    if args.jobs == 1:
        parts = [draw(ranges[0], args)]
    else:
        with ProcessPoolExecutor(args.jobs, mp_context=get_context("spawn")) as pool:
            parts = list(pool.map(partial(draw, args=args), ranges))
    numbers = np.argsort(np.concatenate(ranges))
    columns = [np.concatenate(column)[numbers] for column in zip(*parts, strict=True)]
    pairs = Pairs(columns[0], columns[1])
    save_pairs(args.output, pairs)
    return pairs


def draw(numbers: range, args: Args) -> tuple[np.ndarray, np.ndarray]:
    """Draw the pairs of some numbers: uint8 (n, h, w, 3), distorted and reference."""
    cv2.setNumThreads(1)
    sampler = PatchSampler(FolderPhotos(args.photos), as_distortion(args.severity), args.patch_size)
    pairs = draw_pairs(sampler, numbers, args.seed)
    return np.asarray(pairs.distorted), np.asarray(pairs.reference)


if __name__ == "__main__":
    try:
        main(tyro.cli(Args))
    except ValueError as error:
        sys.exit(f"make_pairs: {error}")

"""Measure how fast photos of several sizes are restored, what of the time decisions take, and how much memory.

    python -m benchmarks.photos --output photos.json

Run it while nothing else runs. Memory is that of the whole command `restore-env restore`, files and libraries included.
"""

import contextlib
import io
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from benchmarks.common.profiling import apart, matrix_rate, peak_memory, timed
from benchmarks.common.report import Results, check_output, table_of, track, write_results
from restore_env import load_policy, load_toolbox, restore, write_image
from restore_env.cli.main import commands
from restore_env.constants import DEFAULT_TOOLBOX, RESTORING_POLICY
from restore_env.data.photos import embedded_photos
from restore_env.policies.q_policy import QPolicy
from restore_env.training.model_card import Blocks
from restore_env.training.program import run_program
from restore_env.utils.checks import Natural, Options, Positive, Text
from restore_env.utils.tensors import ByteImage

RATE_SECONDS: Final = 3.0
"""How long the fastest matrix product is kept up, before and after a photo."""


@dataclass(kw_only=True)
class Args(Options):
    """Measure how fast photos are restored, what of the time decisions take, and how much memory.

    Raises:
        ValueError: if an option is outside its range.
    """

    output: Path
    """Results file to write (.json). The report (.md) is written beside it."""
    megapixels: tuple[Positive, ...] = (0.5, 2.0, 12.0, 48.0)
    """Sizes of the photos in 1e6 pixels; each is 4:3."""
    policies: tuple[Text, ...] = ("fixed:moderate", RESTORING_POLICY)
    """Names or folders of policies."""
    toolbox: Text = DEFAULT_TOOLBOX
    """Name or folder of a toolbox."""
    seed: Natural = 0
    """Seed of the noise."""
    data: str = "a photo of scikit-image, repeated, with noise"
    """What is restored, for the report."""


class Timed(NamedTuple):
    """How long a photo took.

    Attributes:
        seconds: for all.
        deciding: of these, seconds in the policy.
        steps: number of tools that the most frequent toolchain has.
        rate: operations a second of the fastest matrix product in the same minute.
        work: operations of the tools, where each pixel counts once for each tool that its region got.
    """

    seconds: float
    deciding: float
    steps: int
    rate: float
    work: float


def main(args: Args) -> Results:
    """Measure, write the results, and return them."""
    check_output(args.output, {})
    load_toolbox(args.toolbox)
    cases = list(product(args.policies, args.megapixels))
    rows = [measure(policy, megapixels, args) for policy, megapixels in track("photos", cases)]
    return write_results("photos", args, describe, rows=rows)


def measure(policy: str, megapixels: float, args: Args) -> dict[str, Any]:
    """Return the row of the report for a policy and a size, measured in processes of their own."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "photo.png")
        found = apart(time_restoring, policy, megapixels, args, file)
        peak = apart(
            peak_of_command, [str(file), "--policy", policy, "--toolbox", args.toolbox, "-o", f"{folder}/restored.png"]
        )
    return {
        "policy": policy,
        "megapixels": megapixels,
        "seconds": found.seconds,
        "deciding": found.deciding / found.seconds,
        "tools": found.steps,
        "share_of_bound": found.work / found.seconds / found.rate,
        "memory": peak,
    }


def time_restoring(policy: str, megapixels: float, args: Args, file: Path) -> Timed:
    """Write a photo to a file, restore it, after a small one that does not count, and return how long it took."""
    toolbox = load_toolbox(args.toolbox)
    player, spent = load_policy(policy, toolbox), list[float]()
    decide = "q_values" if isinstance(player, QPolicy) else "act"
    setattr(player, decide, timed(getattr(player, decide), spent))
    image = photo(megapixels, args.seed)
    write_image(file, image)
    restore(image[:256, :256], player, toolbox)
    rates = [matrix_rate(RATE_SECONDS)]
    spent.clear()
    started = time.perf_counter()
    restored = restore(image, player, toolbox)
    seconds = time.perf_counter() - started
    rates.append(matrix_rate(RATE_SECONDS))
    costs = np.array([*(tool.cost for tool in toolbox), 0.0])
    work = sum(2 * costs[choices].mean() * image.shape[0] * image.shape[1] for choices in restored.choices)
    steps = sum(step["action"] in toolbox.names for step in restored.steps)
    return Timed(seconds, sum(spent), steps, sum(rates) / 2, float(work))


def peak_of_command(words: Sequence[str]) -> float:
    """Return the largest memory in bytes that this process has after `restore-env restore` with these words."""
    with contextlib.redirect_stdout(io.StringIO()):
        commands.main(["restore", *words], standalone_mode=False)
    return peak_memory()


def photo(megapixels: float, seed: int) -> ByteImage:
    """Return a noisy photo of 4:3, uint8 (h, w, 3)."""
    height, width = (round((1e6 * megapixels * share) ** 0.5) for share in (3 / 4, 4 / 3))
    tile = embedded_photos()[0]
    rows, columns = (np.arange(side) % length for side, length in zip((height, width), tile.shape[:2], strict=True))
    image: ByteImage = tile[rows[:, None], columns]
    rng = np.random.default_rng(seed)
    for row in image:  # one row after the other takes little memory
        row[:] = np.clip(row + rng.normal(0, 20, row.shape), 0, 255)
    return image


def describe(results: Results) -> Blocks:
    """Return the paragraphs and the table of the report."""
    return [
        f"# Speed and memory of photos: the toolbox {results['options']['toolbox']}",
        "Each photo is restored once, by `restore_env.restore`; reading and writing files is not in the seconds. The "
        "share of the bound is that of the tools' operations a second, each pixel counted once for each tool that its "
        "region got, in the fastest float32 matrix product of the same minute. Memory is the peak of the command "
        "`restore-env restore`, files and libraries included.",
        table_of([cells(row) for row in results["rows"]]),
    ]


def cells(row: Mapping[str, Any]) -> dict[str, str]:
    """Return the cells of one row of the table by the heads of their columns."""
    return {
        "policy": row["policy"],
        "megapixels": f"{row['megapixels']:g}",
        "seconds": f"{row['seconds']:.1f}",
        "megapixels a second": f"{row['megapixels'] / row['seconds']:.2f}",
        "share of the bound": f"{row['share_of_bound']:.0%}",
        "time for decisions": f"{row['deciding']:.0%}",
        "tools": str(row["tools"]),
        "memory in MB": f"{row['memory'] / 1e6:.0f}",
    }


if __name__ == "__main__":
    run_program(main, Args)

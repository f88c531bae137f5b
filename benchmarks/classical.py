"""Measure every classical filter on many kinds of damage, and each on the damage that it is made for.

    python -m benchmarks.classical --photos train/ --output classical.json --n 48

No filter is trained, so any photos will do. PSNR is that of what the filters compute, neither clipped nor rounded.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from torch import Tensor

from benchmarks.common.intervals import mean_difference
from benchmarks.common.patches import PatchArgs, PatchSet, open_patches
from benchmarks.common.report import Results, check_output, table_of, track, write_results
from benchmarks.common.tool_tasks import psnr_along
from restore_env import Toolbox, load_toolbox
from restore_env.data.distortions import (
    DefocusBlur,
    Distortion,
    GaussianBlur,
    GaussianNoise,
    JPEGCompression,
    MixedDistortion,
    MotionBlur,
    PoissonNoise,
    Resampling,
    SaltAndPepperNoise,
    WebPCompression,
)
from restore_env.training.model_card import Blocks
from restore_env.training.program import run_program
from tools.specs import SLIGHT

SECTOR: Final = 22.5
"""Degrees to both sides of its own direction for which a filter against motion is made."""

DAMAGE: Final[Mapping[str, Distortion]] = {
    "noise 8 to 16": GaussianNoise(8, 16),
    "noise 25 to 40": GaussianNoise(25, 40),
    "Poisson 15 to 50": PoissonNoise(15, 50),
    "salt and pepper 1% to 15%": SaltAndPepperNoise(0.01, 0.15),
    "blur 1.2 to 2": GaussianBlur(1.2, 2),
    "defocus 1.5 to 3": DefocusBlur(1.5, 3),
    "defocus 3 to 6": DefocusBlur(3, 6),
    **{f"motion 5 to 10, {angle}°": MotionBlur(5, 10, (angle - SECTOR, angle + SECTOR)) for angle in (0, 45, 90, 135)},
    "resampling 1.25 to 2": Resampling(1.25, 2),
    "JPEG 10 to 30": JPEGCompression(10, 30),
    "WebP 30 to 80": WebPCompression(30, 80),
}
"""The damage that filters are measured on, each alone."""

MADE_FOR: Final[Mapping[str, str]] = {
    "median-3": "salt and pepper 1% to 15%",
    "bilateral": "JPEG 10 to 30",
    "nl-means-mild": "noise 8 to 16",
    "nl-means-strong": "noise 25 to 40",
    "unsharp-mild": "resampling 1.25 to 2",
    "unsharp-strong": "blur 1.2 to 2",
    "tv-mild": "Poisson 15 to 50",
    "tv-strong": "noise 25 to 40",
    "deblur": "blur 1.2 to 2",
    "despeckle": "salt and pepper 1% to 15%",
    "bilateral-mild": "WebP 30 to 80",
    "defocus-mild": "defocus 1.5 to 3",
    "defocus-strong": "defocus 3 to 6",
    **{f"motion-{angle}": f"motion 5 to 10, {angle}°" for angle in (0, 45, 90, 135)},
}
"""The damage that each filter is made for."""


@dataclass(kw_only=True)
class Args(PatchArgs):
    """Measure every classical filter on many kinds of damage, and each on the damage that it is made for."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is measured: the filters, on patches."""

    args: Args
    toolbox: Toolbox
    patches: PatchSet


def plan(args: Args) -> Plan:
    """Check the options and open the photos.

    Raises:
        ValueError: if an option is wrong.
    """
    check_output(args.output, {"--photos": args.photos})
    return Plan(args=args, toolbox=load_toolbox("classical"), patches=open_patches(args))


def run(plan: Plan) -> Results:
    """Measure, write the results, and return them."""
    rows = [measure(damage, plan) for damage in track("classical", list(DAMAGE))]
    return write_results("classical", plan.args, describe, rows=rows)


def main(args: Args) -> Results:
    """Measure all filters, write the results, and return them."""
    return run(plan(args))


def measure(damage: str, plan: Plan) -> dict[str, Any]:
    """Return what each filter gains on one kind of damage.

    Returns:
        Mean PSNR in dB of the patches, and the mean gain of each filter. For the filters that are made for this damage
        also half the 95% interval of the gain, that of the worst patch, and that when slight noise and JPEG follow.
    """
    own = DAMAGE[damage]
    psnr, photos = _curves(own, plan, plan.toolbox.names)
    made_for = [name for name, task in MADE_FOR.items() if task == damage]
    slight, _ = _curves(MixedDistortion([own, *SLIGHT]), plan, made_for)
    details = {}
    for name in made_for:
        before, after = psnr[name]
        _, half = mean_difference(before.tolist(), after.tolist(), photos)
        details[name] = {"gain_95": half, "worst": float((after - before).min()), "after_slight": _gain(slight[name])}
    gains = {name: _gain(values) for name, values in psnr.items()}
    return {"damage": damage, "psnr_in": float(next(iter(psnr.values()))[0].mean()), "gains": gains, "details": details}


def _curves(distortion: Any, plan: Plan, names: Sequence[str]) -> tuple[dict[str, Tensor], Sequence[Any]]:
    """Return the PSNR of all patches before and after each filter, (2, n), and the photo of each patch."""
    pairs = plan.patches.draw(distortion)
    return {name: psnr_along([plan.toolbox], [name], pairs)[0] for name in names}, pairs.photos


def _gain(values: Tensor) -> float:
    """Return the mean gain in dB for the PSNR before and after, (2, n)."""
    return float((values[1] - values[0]).mean())


def describe(results: Results) -> Blocks:
    """Return the paragraphs and the tables of the report."""
    n, seed = results["options"]["n"], results["options"]["seed"]
    return [
        "# The classical filters",
        f"{n} patches of 63x63 pixels for each kind of damage, seed {seed}. Mean gain in PSNR, in dB, ± half its 95% "
        "interval over the photos. The numbers are the intervals that the parameters are drawn from: standard "
        "deviations of blur in pixels and of noise on the 0-255 scale, radius of the disk and length of the line in "
        f"pixels, the factor, the quality. Directions of motion are within {SECTOR:g} degrees of the one stated.",
        "## Each filter on the damage that it is made for",
        "The worst is the gain of one patch. The last column is the gain when slight noise (standard deviation 0 to 5) "
        "and slight JPEG (quality 80 to 100) follow the damage.",
        table_of([cells(name, damage, results["rows"]) for name, damage in MADE_FOR.items()]),
        "## The best filters for each kind of damage",
        table_of([best_cells(row) for row in results["rows"]]),
    ]


def cells(name: str, damage: str, rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Return the cells of a filter's row by the heads of their columns."""
    row = next(row for row in rows if row["damage"] == damage)
    details = row["details"][name]
    return {
        "filter": f"`{name}`",
        "damage": damage,
        "input": f"{row['psnr_in']:.2f}",
        "gain": f"{row['gains'][name]:+.2f} ± {details['gain_95']:.2f}",
        "worst": f"{details['worst']:+.2f}",
        "with slight noise and JPEG": f"{details['after_slight']:+.2f}",
    }


def best_cells(row: Mapping[str, Any]) -> dict[str, str]:
    """Return the cells of a row for one kind of damage: its three best filters."""
    best = sorted(row["gains"].items(), key=lambda item: -item[1])[:3]
    found = [f"`{name}` {gain:+.2f}" for name, gain in best]
    return {"damage": row["damage"], "input": f"{row['psnr_in']:.2f}", "best filters": ", ".join(found)}


if __name__ == "__main__":
    run_program(main, Args)

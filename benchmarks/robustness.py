"""Restore whole photos with one kind of damage each, beside classical filters with one setting each.

    python -m benchmarks.robustness --photos valid/ --output robustness.json

The photos are at their own size, and are restored as `restore_env.restore` does it. PSNR is that of 8-bit images.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import Any, Final

import cv2
import numpy as np
from skimage.filters import unsharp_mask
from skimage.restoration import denoise_wavelet

from benchmarks.common.intervals import mean_difference
from benchmarks.common.patches import PhotoArgs
from benchmarks.common.report import Results, check_output, table_of, track, write_results
from benchmarks.common.systems import System
from restore_env import load_policy, restore
from restore_env.constants import DEFAULT_TOOLBOX, RESTORING_POLICY
from restore_env.data.distortions import (
    DefocusBlur,
    DistortionModel,
    GaussianBlur,
    GaussianNoise,
    JPEGCompression,
    MixedDistortion,
    MotionBlur,
    PoissonNoise,
    Resampling,
    SaltAndPepperNoise,
    WebPCompression,
    as_distortion,
    everyday,
)
from restore_env.data.pairs import Pair, input_psnr
from restore_env.data.photos import FolderPhotos
from restore_env.inference import check_policy
from restore_env.toolbox import load_toolbox
from restore_env.training.model_card import Blocks
from restore_env.training.program import run_program
from restore_env.utils.checks import Text
from restore_env.utils.files import Paths
from restore_env.utils.tensors import ByteImage, to_bytes

DAMAGE: Final[Mapping[str, DistortionModel]] = {
    "clean": everyday().distortions[-1],
    "JPEG 90 to 95": JPEGCompression(90, 95),
    "JPEG 75": JPEGCompression(75, 75),
    "JPEG 20": JPEGCompression(20, 20),
    "noise 8": GaussianNoise(8, 8),
    "noise 25": GaussianNoise(25, 25),
    "blur 1": GaussianBlur(1, 1),
    "blur 2": GaussianBlur(2, 2),
    "light mixture": MixedDistortion([GaussianBlur(1, 1), GaussianNoise(5, 5), JPEGCompression(80, 80)]),
    "mixture": MixedDistortion([GaussianBlur(2, 2), GaussianNoise(15, 15), JPEGCompression(30, 30)]),
    "motion blur 9": MotionBlur(9, 9),
    "defocus 3": DefocusBlur(3, 3),
    "Poisson noise 25": PoissonNoise(25, 25),
    "salt and pepper 5%": SaltAndPepperNoise(0.05, 0.05),
    "resampling 2": Resampling(2, 2),
    "WebP 40": WebPCompression(40, 40),
    **{f"severity {name}": as_distortion(name) for name in ("motion", "defocus", "low-light", "web", "wild")},
}
"""What happens to the photos; "clean" is as good as clean: noise leaves 48 to 50 dB."""

Filter = Callable[[ByteImage], ByteImage]

FILTERS: Final[Mapping[str, Filter]] = {
    "median": lambda image: np.asarray(cv2.medianBlur(image, 3), dtype=np.uint8),
    "bilateral": lambda image: np.asarray(cv2.bilateralFilter(image, 5, 30, 3), dtype=np.uint8),
    "wavelet": lambda image: to_bytes(denoise_wavelet(image, channel_axis=2, rescale_sigma=True)),
    "unsharp": lambda image: to_bytes(unsharp_mask(image, radius=2, channel_axis=2)),
}
"""Classical filters, each with one setting for all damage."""


@dataclass(kw_only=True)
class Args(PhotoArgs):
    """Restore whole photos with one kind of damage each, beside classical filters with one setting each."""

    policy: Text = RESTORING_POLICY
    """Name or folder of a policy."""
    toolbox: Text = DEFAULT_TOOLBOX
    """Name or folder of a toolbox."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is measured: a policy with its toolbox, on photos."""

    args: Args
    system: System
    photos: FolderPhotos


def plan(args: Args) -> Plan:
    """Check the options and open what they name.

    Raises:
        ValueError: if an option is wrong.
    """
    inputs: dict[str, Paths] = {"--photos": args.photos, "--policy": args.policy, "--toolbox": args.toolbox}
    check_output(args.output, inputs)
    toolbox = load_toolbox(args.toolbox)
    policy = check_policy(load_policy(args.policy, toolbox))
    system = System(policy.name, policy, toolbox)
    return Plan(args=args, system=system, photos=FolderPhotos(args.photos))


def run(plan: Plan) -> Results:
    """Measure, write the results, and return them."""
    rows = [measure(damage, plan) for damage in track("robustness", list(DAMAGE))]
    names = {"policy_name": plan.system.label, "toolbox_name": plan.system.toolbox.name}
    return write_results("robustness", plan.args, describe, **names, n=len(plan.photos), rows=rows)


def main(args: Args) -> Results:
    """Measure the policy, write the results, and return them."""
    return run(plan(args))


def measure(damage: str, plan: Plan) -> dict[str, Any]:
    """Return what the policy and each filter make of the photos with one kind of damage.

    Returns:
        Mean PSNR in dB of the damaged photos, after each filter and after the policy; for the policy also the mean and
        the smallest gain of a photo, the share of photos that were left as they are, and the mean number of tools.
    """
    _, policy, toolbox = plan.system
    before, after, steps, untouched = list[float](), list[float](), list[int](), list[bool]()
    filtered: dict[str, list[float]] = {name: [] for name in FILTERS}
    for number in range(len(plan.photos)):
        photo = plan.photos[number]
        damaged, _ = DAMAGE[damage](photo, np.random.default_rng([plan.args.seed, number]))
        restored = restore(damaged, policy, toolbox)
        before.append(input_psnr(Pair(damaged, photo)))
        after.append(input_psnr(Pair(restored.image, photo)))
        steps.append(sum(step["action"] in toolbox.names for step in restored.steps))
        untouched.append(np.array_equal(restored.image, damaged))
        for name, apply in FILTERS.items():
            filtered[name].append(input_psnr(Pair(apply(damaged), photo)))
    gain, half = mean_difference(before, after)
    return {
        "damage": damage,
        "psnr_in": fmean(before),
        "psnr_out": fmean(after),
        **{name: fmean(values) for name, values in filtered.items()},
        "gain": gain,
        "gain_95": half,
        "worst": min(one - other for one, other in zip(after, before, strict=True)),
        "left_alone": fmean(untouched),
        "steps": fmean(steps),
    }


def describe(results: Results) -> Blocks:
    """Return the paragraphs and the table of the report."""
    return [
        f"# Whole photos: the policy {results['policy_name']} with the toolbox {results['toolbox_name']}",
        f"{results['n']} photos at their own size, seed {results['options']['seed']}. Mean PSNR in dB. The gain is "
        "that of the policy over the input, ± half its 95% interval over the photos; the worst is that of one photo. "
        "Filters: `cv2.medianBlur(image, 3)`, `cv2.bilateralFilter(image, 5, 30, 3)`, "
        "scikit-image's `denoise_wavelet` with `rescale_sigma=True` and `unsharp_mask` with `radius=2`.",
        table_of([cells(row) for row in results["rows"]]),
    ]


def cells(row: Mapping[str, Any]) -> dict[str, str]:
    """Return the cells of one row of the table by the heads of their columns."""
    return {
        "damage": row["damage"],
        "input": f"{row['psnr_in']:.2f}",
        **{name: f"{row[name]:.2f}" for name in FILTERS},
        "policy": f"{row['psnr_out']:.2f}",
        "gain": f"{row['gain']:+.3f} ± {row['gain_95']:.3f}",
        "worst": f"{row['worst']:+.2f}",
        "left alone": f"{row['left_alone']:.0%}",
        "tools": f"{row['steps']:.2f}",
    }


if __name__ == "__main__":
    run_program(main, Args)

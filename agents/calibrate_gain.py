"""Measure how much of the gain that an agent expects on a photo comes true, and write it into the agent's folder.

    python -m agents.calibrate_gain --photos held-out/ --policy my-agent/

An agent values what it sees: patches. A photo gains less than its patches on average, because its worst patches count
most in its PSNR and gain least. `restore_env.restore` multiplies what the agent expects by the factor found here.
"""

from dataclasses import dataclass
from math import inf
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from restore_env import Toolbox, load_policy, load_toolbox
from restore_env.constants import DEFAULT_TOOLBOX
from restore_env.data.distortions import DistortionModel, as_distortion
from restore_env.data.image_io import as_rgb_bytes
from restore_env.data.pairs import Pair, input_psnr
from restore_env.data.photos import FolderPhotos
from restore_env.inference import restore_in
from restore_env.policies.q_policy import QPolicy
from restore_env.policies.regions import RegionPolicy
from restore_env.policies.storage import DESCRIPTION, GAIN_SCALE
from restore_env.restoration.regions import RegionBatch
from restore_env.training.model_card import read_record
from restore_env.training.program import check_paths, run_program
from restore_env.utils.checks import Count, Natural, Options, Text
from restore_env.utils.progress import progress_bar
from restore_env.utils.serialization import RECORD, read_json, write_json


@dataclass(kw_only=True)
class Args(Options):
    """Measure how much of the gain that an agent expects on a photo comes true, and write it into the agent's folder.

    Raises:
        ValueError: if an option is outside its range.
    """

    photos: Path
    """Folder of clean photos, which neither the tools nor the agent were trained on."""
    policy: Path
    """Folder of a policy with Q-values. The factor is written into it."""
    toolbox: Text = DEFAULT_TOOLBOX
    """Name or folder of the policy's toolbox."""
    severity: Text = "mild+moderate+severe+everyday+light"
    """Distortions of the photos, joined by +."""
    n: Count = 204
    """Distorted photos to restore; the photos of the folder take turns."""
    seed: Natural = 0
    """Seed of the distortions."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is measured.

    Attributes:
        args: the options.
        policy: the policy, without a factor.
        toolbox: its toolbox.
        photos: the photos.
        distortion: what is done to them.
    """

    args: Args
    policy: QPolicy
    toolbox: Toolbox
    photos: FolderPhotos
    distortion: DistortionModel


@dataclass(frozen=True)
class Calibration:
    """What a policy expected to gain on photos, and what it gained.

    Args:
        expected: gains in dB that were expected, without a factor.
        gained: the real ones.

    Example:
        >>> found = Calibration([2.0, 4.0], [1.0, 3.5])
        >>> found.scale, found.bias, found.error
        (0.75, 0.0, 0.5)
    """

    expected: list[float]
    gained: list[float]

    @property
    def scale(self) -> float:
        """The factor at which the mean of what is expected is that of what is gained; 1 if nothing is expected."""
        total = sum(self.expected)
        return max(0.0, sum(self.gained) / total) if total > 0 else 1.0

    @property
    def differences(self) -> list[float]:
        """What is expected with the factor minus what is gained, in dB, for each photo."""
        scale = self.scale
        return [scale * expected - gained for expected, gained in zip(self.expected, self.gained, strict=True)]

    @property
    def bias(self) -> float:
        """Mean of the differences in dB."""
        return fmean(self.differences)

    @property
    def error(self) -> float:
        """Mean of the absolute differences in dB."""
        return fmean(map(abs, self.differences))


def main(args: Args) -> Calibration:
    """Measure, write the factor into the policy's folder, and return what was found.

    Raises:
        ValueError: if an option is wrong.
    """
    return run(plan(args))


def plan(args: Args) -> Plan:
    """Open what the options name."""
    check_paths({"--photos": args.photos, "--policy": args.policy, "--toolbox": args.toolbox})
    toolbox = load_toolbox(args.toolbox)
    policy = load_policy(args.policy, toolbox)
    if not isinstance(policy, QPolicy) or policy.patch_size is None:
        raise ValueError(f"policy={str(args.policy)!r} has no Q-values, which tell what it expects")
    policy.gain_scale = 1.0
    distortion = as_distortion(args.severity)
    return Plan(args=args, policy=policy, toolbox=toolbox, photos=FolderPhotos(args.photos), distortion=distortion)


def run(plan: Plan) -> Calibration:
    """Measure as planned, as `main` does."""
    results, n = list[tuple[float, float]](), plan.args.n
    with progress_bar("photos") as report:
        for number in range(n):
            results.append(measure(plan, number))
            report(len(results) / n)
    found = Calibration([expected for expected, _ in results], [gained for _, gained in results])
    path = plan.args.policy / DESCRIPTION
    write_json(path, read_json(path) | {GAIN_SCALE: round(found.scale, 4)})
    record = read_record(plan.args.policy)
    write_json(plan.args.policy / RECORD, record | {"calibration": record_of(found, plan)})
    print(f"{found.scale:.0%} comes true; the mean error is {found.error:.2f} dB ({found.bias:+.2f})")
    return found


def measure(plan: Plan, number: int) -> tuple[float, float]:
    """Return the gain in dB that is expected on a distorted photo, and the real one. No photo is left alone."""
    photo = plan.photos[number % len(plan.photos)]
    distorted, _ = plan.distortion(photo, np.random.default_rng([plan.args.seed, number]))
    assert plan.policy.patch_size is not None
    batch = RegionBatch(plan.toolbox, plan.policy.patch_size)
    restored = restore_in(batch, RegionPolicy(plan.policy, -inf), distorted)
    before, after = (input_psnr(Pair(image, photo)) for image in (distorted, as_rgb_bytes(restored.image)))
    return restored.expected_gain, after - before


def record_of(found: Calibration, plan: Plan) -> dict[str, Any]:
    """Return what the record of the policy says about the factor."""
    return {
        GAIN_SCALE: round(found.scale, 4),
        "photos": len(found.gained),
        "severity": plan.args.severity,
        "seed": plan.args.seed,
        "bias": round(found.bias, 3),
        "error": round(found.error, 3),
    }


if __name__ == "__main__":
    run_program(main, Args)

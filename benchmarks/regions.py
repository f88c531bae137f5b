"""Compare photos restored region by region with photos restored by a vote, on damage that differs across the photo.

    python -m benchmarks.regions --photos valid-sharp/ --output regions.json

PSNR is that of 8-bit images. Consistency, the gate and the width of the blend may have several values each; there is a
row for each combination. They are chosen on other photos than those that are reported.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from statistics import fmean
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.random import Generator

from benchmarks.common.intervals import mean_difference
from benchmarks.common.patches import PhotoArgs
from benchmarks.common.report import Results, check_output, table_of, track, write_results
from benchmarks.common.systems import System, load_system, paths_in
from restore_env import load_policy, load_toolbox, restore
from restore_env.constants import DEFAULT_TOOLBOX, RESTORING_POLICY
from restore_env.data.distortions import DistortionModel, GaussianBlur, GaussianNoise, JPEGCompression, as_distortion
from restore_env.data.image_io import as_rgb_bytes
from restore_env.data.pairs import Pair, input_psnr
from restore_env.data.photos import FolderPhotos
from restore_env.inference import check_policy, restore_in
from restore_env.policies.q_policy import QPolicy
from restore_env.policies.regions import GATE, RegionPolicy
from restore_env.restoration.regions import BLEND, RegionBatch
from restore_env.training.model_card import Blocks
from restore_env.training.program import run_program
from restore_env.utils.checks import Count, NonNegative, Text
from restore_env.utils.files import Paths
from restore_env.utils.tensors import ByteImage

NOISE: Final = GaussianNoise(35, 35)
BLUR: Final = GaussianBlur(2.5, 2.5)


def halves(photo: ByteImage, rng: Generator) -> ByteImage:
    """Return a photo whose left half is noisy and whose right half is blurred."""
    middle = photo.shape[1] // 2
    return np.concatenate([NOISE(photo, rng)[0][:, :middle], BLUR(photo, rng)[0][:, middle:]], axis=1)


def collage(photo: ByteImage, rng: Generator) -> ByteImage:
    """Return a photo whose four quarters have mixtures of their own: mild, moderate, severe, and any."""
    result = photo.copy()
    middle, centre = photo.shape[0] // 2, photo.shape[1] // 2
    quarters = product((slice(0, middle), slice(middle, None)), (slice(0, centre), slice(centre, None)))
    for severity, quarter in zip(("mild", "moderate", "severe", "any"), quarters, strict=True):
        result[quarter] = as_distortion(severity)(photo, rng)[0][quarter]
    return result


def upper_third(photo: ByteImage, rng: Generator) -> ByteImage:
    """Return a photo whose upper third is noisy."""
    third = photo.shape[0] // 3
    return np.concatenate([NOISE(photo, rng)[0][:third], photo[third:]])


def _whole(distortion: str | DistortionModel) -> Callable[[ByteImage, Generator], ByteImage]:
    """Return what distorts a whole photo alike."""
    return lambda photo, rng: as_distortion(distortion)(photo, rng)[0]


DAMAGE: Final[Mapping[str, Callable[[ByteImage, Generator], ByteImage]]] = {
    "half noise, half blur": halves,
    "four mixtures": collage,
    "noise in the upper third": upper_third,
    **{severity: _whole(severity) for severity in ("mild", "moderate", "severe")},
    "clean": lambda photo, _: photo,
    "JPEG 90": _whole(JPEGCompression(90, 90)),
}
"""What happens to the photos."""


@dataclass(kw_only=True)
class Args(PhotoArgs):
    """Compare photos restored region by region with photos restored by a vote.

    Raises:
        ValueError: if an option is outside its range.
    """

    n: Count = 20
    """How many photos, the first of the folder, are used."""
    policy: Text = RESTORING_POLICY
    """Name or folder of a policy with Q-values."""
    toolbox: Text = DEFAULT_TOOLBOX
    """Name or folder of a toolbox."""
    rivals: tuple[str, ...] = ()
    """Other systems, which restore by a vote, [LABEL=]POLICY[@TOOLBOX] each."""
    gates: tuple[NonNegative, ...] = (GATE,)
    """Expected gains in dB under which a photo is left as it is."""
    consistencies: tuple[NonNegative, ...] = (0.0,)
    """How much the Q-values of a region's neighbours count."""
    blends: tuple[Count, ...] = (BLEND,)
    """Widths in pixels over which the results of two regions pass into each other."""


class Setting(NamedTuple):
    """How regions decide, and how their results are blended."""

    gate: float
    consistency: float
    blend: int


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is measured."""

    args: Args
    system: System
    policy: QPolicy
    rivals: list[System]
    settings: list[Setting]
    photos: list[ByteImage]


def plan(args: Args) -> Plan:
    """Check the options and open what they name.

    Raises:
        ValueError: if an option is wrong.
    """
    inputs: dict[str, Paths] = {"--photos": args.photos, "--policy": args.policy, "--toolbox": args.toolbox}
    check_output(args.output, inputs | {"--rivals": paths_in(args.rivals)})
    toolbox = load_toolbox(args.toolbox)
    policy = check_policy(load_policy(args.policy, toolbox))
    if not isinstance(policy, QPolicy) or policy.patch_size is None:
        raise ValueError(f"policy={args.policy!r} has no Q-values, by which regions decide")
    photos = FolderPhotos(args.photos)
    return Plan(
        args=args,
        system=System(policy.name, policy, toolbox),
        policy=policy,
        rivals=[load_system(text, toolbox) for text in args.rivals],
        settings=[Setting(*values) for values in product(args.gates, args.consistencies, args.blends)],
        photos=[photos[number] for number in range(min(args.n, len(photos)))],
    )


def run(plan: Plan) -> Results:
    """Measure, write the results, and return them."""
    rows = [row for damage in track("regions", list(DAMAGE)) for row in measure(damage, plan)]
    names = {"policy_name": plan.system.label, "toolbox_name": plan.system.toolbox.name}
    return write_results("regions", plan.args, describe, **names, n=len(plan.photos), rows=rows)


def main(args: Args) -> Results:
    """Measure the policy by vote and by regions, write the results, and return them."""
    return run(plan(args))


def measure(damage: str, plan: Plan) -> Iterator[dict[str, Any]]:
    """Yield the rows of one kind of damage: one for each setting.

    Yields:
        PSNR in dB, mean over the photos, of the input, by vote, by regions and of the rivals; the mean differences of
        regions to vote; how many photos were left alone; and the expected and the real gain.
    """
    pairs = []
    for number, photo in enumerate(plan.photos):
        pairs.append((DAMAGE[damage](photo, np.random.default_rng([plan.args.seed, number])), photo))
    before = [_psnr(distorted, photo) for distorted, photo in pairs]
    voted = [_psnr(_by_vote(distorted, plan.system), photo) for distorted, photo in pairs]
    rivals = {
        rival.label: fmean(_psnr(_by_vote(distorted, rival), photo) for distorted, photo in pairs)
        for rival in plan.rivals
    }
    for setting in plan.settings:
        found = [_by_regions(distorted, plan, setting) for distorted, _ in pairs]
        after = [_psnr(image, photo) for (image, _), (_, photo) in zip(found, pairs, strict=True)]
        over, half = mean_difference(voted, after)
        yield {
            "damage": damage,
            **setting._asdict(),
            "psnr_in": fmean(before),
            "vote": fmean(voted),
            "regions": fmean(after),
            "over_vote": over,
            "over_vote_95": half,
            "left_alone": fmean(
                np.array_equal(image, distorted) for (image, _), (distorted, _) in zip(found, pairs, strict=True)
            ),
            "expected": [gain for _, gain in found],
            "gains": [one - other for one, other in zip(after, before, strict=True)],
            "rivals": rivals,
        }


def describe(results: Results) -> Blocks:
    """Return the paragraphs and the table of the report."""
    return [
        f"# Regions: the policy {results['policy_name']} with the toolbox {results['toolbox_name']}",
        f"{results['n']} photos at their own size, seed {results['options']['seed']}. Mean PSNR in dB. The difference "
        "of regions to the vote is paired by photo, ± half its 95% interval. The gate is the expected gain in dB under "
        "which a photo is left as it is; consistency is how much the neighbours of a region count; the blend is in "
        "pixels. Noise has 35 levels, blur 2.5 pixels.",
        table_of([cells(row) for row in results["rows"]]),
    ]


def cells(row: Mapping[str, Any]) -> dict[str, str]:
    """Return the cells of one row of the table by the heads of their columns."""
    return {
        "damage": row["damage"],
        "gate": f"{row['gate']:g}",
        "consistency": f"{row['consistency']:g}",
        "blend": str(row["blend"]),
        "input": f"{row['psnr_in']:.2f}",
        "vote": f"{row['vote']:.2f}",
        "regions": f"{row['regions']:.2f}",
        "over the vote": f"{row['over_vote']:+.2f} ± {row['over_vote_95']:.2f}",
        **{f"{label}, vote": f"{psnr:.2f}" for label, psnr in row["rivals"].items()},
        "left alone": f"{row['left_alone']:.0%}",
        "expected gain": f"{fmean(row['expected']):+.2f}",
        "gain": f"{fmean(row['gains']):+.2f}",
    }


def _psnr(image: ByteImage, photo: ByteImage) -> float:
    return input_psnr(Pair(image, photo))


def _by_vote(photo: ByteImage, system: System) -> ByteImage:
    """Return a photo restored by the vote of its patches."""
    return restore(photo, system.policy, system.toolbox, decide="vote").image


def _by_regions(photo: ByteImage, plan: Plan, setting: Setting) -> tuple[ByteImage, float]:
    """Return a photo restored region by region, and the expected gain in dB."""
    assert plan.policy.patch_size is not None
    policy = RegionPolicy(plan.policy, setting.gate, setting.consistency)
    batch = RegionBatch(plan.system.toolbox, plan.policy.patch_size, blend=setting.blend)
    restored = restore_in(batch, policy, photo)
    return as_rgb_bytes(restored.image), restored.expected_gain


if __name__ == "__main__":
    run_program(main, Args)

"""Whether a policy for real use leaves good photos alone and finds the tool that a single distortion needs.

    python -m benchmarks.everyday --photos valid/ --output everyday.json --policy drqn-any

As good as clean: noise that leaves 48 to 50 dB. Single distortions: what each tool is made for, and nothing else.
"""

from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import tyro

from benchmarks.common.report import check_output, mean_rise, results_of, write_results
from benchmarks.toolbox import measurable, own_distortion
from restore_env.constants import DEFAULT_TOOLBOX, PATCH_SIZE, RESTORING_POLICY
from restore_env.data.distortions import MixedDistortion, everyday
from restore_env.data.pairs import Pairs
from restore_env.data.photos import FolderPhotos
from restore_env.data.sampling import PatchSampler
from restore_env.data.sources import draw_pairs
from restore_env.evaluation import Evaluation, evaluate
from restore_env.policies import Policy, Yardstick, load_policy
from restore_env.toolbox import Toolbox, load_toolbox
from restore_env.training.program import run_program
from restore_env.utils.checks import check_whole
from restore_env.utils.progress import progress_bar


@dataclass
class Args:
    """Whether a policy for real use leaves good photos alone and finds the tool that a single distortion needs."""

    photos: Path
    """Folder of clean photos that nothing was trained on."""
    output: Path
    """Results to write, ending in .json; the table is written beside it as .md."""
    policy: str = RESTORING_POLICY
    """Name or folder of a policy."""
    toolbox: str = DEFAULT_TOOLBOX
    """Name or folder of a toolbox."""
    n: int = 256
    """Patches of each kind."""
    size: int = PATCH_SIZE
    """Height and width of a patch in pixels. A policy cuts larger ones into patches of its own, whose votes decide, as
    it does when it restores a photo."""
    seed: int = 0
    """Seed of the patches."""
    data: str = "not stated"
    """What the photos are, for the record."""


def main(args: Args) -> dict[str, Any]:
    """Measure, write the results, and return them."""
    check_whole("n", args.n, 1)
    check_whole("size", args.size, PATCH_SIZE)
    check_output(args.output)
    toolbox = load_toolbox(args.toolbox)
    policy = load_policy(args.policy, toolbox)
    photos = FolderPhotos(args.photos)
    names = measurable([toolbox])
    with progress_bar("everyday") as report:
        rows = [clean(policy, toolbox, photos, args)]
        for number, name in enumerate(names, start=1):
            report(number / (len(names) + 1))
            rows.append(single(name, policy, toolbox, photos, args))
    results = results_of(args, policy_name=policy.name, rows=rows)
    write_results(results, args.output, "everyday", text(results))
    return results


def clean(policy: Policy | Yardstick, toolbox: Toolbox, photos: FolderPhotos, args: Args) -> dict[str, Any]:
    """What it does to photos that are as good as clean; the last part of the everyday mixture."""
    pairs = draw_pairs(PatchSampler(photos, everyday().distortions[-1], args.size), args.n, args.seed)
    found = evaluate(pairs, policy, toolbox)
    row = _row(found, [image.psnr_in for image in found.images], pairs)
    return {"kind": "clean", "own_tool": found.psnr_in, **row}


def single(name: str, policy: Policy | Yardstick, toolbox: Toolbox, photos: FolderPhotos, args: Args) -> dict[str, Any]:
    """What it makes of the distortion that a tool is made for, beside the tool alone."""
    own = own_distortion(toolbox[toolbox.names.index(name)])
    pairs = draw_pairs(PatchSampler(photos, MixedDistortion([own]), args.size), args.n, args.seed)
    alone = evaluate(pairs, f"fixed:{name}", toolbox)
    row = _row(evaluate(pairs, policy, toolbox), [image.psnr_out for image in alone.images], pairs)
    return {"kind": name, "own_tool": alone.psnr_out, **row}


def _row(found: Evaluation, rivals: list[float], pairs: Pairs) -> dict[str, Any]:
    difference, half = mean_rise(rivals, [image.psnr_out for image in found.images], pairs.photos)
    return {
        "psnr_in": found.psnr_in,
        "psnr_out": found.psnr_out,
        "difference": difference,
        "difference_95": half,
        "stopped_at_once": fmean(not image.toolchain for image in found.images),
        "steps": found.steps,
    }


def text(results: dict[str, Any]) -> str:
    """The results as Markdown."""
    options = results["options"]
    lines = [
        f"# The policy {results['policy_name']} on clean photos and single distortions",
        "",
        f"{options['n']} patches of {options['size']}x{options['size']} each, seed {options['seed']}. PSNR in dB; the "
        "difference is to the tool that is made for the distortion, applied once (for clean photos: to leaving them "
        "alone), ± half its 95% interval, clustered by photo.",
        "",
        "| distortion | input | tool made for it | policy | difference | stopped at once | tools |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in results["rows"]:
        own = "none" if row["kind"] == "clean" else f"{row['own_tool']:.2f}"
        lines.append(
            f"| {row['kind']} | {row['psnr_in']:.2f} | {own} | {row['psnr_out']:.2f} | {row['difference']:+.3f} ± "
            f"{row['difference_95']:.3f} | {row['stopped_at_once']:.0%} | {row['steps']:.2f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    run_program(lambda: main(tyro.cli(Args)))

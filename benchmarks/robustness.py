"""Measure whether a policy leaves good photos alone, and finds the tool that a single distortion needs.

    python -m benchmarks.robustness --photos valid/ --output robustness.json --policy drqn-any

Good photos are as good as clean: noise leaves them at 48 to 50 dB. Single distortions are those that the tools are made
for.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import Any, Final

from benchmarks.common.intervals import mean_difference
from benchmarks.common.patches import PatchArgs, PatchSet, open_patches
from benchmarks.common.report import Results, check_output, table_of, track, write_results
from benchmarks.common.systems import System
from benchmarks.common.tool_tasks import own_distortions
from restore_env import evaluate, load_policy
from restore_env.constants import DEFAULT_TOOLBOX, PATCH_SIZE, RESTORING_POLICY
from restore_env.data.distortions import DistortionModel, everyday
from restore_env.toolbox import STOP, load_toolbox
from restore_env.training.model_card import Blocks
from restore_env.training.program import run_program
from restore_env.utils.checks import Count, check_whole

CLEAN: Final = "clean"
"""The kind of patches that are as good as clean."""


@dataclass(kw_only=True)
class Args(PatchArgs):
    """Measure whether a policy leaves good photos alone, and finds the tool that a single distortion needs."""

    policy: str = RESTORING_POLICY
    """Name or folder of a policy."""
    toolbox: str = DEFAULT_TOOLBOX
    """Name or folder of a toolbox."""
    n: Count = 256
    """Patches of each kind."""
    size: int = PATCH_SIZE
    """Height and width of a patch in pixels. Parts of larger patches vote, as those of a photo do."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is measured: a policy with its toolbox, patches, and the distortion of each kind."""

    args: Args
    system: System
    kinds: Mapping[str, DistortionModel]
    patches: PatchSet


def plan(args: Args) -> Plan:
    """Check the options and open what they name.

    Raises:
        ValueError: if an option is wrong.
    """
    check_whole("size", args.size, PATCH_SIZE)
    check_output(args.output)
    toolbox = load_toolbox(args.toolbox)
    policy = load_policy(args.policy, toolbox)
    clean = everyday().distortions[-1]
    kinds = {CLEAN: clean, **own_distortions([toolbox])}
    system = System(policy.name, policy, toolbox)
    return Plan(args=args, system=system, kinds=kinds, patches=open_patches(args, args.size))


def run(plan: Plan) -> Results:
    """Measure, write the results, and return them."""
    rows = [measure(kind, plan) for kind in track("robustness", list(plan.kinds))]
    return write_results("robustness", plan.args, describe, policy_name=plan.system.label, rows=rows)


def main(args: Args) -> Results:
    """Measure the policy, write the results, and return them."""
    return run(plan(args))


def measure(kind: str, plan: Plan) -> dict[str, Any]:
    """Return what the policy makes of one kind of patches, and what the tool alone makes that is made for it.

    Clean patches have no tool: there the policy is compared with stopping at once.
    """
    pairs = plan.patches.draw(plan.kinds[kind])
    alone = evaluate(pairs, STOP if kind == CLEAN else f"fixed:{kind}", plan.system.toolbox)
    found = plan.system.evaluate(pairs)
    before, after = ([image.psnr_out for image in result.images] for result in (alone, found))
    difference, half = mean_difference(before, after, pairs.photos)
    return {
        "kind": kind,
        "own_tool": alone.psnr_out,
        "psnr_in": found.psnr_in,
        "psnr_out": found.psnr_out,
        "difference": difference,
        "difference_95": half,
        "stopped_at_once": fmean(not image.toolchain for image in found.images),
        "steps": found.steps,
    }


def describe(results: Results) -> Blocks:
    """Return the paragraphs and the table of the report."""
    options = results["options"]
    return [
        f"# The policy {results['policy_name']} on clean photos and single distortions",
        f"{options['n']} patches of {options['size']}x{options['size']} each, seed {options['seed']}. PSNR in dB; the "
        "difference is to the tool that is made for the distortion, applied once (for clean photos: to leaving them "
        "alone), ± half its 95% interval, clustered by photo.",
        table_of([cells(row) for row in results["rows"]]),
    ]


def cells(row: Mapping[str, Any]) -> dict[str, str]:
    """Return the cells of one row of the table by the heads of their columns."""
    return {
        "distortion": row["kind"],
        "input": f"{row['psnr_in']:.2f}",
        "tool made for it": "none" if row["kind"] == CLEAN else f"{row['own_tool']:.2f}",
        "policy": f"{row['psnr_out']:.2f}",
        "difference": f"{row['difference']:+.3f} ± {row['difference_95']:.3f}",
        "stopped at once": f"{row['stopped_at_once']:.0%}",
        "tools": f"{row['steps']:.2f}",
    }


if __name__ == "__main__":
    run_program(main, Args)

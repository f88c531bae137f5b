r"""Measure what robust and joint training of the tools bring, one after the other (paper, Table 5).

    python -m benchmarks.joint --photos valid/ --output joint.json \
        --stages original=agents/original@toolboxes/original separate=drqn@rl-restore-12-separate

Each stage is a toolbox with the agent that was trained or refreshed on it. All stages are measured on the same patches.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from benchmarks.common.intervals import gains_of, half_interval, mean_difference
from benchmarks.common.patches import PAPER_SEVERITIES, PatchArgs, PatchSet, open_patches
from benchmarks.common.report import Results, check_output, table_of, track, write_results
from benchmarks.common.systems import System, load_system, paths_in
from benchmarks.common.tool_tasks import compare_tools, own_distortions, psnr_cells
from restore_env.constants import DEFAULT_TOOLBOX
from restore_env.data.distortions import Distortion, MixedDistortion
from restore_env.toolbox import load_toolbox
from restore_env.training.model_card import Blocks
from restore_env.training.program import run_program
from tools.specs import SLIGHT


@dataclass(kw_only=True)
class Args(PatchArgs):
    """Measure what robust and joint training of the tools bring, one after the other."""

    stages: tuple[str, ...]
    """LABEL=POLICY@TOOLBOX for each stage, in the order in which they were trained; names or folders."""
    rival: str = ""
    """LABEL=POLICY@TOOLBOX of another system, which the last stage is compared with."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is measured: the stages, a rival at their end, patches, and the distortion that each tool is made for."""

    args: Args
    stages: Sequence[System]
    own: Mapping[str, Distortion]
    patches: PatchSet


def plan(args: Args) -> Plan:
    """Check the options and open what they name.

    Raises:
        ValueError: if an option is wrong, or the toolboxes do not fit each other.
    """
    if not args.stages or "" in args.stages:
        raise ValueError("stages: none are given, or an empty one; LABEL=POLICY@TOOLBOX is one")
    check_output(args.output, {"--photos": args.photos, "--stages": paths_in([*args.stages, args.rival])})
    toolbox = load_toolbox(DEFAULT_TOOLBOX)
    stages = [load_system(text, toolbox) for text in (*args.stages, args.rival) if text]
    label, count = Counter(stage.label for stage in stages).most_common(1)[0]
    if count > 1:
        raise ValueError(f"stages: two are called {label!r}; give each a LABEL= of its own")
    own = own_distortions([stage.toolbox for stage in stages])
    return Plan(args=args, stages=stages, own=own, patches=open_patches(args))


def run(plan: Plan) -> Results:
    """Measure, write the results, and return them."""
    rows = [on_severity(severity, plan) for severity in track("severities", PAPER_SEVERITIES)]
    rows += [on_own_task(tool, plan) for tool in track("tools", list(plan.own))]
    return write_results("joint", plan.args, describe, labels=[stage.label for stage in plan.stages], rows=rows)


def main(args: Args) -> Results:
    """Measure the stages, write the results, and return them."""
    return run(plan(args))


def on_severity(severity: str, plan: Plan) -> dict[str, Any]:
    """Return what every stage's agent reaches with its tools; a rival comes last in the lists."""
    pairs = plan.patches.draw(severity)
    found = [stage.evaluate(pairs) for stage in plan.stages]
    gains = [gains_of(result) for result in found]
    made = gains[:-1] if plan.args.rival else gains
    rises = [mean_difference(before, after, pairs.photos) for before, after in pairwise(made)]
    return {
        "severity": severity,
        "psnr_in": found[0].psnr_in,
        "psnr_out": [result.psnr_out for result in found],
        "gain_95": [half_interval(values, pairs.photos) for values in gains],
        "ssim_out": [result.ssim_out for result in found],
        "ssim_95": [half_interval([image.ssim_out for image in result.images], pairs.photos) for result in found],
        "rise": [rise for rise, _ in rises],
        "rise_95": [half for _, half in rises],
        "over_rival": mean_difference(gains[-1], made[-1], pairs.photos) if plan.args.rival else None,
    }


def on_own_task(tool: str, plan: Plan) -> dict[str, Any]:
    """Return what every stage's tool of that name reaches on its own task, slight noise and JPEG added."""
    pairs = plan.patches.draw(MixedDistortion([plan.own[tool], *SLIGHT]))
    return {"tool": tool, **compare_tools(tool, [stage.toolbox for stage in plan.stages], pairs)}


def describe(results: Results) -> Blocks:
    """Return the paragraphs and tables of the report."""
    options, labels, rows = results["options"], results["labels"], results["rows"]
    return [
        "# Tools trained alone, robustly and jointly",
        f"{options['n']} patches of 63x63 a severity, seed {options['seed']}. PSNR in dB, ± half the width of the 95% "
        "interval of the mean gain, clustered by photo, and SSIM, ± that of its mean; in brackets the rise of the PSNR "
        "over the stage before, with its own.",
        table_of([severity_cells(row, labels) for row in rows if "severity" in row]),
        "## Each tool's own task",
        "PSNR in dB; distorted by what the tool was first made for, then by slight noise and JPEG.",
        table_of([{"tool": row["tool"], **psnr_cells(row, labels)} for row in rows if "tool" in row]),
    ]


def severity_cells(row: Mapping[str, Any], labels: Sequence[str]) -> dict[str, str]:
    """Return the cells of one severity by the heads of their columns."""
    rises = ["", *(f" ({by:+.3f} ± {half:.3f})" for by, half in zip(row["rise"], row["rise_95"], strict=True))]
    rises += [""] * (len(labels) - len(rises))  # a rival has no stage before it
    columns = zip(row["psnr_out"], row["gain_95"], row["ssim_out"], row["ssim_95"], rises, strict=True)
    texts = [f"{psnr:.2f} ± {by:.2f}, {ssim:.3f} ± {half:.3f}{rise}" for psnr, by, ssim, half, rise in columns]
    cells = {"severity": row["severity"], "input": f"{row['psnr_in']:.2f}", **dict(zip(labels, texts, strict=True))}
    if row["over_rival"]:
        cells[f"{labels[-2]} over {labels[-1]}"] = "{:+.3f} ± {:.3f}".format(*row["over_rival"])
    return cells


if __name__ == "__main__":
    run_program(main, Args)

"""Measure each tool on its own task, beside another toolbox's tool of the same name, and all tools on all tasks.

    python -m benchmarks.toolbox --photos valid/ --output toolbox.json --beside imported/toolbox

PSNR is that of what the tools compute, neither clipped nor rounded, as in the environment.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from matplotlib.axes import Axes

from benchmarks.common.patches import PatchArgs, PatchSet, open_patches
from benchmarks.common.plots import bars, heat_map, save_figure
from benchmarks.common.report import Results, check_output, table_of, track, write_results
from benchmarks.common.tool_tasks import compare_tools, first_two_differ, means, own_distortions, psnr_along, psnr_cells
from restore_env import Pairs, Toolbox, load_toolbox
from restore_env.constants import DEFAULT_TOOLBOX
from restore_env.data.distortions import Distortion, MixedDistortion
from restore_env.training.model_card import Blocks
from restore_env.training.program import run_program
from restore_env.utils.checks import Count, Text
from restore_env.utils.files import Paths
from tools.specs import DISTORTIONS, SLIGHT

ORDER: Final = tuple(DISTORTIONS.values())
"""The order in which distortions happen to a photo."""

TASKS: Final = {
    "task": (
        "Own task",
        "Distorted by what the tool is made for, then by slight noise (standard deviation 0 to 5) and slight JPEG "
        "(quality 80 to 100).",
    ),
    "alone": ("Own distortion alone", "Distorted by what the tool is made for and nothing else."),
}
"""Title and description of what each tool is measured on, by the key in the results."""

MIDDLE: Final = (
    "Distorted by what the tool is made for and by what a tool for another distortion is made for; that other tool was "
    "applied first (all of them equally often, each toolbox's own), then the tool."
)


@dataclass(kw_only=True)
class Args(PatchArgs):
    """Measure each tool on its own task, and every tool on every task."""

    toolbox: Text = DEFAULT_TOOLBOX
    """Name or folder of the toolbox."""
    beside: str = ""
    """Name or folder of another toolbox with tools of the same names, such as the authors'."""
    n_map: Count = 128
    """How many of the patches of each task are used for the map of every tool on every task."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is measured: toolboxes, patches, and the distortion that each tool is made for."""

    args: Args
    toolboxes: Sequence[Toolbox]
    own: Mapping[str, Distortion]
    patches: PatchSet


def plan(args: Args) -> Plan:
    """Check the options and open what they name.

    Raises:
        ValueError: if an option is wrong, or the toolboxes do not fit each other.
    """
    inputs: dict[str, Paths] = {"--photos": args.photos, "--toolbox": args.toolbox, "--beside": args.beside}
    check_output(args.output, inputs, ".png", "-map.png")
    toolboxes = [load_toolbox(name) for name in (args.toolbox, args.beside) if name]
    return Plan(args=args, toolboxes=toolboxes, own=own_distortions(toolboxes), patches=open_patches(args))


def run(plan: Plan) -> Results:
    """Measure, write the results with their plots, and return them."""
    rows = [measure(name, plan) for name in track("tools", list(plan.own))]
    names, output = [toolbox.name for toolbox in plan.toolboxes], plan.args.output
    results = write_results("toolbox", plan.args, describe, toolboxes=names, rows=rows)
    gains, labels = {row["tool"]: row["map"] for row in rows}, ("tool applied", "task", "gain (dB)")
    save_figure(output.with_suffix(".png"), (8, 4), lambda axes: plot_gains(axes, results))
    save_figure(output.with_name(f"{output.stem}-map.png"), (7, 6), lambda axes: heat_map(axes, gains, labels))
    return results


def main(args: Args) -> Results:
    """Measure the tools, write the results, and return them."""
    return run(plan(args))


def measure(name: str, plan: Plan) -> dict[str, Any]:
    """Return all that is measured of one tool, and of the tool of the same name in the other toolbox."""
    own = plan.own[name]
    task = plan.patches.draw(MixedDistortion([own, *SLIGHT]))
    return {
        "tool": name,
        "task": compare_tools(name, plan.toolboxes, task),
        "alone": compare_tools(name, plan.toolboxes, plan.patches.draw(own)),
        "middle": middle_states(name, plan),
        "map": gains_on(task.first(plan.args.n_map), plan),
    }


def gains_on(pairs: Pairs, plan: Plan) -> dict[str, float]:
    """Return the mean gain in dB of each tool of the first toolbox on some patches."""
    values = {tool: psnr_along(plan.toolboxes[:1], [tool], pairs)[0] for tool in plan.own}
    return {tool: float((after - before).mean()) for tool, (before, after) in values.items()}


def middle_states(name: str, plan: Plan) -> dict[str, Any]:
    """Return what one tool reaches on what the tools for other distortions leave behind.

    Patches are distorted by what the tool is made for and by what another tool is made for. Then the other tool is
    applied, each toolbox's own, and then the tool. All tools for other kinds of distortion take equal parts in it.

    Returns:
        Mean PSNR in dB of the patches, and for each toolbox after the other tool and after both.
    """
    own, n = plan.own[name], plan.patches.n
    others = [other for other, distortion in plan.own.items() if type(distortion) is not type(own)][:n]
    if not others:
        return {}
    parts, photos = [], list[int | None]()
    for number, other in enumerate(others):
        distortions = sorted((own, plan.own[other]), key=lambda item: ORDER.index(type(item)))
        pairs = plan.patches.draw(MixedDistortion(distortions), range(number, n, len(others)))
        photos += pairs.photos
        parts.append(psnr_along(plan.toolboxes, [other, name], pairs))
    before, between, after = torch.cat(parts, dim=2).unbind(1)  # (toolboxes, 3, n) -> three (toolboxes, n)
    return {
        "psnr_in": float(before[0].mean()),
        "psnr_between": means(between),
        "psnr_out": means(after),
        "gain": means(after - between),
        **first_two_differ(after, photos),
    }


def describe(results: Results) -> Blocks:
    """Return the paragraphs and tables of the report."""
    options, rows, names = results["options"], results["rows"], results["toolboxes"]
    stem = Path(options["output"]).stem
    blocks: Blocks = [
        f"# The tools of {names[0]}" + (f" beside those of {names[1]}" if len(names) > 1 else ""),
        f"PSNR in dB, mean over {options['n']} patches of 63x63 a task, seed {options['seed']}; ± half the 95% "
        "interval of the mean difference, clustered by photo.",
    ]
    for key, (title, what) in TASKS.items():
        blocks += [f"## {title}", what, tool_table(rows, key, names, psnr_cells)]
    if all(row["middle"] for row in rows):
        blocks += ["## Middle states", MIDDLE, tool_table(rows, "middle", names, middle_cells)]
    return [
        *blocks,
        "## Every tool on every task",
        f"![Map of gains]({stem}-map.png)",
        f"Gain in dB on the first {options['n_map']} patches of each tool's own task; the JSON file has the numbers.",
        f"![Gains]({stem}.png)",
    ]


def tool_table(
    rows: Sequence[Mapping[str, Any]], key: str, names: Sequence[str], cells: Callable[..., dict[str, str]]
) -> list[str]:
    """Return a table with one row for each tool, and their mean.

    Args:
        rows: of the results.
        key: what of each row is shown.
        names: of the toolboxes.
        cells: returns the cells between the tool's name and the difference, by the heads of their columns.
    """
    items = {row["tool"]: row[key] for row in rows}
    mean = {name: np.mean([item[name] for item in items.values()], axis=0) for name in next(iter(items.values()))}
    lines = {tool: cells(item, names) for tool, item in items.items()} | {"**mean**": cells(mean, names)}
    if "difference" in mean:
        for tool, item in items.items():
            lines[tool]["difference"] = f"{item['difference']:+.3f} ± {item['difference_95']:.3f}"
        lines["**mean**"]["difference"] = f"**{mean['difference']:+.3f}**"
    return table_of([{"tool": tool, **line} for tool, line in lines.items()])


def middle_cells(item: Mapping[str, Any], names: Sequence[str]) -> dict[str, str]:
    """Return the PSNR of the patches, and for each toolbox after the first tool, after both, and the gain."""
    cells = {"input": f"{item['psnr_in']:.2f}"}
    for name, between, after, gain in zip(names, item["psnr_between"], item["psnr_out"], item["gain"], strict=True):
        cells[f"{name}: after the first"] = f"{between:.2f}"
        cells[f"{name}: after both"] = f"{after:.2f}"
        cells[f"{name}: gain"] = f"{gain:+.2f}"
    return cells


def plot_gains(axes: Axes, results: Results) -> None:
    """Plot each toolbox's gain on each task."""
    tasks = {row["tool"]: row["task"] for row in results["rows"]}
    gains = {
        name: [task["psnr_out"][place] - task["psnr_in"] for task in tasks.values()]
        for place, name in enumerate(results["toolboxes"])
    }
    bars(axes, list(tasks), gains, "gain on the own task (dB)")


if __name__ == "__main__":
    run_program(main, Args)

"""Each tool on its own task, beside another toolbox's tool of the same name, and every tool on every task.

    python -m benchmarks.toolbox --photos valid/ --output toolbox.json --beside imported/toolbox

PSNR is measured on what tools compute, neither clipped nor rounded, as the environment does between them.
"""

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any, Final

import torch
import tyro
from torch import Tensor

from benchmarks.common.plots import bars, heat_map, save_figure
from benchmarks.common.report import check_output, mean_rise, results_of, write_results
from restore_env.constants import DEFAULT_TOOLBOX
from restore_env.data.distortions import Distortion, MixedDistortion
from restore_env.data.pairs import Pairs
from restore_env.data.photos import FolderPhotos
from restore_env.data.sampling import PatchSampler
from restore_env.data.sources import draw_pairs
from restore_env.restoration.metrics import psnr
from restore_env.toolbox import Tool, Toolbox, load_toolbox
from restore_env.training.program import run_program
from restore_env.utils.checks import check_whole
from restore_env.utils.progress import progress_bar
from tools.single.pool import pairs_to_tensors
from tools.specs import DISTORTIONS, SLIGHT, distortion_of

ORDER: Final = tuple(DISTORTIONS)
"""In which order distortions befall a photo."""


@dataclass
class Args:
    """Each tool on its own task, and every tool on every task."""

    photos: Path
    """Folder of clean photos that no tool was trained on."""
    output: Path
    """Results to write, ending in .json; a table and two plots are written beside it."""
    toolbox: str = DEFAULT_TOOLBOX
    """Name or folder of the toolbox."""
    beside: str = ""
    """Name or folder of another toolbox with tools of the same names, such as the authors'."""
    n: int = 512
    """Patches a task."""
    n_map: int = 128
    """Patches a task for the map of every tool on every task, the first of them."""
    seed: int = 0
    """Seed of the patches."""
    data: str = "not stated"
    """What the photos are, for the record."""


def main(args: Args) -> dict[str, Any]:
    """Measure, write the results with their plots, and return them."""
    for name in ("n", "n_map"):
        check_whole(name, getattr(args, name), 1)
    check_output(args.output)
    toolboxes = [load_toolbox(name) for name in (args.toolbox, args.beside) if name]
    tools = measurable(toolboxes)
    photos = FolderPhotos(args.photos)
    with progress_bar("tools") as report:
        rows = []
        for number, name in enumerate(tools):
            rows.append(measure(name, tools, toolboxes, photos, args))
            report((number + 1) / len(tools))
    results = results_of(args, toolboxes=[toolbox.name for toolbox in toolboxes], rows=rows)
    write_results(results, args.output, "toolbox", text(results))
    save_figure(args.output.with_suffix(".png"), lambda axes: plot_gains(axes, results), (8, 4))
    save_figure(args.output.with_name(f"{args.output.stem}-map.png"), lambda axes: plot_map(axes, results), (7, 6))
    return results


def measurable(toolboxes: Sequence[Toolbox]) -> list[str]:
    """Names of the tools that are made for a known distortion.

    Raises:
        ValueError: if there is none, or another toolbox lacks one of them.
    """
    names = [tool.name for tool in toolboxes[0] if tool.removes in DISTORTIONS and tool.interval]
    if not names:
        raise ValueError(f"toolbox={toolboxes[0].name!r} says of no tool which {', '.join(DISTORTIONS)} it removes")
    for toolbox in toolboxes[1:]:
        missing = [name for name in names if name not in toolbox.names]
        if missing:
            raise ValueError(f"the toolbox {toolbox.name!r} has no tool {missing[0]!r}")
    return names


def measure(
    name: str, tools: Sequence[str], toolboxes: Sequence[Toolbox], photos: FolderPhotos, args: Args
) -> dict[str, Any]:
    """All that is measured of one tool, and of that of the same name in each toolbox."""
    own = own_distortion(toolboxes[0][toolboxes[0].names.index(name)])

    def draw(*chain: Distortion, numbers: range = range(args.n)) -> Pairs:
        return draw_pairs(PatchSampler(photos, MixedDistortion(chain)), numbers, args.seed)

    task = draw(own, *SLIGHT)
    first = pairs_to_tensors(task.first(args.n_map))
    return {
        "tool": name,
        "task": compared(toolboxes, task, lambda toolbox, images: applied(toolbox, name, images)),
        "alone": compared(toolboxes, draw(own), lambda toolbox, images: applied(toolbox, name, images)),
        "middle": middle_states(name, tools, toolboxes, draw, args.n),
        "map": {
            tool: float((psnr(applied(toolboxes[0], tool, first[0]), first[1]) - psnr(*first)).mean()) for tool in tools
        },
    }


def middle_states(
    name: str, tools: Sequence[str], toolboxes: Sequence[Toolbox], draw: Callable[..., Pairs], n: int
) -> dict[str, Any]:
    """One tool on what the tools for other distortions leave behind.

    Patches are distorted by what the tool is made for and by what another is made for; then the other is applied, each
    toolbox's own, and then the tool. All tools for other kinds of distortion take equal parts in it.
    """
    own = own_distortion(toolboxes[0][toolboxes[0].names.index(name)])
    others = [tool for tool in toolboxes[0] if tool.name in tools and kind(own_distortion(tool)) != kind(own)]
    if not others:
        return {}
    parts, cut_from = [], list[Hashable]()
    for number, other in enumerate(others):
        chain = sorted((own, own_distortion(other)), key=lambda item: ORDER.index(kind(item)))
        pairs = draw(*chain, numbers=range(number, n, len(others)))
        cut_from += pairs.photos
        images, reference = pairs_to_tensors(pairs)
        states = [applied(toolbox, other.name, images) for toolbox in toolboxes]
        parts.append(
            [
                (psnr(images, reference), psnr(state, reference), psnr(applied(toolbox, name, state), reference))
                for toolbox, state in zip(toolboxes, states, strict=True)
            ]
        )
    columns = [[torch.cat(column) for column in zip(*rows, strict=True)] for rows in zip(*parts, strict=True)]
    gains = [after - between for _, between, after in columns]
    return {
        "psnr_in": float(columns[0][0].mean()),
        "psnr_between": [float(column[1].mean()) for column in columns],
        "psnr_out": [float(column[2].mean()) for column in columns],
        "gain": [float(gain.mean()) for gain in gains],
        **difference([column[2] for column in columns], cut_from),
    }


def compared(
    toolboxes: Sequence[Toolbox], task: Pairs, restored: Callable[[Toolbox, Tensor], Tensor]
) -> dict[str, Any]:
    """PSNR in dB of a task's patches, and after each toolbox; the difference of the first two, with its interval."""
    images, reference = pairs_to_tensors(task)
    after = [psnr(restored(toolbox, images), reference) for toolbox in toolboxes]
    means = [float(item.mean()) for item in after]
    return {"psnr_in": float(psnr(images, reference).mean()), "psnr_out": means, **difference(after, task.photos)}


def difference(after: Sequence[Tensor], photos: Sequence[Hashable]) -> dict[str, float]:
    """Mean of the first minus the second in dB, and half its 95% interval; paired, as the patches are the same."""
    if len(after) < 2:
        return {}
    by, half = mean_rise(after[1].tolist(), after[0].tolist(), photos)
    return {"difference": by, "difference_95": half}


def applied(toolbox: Toolbox, tool: str, images: Tensor) -> Tensor:
    """The images after a tool."""
    return toolbox.apply(images, torch.full((len(images),), toolbox.names.index(tool)))


def own_distortion(tool: Tool) -> Distortion:
    """What a tool is made for."""
    assert tool.interval is not None  # `measurable` leaves the others out
    return distortion_of(tool.name, tool.removes, tool.interval)


def kind(distortion: Distortion) -> str:
    """The name of a distortion."""
    return next(name for name, kind in DISTORTIONS.items() if type(distortion) is kind)


def text(results: dict[str, Any]) -> str:
    """The results as Markdown."""
    options, rows, names = results["options"], results["rows"], results["toolboxes"]
    tables = (
        (
            "Own task",
            "task",
            "Distorted by what the tool is made for, then by slight noise (standard deviation 0 to 5) and slight JPEG "
            "(quality 80 to 100).",
        ),
        ("Own distortion alone", "alone", "Distorted by what the tool is made for and nothing else."),
    )
    lines = [
        f"# The tools of {names[0]}" + (f" beside those of {names[1]}" if len(names) > 1 else ""),
        "",
        f"PSNR in dB, mean over {options['n']} patches of 63x63 a task, seed {options['seed']}; ± half the 95% "
        "interval of the mean difference, clustered by photo.",
    ]
    for title, key, what in tables:
        lines += ["", f"## {title}", "", what, "", *_table(rows, key, names)]
    if all(row["middle"] for row in rows):
        lines += [
            "",
            "## Middle states",
            "",
            "Distorted by what the tool is made for and by what a tool for another distortion is made for; that other "
            "tool was applied first (all of them equally often, each toolbox's own), then the tool.",
            "",
            *_middle_table(rows, names),
        ]
    lines += [
        "",
        "## Every tool on every task",
        "",
        f"![Map of gains]({Path(options['output']).stem}-map.png)",
        "",
        f"Gain in dB on the first {options['n_map']} patches of each tool's own task; the JSON file has the numbers.",
        "",
        f"![Gains]({Path(options['output']).stem}.png)",
        "",
    ]
    return "\n".join(lines)


def _table(rows: Sequence[dict[str, Any]], key: str, names: Sequence[str]) -> Iterator[str]:
    """One row a tool, and their mean."""
    both = len(names) > 1
    yield "| tool | input | " + " | ".join(names) + " |" + (" difference |" if both else "")
    yield "| --- " * (len(names) + 2 + both) + "|"
    for row in rows:
        item = row[key]
        cells = [item["psnr_in"], *item["psnr_out"]]
        yield f"| {row['tool']} | {_cells(cells)} |" + (_difference(item) if both else "")
    means = [mean(row[key]["psnr_in"] for row in rows)]
    means += [mean(row[key]["psnr_out"][place] for row in rows) for place in range(len(names))]
    by = f" **{mean(row[key]['difference'] for row in rows):+.3f}** |" if both else ""
    yield f"| **mean** | {_cells(means)} |{by}"


def _middle_table(rows: Sequence[dict[str, Any]], names: Sequence[str]) -> Iterator[str]:
    both = len(names) > 1
    heads = [f"{name}: {what}" for name in names for what in ("after the first", "after both", "gain")]
    yield "| tool | input | " + " | ".join(heads) + " |" + (" difference after both |" if both else "")
    yield "| --- " * (len(heads) + 2 + both) + "|"
    for row in rows:
        item = row["middle"]
        cells = [
            f"{between:.2f} | {after:.2f} | {gain:+.2f}"
            for between, after, gain in zip(item["psnr_between"], item["psnr_out"], item["gain"], strict=True)
        ]
        yield f"| {row['tool']} | {item['psnr_in']:.2f} | {' | '.join(cells)} |" + (_difference(item) if both else "")
    means = [
        f"{mean(row['middle']['psnr_between'][place] for row in rows):.2f} | "
        f"{mean(row['middle']['psnr_out'][place] for row in rows):.2f} | "
        f"{mean(row['middle']['gain'][place] for row in rows):+.2f}"
        for place in range(len(names))
    ]
    by = f" **{mean(row['middle']['difference'] for row in rows):+.3f}** |" if both else ""
    yield f"| **mean** | {mean(row['middle']['psnr_in'] for row in rows):.2f} | {' | '.join(means)} |{by}"


def _cells(values: Sequence[float]) -> str:
    return " | ".join(f"{value:.2f}" for value in values)


def _difference(item: dict[str, float]) -> str:
    return f" {item['difference']:+.3f} ± {item['difference_95']:.3f} |"


def plot_gains(axes: Any, results: dict[str, Any]) -> None:
    """Each toolbox's gain on each task."""
    rows = results["rows"]
    gains = {
        name: [row["task"]["psnr_out"][place] - row["task"]["psnr_in"] for row in rows]
        for place, name in enumerate(results["toolboxes"])
    }
    bars(axes, [row["tool"] for row in rows], gains, "gain on the own task (dB)")


def plot_map(axes: Any, results: dict[str, Any]) -> None:
    """The gain of every tool on every task."""
    tools = [row["tool"] for row in results["rows"]]
    gains = [[row["map"][tool] for tool in tools] for row in results["rows"]]
    heat_map(axes, gains, tools, tools, "tool applied", "task", "gain (dB)")


if __name__ == "__main__":
    run_program(lambda: main(tyro.cli(Args)))

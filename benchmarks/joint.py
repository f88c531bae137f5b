"""What robust and joint training of the tools bring, one after the other (paper, Table 5).

    python -m benchmarks.joint --photos valid/ --output joint.json \
        --stages original=agents/original@toolboxes/original separate=drqn@rl-restore-12-separate

Each stage is a toolbox with the agent that was trained or refreshed on it; patches are the same for all.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from benchmarks.common.report import check_output, half_interval, mean_rise, results_of, write_results
from benchmarks.policies import SEVERITIES, Contender, contender, gains_of
from benchmarks.toolbox import applied, compared, measurable, own_distortion
from restore_env.constants import DEFAULT_TOOLBOX
from restore_env.data.distortions import MixedDistortion, as_distortion
from restore_env.data.photos import FolderPhotos
from restore_env.data.sampling import PatchSampler
from restore_env.data.sources import draw_pairs
from restore_env.evaluation import evaluate
from restore_env.toolbox import load_toolbox
from restore_env.training.program import run_program
from restore_env.utils.checks import check_whole
from restore_env.utils.progress import progress_bar
from tools.specs import SLIGHT


@dataclass
class Args:
    """What robust and joint training of the tools bring, one after the other."""

    photos: Path
    """Folder of clean photos that nothing was trained on."""
    output: Path
    """Results to write, ending in .json; the tables are written beside it as .md."""
    stages: tuple[str, ...]
    """LABEL=POLICY@TOOLBOX each, in the order of their making; names or folders."""
    rival: str = ""
    """LABEL=POLICY@TOOLBOX of another system, which the last stage is compared with."""
    n: int = 512
    """Patches a severity, and a tool's own task."""
    seed: int = 0
    """Seed of the patches."""
    data: str = "not stated"
    """What the photos are, for the record."""


def main(args: Args) -> dict[str, Any]:
    """Measure, write the results, and return them."""
    check_whole("n", args.n, 1)
    if not args.stages:
        raise ValueError("stages: none are given; LABEL=POLICY@TOOLBOX is one")
    check_output(args.output)
    toolbox = load_toolbox(DEFAULT_TOOLBOX)
    stages = [contender(text, toolbox) for text in (*args.stages, *filter(None, [args.rival]))]
    twice = [label for label, count in Counter(stage.label for stage in stages).items() if count > 1]
    if twice:
        raise ValueError(f"stages: two are called {twice[0]!r}; give each a LABEL= of its own")
    photos = FolderPhotos(args.photos)
    work: list[tuple[Callable[..., dict[str, Any]], str]] = [(on_severity, severity) for severity in SEVERITIES]
    work += [(own_task, tool) for tool in measurable([stage.toolbox for stage in stages])]
    rows = []
    with progress_bar("joint") as report:
        for number, (measure, item) in enumerate(work):
            rows.append(measure(item, stages, photos, args))
            report((number + 1) / len(work))
    results = results_of(args, labels=[stage.label for stage in stages], rows=rows)
    write_results(results, args.output, "joint", text(results))
    return results


def on_severity(severity: str, stages: Sequence[Contender], photos: FolderPhotos, args: Args) -> dict[str, Any]:
    """What every stage's agent reaches with its tools, and a rival's at the end of the lists."""
    pairs = draw_pairs(PatchSampler(photos, as_distortion(severity)), args.n, args.seed)
    found = [evaluate(pairs, stage.policy, stage.toolbox) for stage in stages]
    gains = [gains_of(result) for result in found]
    made = gains[:-1] if args.rival else gains
    steps = [mean_rise(before, after, pairs.photos) for before, after in zip(made, made[1:], strict=False)]
    return {
        "severity": severity,
        "psnr_in": found[0].psnr_in,
        "psnr_out": [result.psnr_out for result in found],
        "gain_95": [half_interval(values, pairs.photos) for values in gains],
        "ssim_out": [result.ssim_out for result in found],
        "ssim_95": [half_interval([image.ssim_out for image in result.images], pairs.photos) for result in found],
        "rise": [rise for rise, _ in steps],
        "rise_95": [half for _, half in steps],
        "over_rival": mean_rise(gains[-1], made[-1], pairs.photos) if args.rival else None,
    }


def own_task(name: str, stages: Sequence[Contender], photos: FolderPhotos, args: Args) -> dict[str, Any]:
    """What every stage's tool of that name reaches on its own task, slight noise and JPEG added."""
    toolboxes = [stage.toolbox for stage in stages]
    own = own_distortion(toolboxes[0][toolboxes[0].names.index(name)])
    sampler = PatchSampler(photos, MixedDistortion([own, *SLIGHT]))
    task = draw_pairs(sampler, args.n, args.seed)
    return {"tool": name, **compared(toolboxes, task, lambda toolbox, images: applied(toolbox, name, images))}


def text(results: dict[str, Any]) -> str:
    """The results as Markdown."""
    options, labels = results["options"], results["labels"]
    over = f"{labels[-2]} over {labels[-1]}" if options["rival"] else ""
    severities = [row for row in results["rows"] if "severity" in row]
    tools = [row for row in results["rows"] if "tool" in row]
    lines = [
        "# Tools trained alone, robustly and jointly",
        "",
        f"{options['n']} patches of 63x63 a severity, seed {options['seed']}. PSNR in dB, ± half the width of the 95% "
        "interval of the mean gain, clustered by photo, and SSIM, ± that of its mean; in brackets the rise of the PSNR "
        "over the stage before, with its own.",
        "",
        f"| severity | input | {' | '.join(labels)} |{f' {over} |' if over else ''}",
        f"| --- | --- | {' | '.join('---' for _ in labels)} |{' --- |' if over else ''}",
    ]
    for row in severities:
        rises = ["", *(f" ({by:+.3f} ± {half:.3f})" for by, half in zip(row["rise"], row["rise_95"], strict=True))]
        rises += [""] * (len(labels) - len(rises))
        columns = zip(row["psnr_out"], row["gain_95"], row["ssim_out"], row["ssim_95"], rises, strict=True)
        cells = [f"{psnr:.2f} ± {by:.2f}, {ssim:.3f} ± {half:.3f}{rise}" for psnr, by, ssim, half, rise in columns]
        cells += ["{:+.3f} ± {:.3f}".format(*row["over_rival"])] if over else []
        lines.append(f"| {row['severity']} | {row['psnr_in']:.2f} | {' | '.join(cells)} |")
    lines += [
        "",
        "## Each tool's own task",
        "",
        "PSNR in dB; distorted by what the tool was first made for, then by slight noise and JPEG.",
        "",
        f"| tool | input | {' | '.join(labels)} |",
        f"| --- | --- | {' | '.join('---' for _ in labels)} |",
    ]
    for row in tools:
        lines.append(f"| {row['tool']} | {row['psnr_in']:.2f} | {' | '.join(f'{x:.2f}' for x in row['psnr_out'])} |")
    return "\n".join(lines)


if __name__ == "__main__":
    run_program(lambda: main(tyro.cli(Args)))

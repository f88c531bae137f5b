"""Every policy without training of its own, on one toolbox, for the three severities.

    python -m benchmarks.baselines --photos valid/ --train-photos train/ --output baselines.json \
        --toolbox imported/toolbox --policy imported/policy

The fixed toolchains are searched on patches of the training photos, for each severity anew, and measured on the others.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from agents.search_toolchain import search
from benchmarks.report import half_interval, results_of, write_results
from restore_env.constants import DEFAULT_TOOLBOX, MAX_STEPS
from restore_env.distortions import as_distortion
from restore_env.evaluation import Evaluation, evaluate, share_of_best
from restore_env.images import FolderPhotos
from restore_env.pairs import Pairs, PatchSampler, draw_pairs
from restore_env.policies import Policy, Yardstick, load_policy
from restore_env.progress import progress_bar
from restore_env.toolbox import Toolbox, load_toolbox
from tools.program import run_program

SEVERITIES = ("mild", "moderate", "severe")


@dataclass
class Args:
    """Every policy without training of its own, on one toolbox, for the three severities."""

    photos: Path
    """Folder of clean photos to measure on."""
    train_photos: Path
    """Folder of other clean photos, on which the fixed toolchains are searched."""
    output: Path
    """Results to write, ending in .json; the table is written beside it as .md."""
    toolbox: str = DEFAULT_TOOLBOX
    """Name or folder of a toolbox."""
    policy: tuple[str, ...] = ()
    """Names or folders of more policies to measure."""
    n: int = 512
    """Patches a severity."""
    n_oracle: int = 64
    """Patches a severity, the first of them, on which the best toolchain is found."""
    n_search: int = 96
    """Patches a severity of the training photos on which the fixed toolchains are searched."""
    beam: int = 12
    """How many toolchains of one length the search makes longer."""
    seed: int = 0
    """Seed of the patches."""
    data: str = "not stated"
    """What the photos are, for the record."""


def main(args: Args) -> dict[str, Any]:
    """Measure, write the results, and return them."""
    toolbox = load_toolbox(args.toolbox)
    rows = [row for severity in SEVERITIES for row in measure(severity, toolbox, args)]
    results = results_of(args, toolbox=toolbox.name, rows=rows)
    write_results(results, args.output, "baselines", table(results))
    return results


def measure(severity: str, toolbox: Toolbox, args: Args) -> Iterator[dict[str, Any]]:
    """The rows of one severity."""
    distortion = as_distortion(severity)
    pairs = draw_pairs(PatchSampler(FolderPhotos(args.photos), distortion), args.n, args.seed)
    oracle = find_best(pairs.first(args.n_oracle), toolbox)
    for policy in policies(severity, toolbox, args):
        yield row(severity, evaluate(pairs, policy, toolbox), oracle)
    yield row(severity, oracle, oracle)


def policies(severity: str, toolbox: Toolbox, args: Args) -> Iterator[Policy | Yardstick]:
    """What is measured on all patches; the fixed toolchains are searched now."""
    photos = PatchSampler(FolderPhotos(args.train_photos), as_distortion(severity))
    known = draw_pairs(photos, args.n_search, args.seed)
    yield from (load_policy(name, toolbox) for name in ("stop", "random"))
    yield search(toolbox, known, 1, 0, "best single tool")
    yield search(toolbox, known, MAX_STEPS, args.beam, "best fixed toolchain")
    yield from (load_policy(name, toolbox) for name in (*args.policy, "greedy"))


def find_best(pairs: Pairs, toolbox: Toolbox) -> Evaluation:
    """The oracle's results, with a progress bar."""
    with progress_bar("oracle") as progress:
        return evaluate(pairs, "oracle", toolbox, progress=progress)


def row(severity: str, result: Evaluation, oracle: Evaluation) -> dict[str, Any]:
    """One row of the table: means over the patches, half the width of the gain's 95% interval, the oracle's share."""
    gains = [image.psnr_out - image.psnr_in for image in result.images]
    chains = {image.toolchain for image in result.images}
    return {
        "severity": severity,
        "policy": result.policy,
        "n": result.n,
        "toolchain": next(iter(chains)) if len(chains) == 1 else None,
        "psnr_in": result.psnr_in,
        "psnr_out": result.psnr_out,
        "ssim_in": result.ssim_in,
        "ssim_out": result.ssim_out,
        "gain": result.gain,
        "gain_95": half_interval(gains),
        "share_of_oracle": share_of_best(result, oracle),
        "steps": result.steps,
        "tool_ratio": result.tool_ratio,
        "seconds": result.seconds,
    }


def table(results: dict[str, Any]) -> str:
    """The results as Markdown."""
    options = results["options"]
    lines = [
        f"# Baselines with the toolbox {results['toolbox']}",
        "",
        f"{options['n']} patches a severity ({options['n_oracle']} for the oracle, and for every policy's share of its "
        f"gain), seed {options['seed']}. PSNR in dB,",
        "± half the width of the 95% interval of the mean gain. Greedy and oracle know the reference. The fixed",
        f"toolchains were found on {options['n_search']} patches a severity of the training photos.",
        "",
        "| severity | policy | n | PSNR | gain | SSIM | share of the oracle's gain | tools |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for item in results["rows"]:
        chain = f" ({', '.join(item['toolchain'])})" if item["toolchain"] else ""
        lines.append(
            f"| {item['severity']} | {item['policy']}{chain} | {item['n']} | {item['psnr_out']:.2f} | "
            f"{item['gain']:+.2f} ± {item['gain_95']:.2f} | {item['ssim_out']:.4f} | {item['share_of_oracle']:.0%} | "
            f"{item['steps']:.2f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    run_program(lambda: main(tyro.cli(Args)))

"""How fast recurrent agents learn: PSNR against minutes of training, for the presets and for one change at a time.

    python -m benchmarks.learning --photos train/ --output learning.json --variants fast no-double

Run it while nothing else runs: what fits into a minute is what is compared. Stopped at any moment, the same command
goes on from the checkpoints.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any, Final

import tyro
from matplotlib.axes import Axes

from agents import train_drqn
from agents.data import draw_validation, sources
from agents.history import history_in
from agents.options import PRESETS, Options
from benchmarks.plots import curves, save_figure
from benchmarks.policies import contender
from benchmarks.report import check_output, results_of, write_results
from restore_env.checks import check_choice
from restore_env.constants import DEFAULT_TOOLBOX
from restore_env.evaluation import evaluate
from restore_env.files import make_folders
from restore_env.toolbox import load_toolbox
from tools.program import run_program

FAST: Final = PRESETS["fast"]

PLAIN: Final = replace(
    FAST, targets="taken", tries=0, decision=0.0, perception=0.0, statistics=False, dropout=0.0
)

VARIANTS: Final[dict[str, Options]] = {
    "plain": PLAIN,
    "plain-tries": replace(PLAIN, targets="all", tries=3),
    "plain-tries-decision": replace(PLAIN, targets="all", tries=3, decision=1.0),
    "plain-perception": replace(PLAIN, perception=10.0),
    "plain-statistics": replace(PLAIN, statistics=True),
    "plain-dropout": replace(PLAIN, dropout=0.2),
    **{name: PRESETS[name] for name in ("fast", "paper", "released-code")},
    "targets-taken": replace(FAST, targets="taken", tries=0, decision=0.0),
    "try-all": replace(FAST, tries=0),
    "try-evenly": replace(FAST, try_temperature=0.0),
    "no-decision": replace(FAST, decision=0.0),
    "squared": replace(FAST, loss="squared"),
    "unscaled": replace(FAST, scaled=False),
    "no-statistics": replace(FAST, statistics=False),
    "no-dropout": replace(FAST, dropout=0.0),
    "adam": replace(FAST, optimizer="adam"),
    "adam-1e-3": replace(FAST, optimizer="adam", learning_rate=1e-3),
    "no-average": replace(FAST, average=0.0),
    "no-augment": replace(FAST, augment=False, shift=0),
    "no-shift": replace(FAST, shift=0),
    "no-perception": replace(FAST, perception=0.0),
    "no-double": replace(FAST, double=False),
    "dueling": replace(FAST, dueling=True),
    "3-step": replace(FAST, n_step=3),
    "priority": replace(FAST, priority=0.6),
    "singles": replace(FAST, singles=0.5),
}
"""What can be compared: the presets, and `fast` with one thing changed."""


@dataclass
class Args:
    """How fast recurrent agents learn."""

    photos: str
    """Folder of clean photos to train on."""
    output: Path
    """Results to write, ending in .json; a table and a plot are written beside it."""
    validation: str = ""
    """Folder of other clean photos, or a pairs file, to measure on; by default every tenth of the training photos is
    kept aside. What is chosen by this table is not to be measured on the same photos afterwards."""
    variants: tuple[str, ...] = tuple(VARIANTS)
    """Which of the variants; NAME:SEED has a seed of its own, so that one can be trained with more than the others."""
    minutes: float = 10.0
    """Minutes of training each."""
    cpu_time: bool = False
    """Count the minutes that the processor works for a training, so that several can share a busy machine."""
    rival: str = ""
    """A policy to draw as a line, [LABEL=]POLICY[@TOOLBOX]."""
    toolbox: str = DEFAULT_TOOLBOX
    """Name or folder of a toolbox."""
    severity: str = "moderate"
    """mild, moderate, severe, any or everyday."""
    patches: int = 512
    """Patches to measure on."""
    seeds: tuple[int, ...] = (0,)
    """Seeds of weights and data; each variant without its own is trained with each."""
    checkpoints: Path = Path("runs/learning")
    """Where unfinished trainings are kept."""
    data: str = "not stated"
    """What the photos are, for the record."""


def main(args: Args) -> dict[str, Any]:
    """Train every variant, write the results with a plot, and return them."""
    wanted = [run for text in args.variants for run in runs_of(text, args.seeds)]
    check_output(args.output)
    make_folders(args.checkpoints)
    toolbox = load_toolbox(args.toolbox)
    rival = contender(args.rival, toolbox) if args.rival else None
    rows = [train(name, seed, args) for name, seed in wanted]
    line = None
    if rival is not None:
        _, source = sources(args.photos, args.validation, args.severity, 0)
        found = evaluate(draw_validation(source, args.patches), rival.policy, rival.toolbox)
        line = {"label": rival.label, "psnr": found.psnr_out, "gain": found.gain}
        for row in rows:
            passed = (m for m, psnr in zip(row["minutes"], row["psnr"], strict=True) if psnr >= found.psnr_out)
            row["minutes_to_rival"] = next(passed, None)
    results = results_of(args, toolbox=toolbox.name, rows=rows, rival=line)
    write_results(results, args.output, "learning", text(results))
    save_figure(args.output.with_suffix(".png"), lambda axes: draw(axes, results), (8, 4.5))
    return results


def runs_of(text: str, seeds: Sequence[int]) -> list[tuple[str, int]]:
    """The variant that NAME or NAME:SEED names, with that seed or with each of `seeds`.

    Raises:
        ValueError: if there is no such variant, or the seed is no whole number.
    """
    name, colon, seed = text.partition(":")
    check_choice("variants", name, VARIANTS)
    if colon and not seed.isdecimal():
        raise ValueError(f"variants: {text!r} does not end in a seed, a whole number of at least 0")
    return [(name, int(seed))] if colon else [(name, each) for each in seeds]


def train(name: str, seed: int, args: Args) -> dict[str, Any]:
    """Train one variant with one seed; its PSNR over time."""
    folder = args.checkpoints / f"{args.minutes:g}-minutes" / f"{name}-{seed}"  # schedules run over the budget
    train_drqn.main(
        train_drqn.Args(
            args.photos,
            folder / f"{name}-{seed}",
            args.validation,
            args.toolbox,
            args.severity,
            preset=name if name in PRESETS else "fast",
            minutes=args.minutes,
            options=VARIANTS[name],
            patches=args.patches,
            keep_last=True,
            seed=seed,
            checkpoints=folder,
            licence=args.data,
        ),
        time.process_time if args.cpu_time else time.monotonic,
    )
    history = history_in(folder)
    last = history[-1]
    return {
        "variant": name,
        "seed": seed,
        "minutes": [item["training/minutes"] for item in history],
        "psnr": [item["validation/psnr"] for item in history],
        "gain": last["validation/gain"],
        "tools": last["validation/tools"],
        "updates": last["training/updates"],
        "steps": last["training/steps"],
    }


def text(results: dict[str, Any]) -> str:
    """The results as Markdown."""
    options, rival = results["options"], results["rival"]
    clock = " (processor time)" if options["cpu_time"] else ""
    gains = [row["gain"] for row in results["rows"] if row["variant"] == "fast"]
    head = ["variant", "seed", "gain at the end", *(["over fast"] if gains else []), "tools", "updates", "steps"]
    head += [f"minutes to {rival['label']}"] if rival else []
    lines = [
        f"# How fast agents learn on the toolbox {results['toolbox']}",
        "",
        f"{options['minutes']:g} minutes of training each{clock}, measuring not counted; gain in dB on "
        f"{options['patches']} patches of {options['severity']} distortion, of photos not trained on. All but the "
        "presets change one thing of `fast`, and what only goes with it. `paper` and `released-code` were made for "
        "500,000 updates.",
        "",
        f"| {' | '.join(head)} |",
        f"| {' | '.join(['---'] * len(head))} |",
    ]
    for row in results["rows"]:
        cells = [row["variant"], str(row["seed"]), f"{row['gain']:+.3f}"]
        if gains:
            cells.append("" if row["variant"] == "fast" else f"{row['gain'] - fmean(gains):+.3f}")
        cells += [f"{row['tools']:.2f}", f"{row['updates']:,.0f}", f"{row['steps']:,.0f}"]
        if rival:
            reached = row["minutes_to_rival"]
            cells.append("not reached" if reached is None else f"{reached:.0f}")
        lines.append(f"| {' | '.join(cells)} |")
    if rival:
        lines += ["", f"On the same patches {rival['label']} gains {rival['gain']:+.3f} dB."]
    return "\n".join([*lines, "", f"![PSNR over time]({Path(options['output']).stem}.png)"])


def draw(axes: Axes, results: dict[str, Any]) -> None:
    """PSNR over time, and the rival's as a line."""
    rival = results["rival"]
    if rival:
        axes.axhline(rival["psnr"], color="black", linestyle="--", label=rival["label"])
    lines = {f"{row['variant']}, seed {row['seed']}": (row["minutes"], row["psnr"]) for row in results["rows"]}
    curves(axes, lines, "minutes of training", "PSNR (dB)")


if __name__ == "__main__":
    run_program(lambda: main(tyro.cli(Args)))

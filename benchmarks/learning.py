"""Measure how fast recurrent agents learn: PSNR against minutes of training, for presets and for single changes.

    python -m benchmarks.learning --photos train/ --output learning.json --variants fast squared

Run it while nothing else runs: a minute of training is what is compared. You can stop the program at any moment; the
same command resumes from the checkpoints.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any, Final

from matplotlib.axes import Axes

from agents import train_drqn
from agents.data import open_data
from agents.drqn.config import PRESETS, DRQNConfig
from benchmarks.common.plots import curves, save_figure
from benchmarks.common.report import Results, check_output, table_of, write_results
from benchmarks.common.systems import System, load_system, paths_in
from restore_env import Pairs
from restore_env.constants import DEFAULT_TOOLBOX, Severity
from restore_env.toolbox import Toolbox, load_toolbox
from restore_env.training.logging import read_history
from restore_env.training.model_card import Blocks
from restore_env.training.program import run_program
from restore_env.utils.checks import Count, Natural, Options, Positive, Text, check_choice

FAST: Final = PRESETS["fast"]

VARIANTS: Final[dict[str, DRQNConfig]] = {
    **{name: PRESETS[name] for name in ("fast", "paper", "released-code")},
    "plain": replace(FAST, degradation_features=False, n_counterfactual=0, regret_coef=0.0),
    "taken-actions": replace(FAST, n_counterfactual=0, regret_coef=0.0),
    "no-regret-loss": replace(FAST, regret_coef=0.0),
    "no-degradation-features": replace(FAST, degradation_features=False),
    "squared": replace(FAST, loss="squared"),
}
"""What can be compared: the presets, and `fast` with one thing changed."""


@dataclass(kw_only=True)
class Args(Options):
    """Measure how fast recurrent agents learn.

    Raises:
        ValueError: if an option is outside its range.
    """

    photos: Text
    """Folder of clean photos to train on."""
    output: Path
    """Results file to write (.json). The report (.md) and a plot (.png) are written beside it."""
    validation: str = ""
    """Other photos or a pairs file to measure on. By default every tenth training photo is held out."""
    variants: tuple[str, ...] = tuple(VARIANTS)
    """The variants to train. NAME:SEED is trained with that seed only, NAME with each of the seeds."""
    minutes: Positive = 10.0
    """Minutes of each training."""
    cpu_time: bool = False
    """Count minutes of the processor, so that several trainings can share a busy machine."""
    rival: str = ""
    """A policy that is drawn as a line, [LABEL=]POLICY[@TOOLBOX]."""
    toolbox: Text = DEFAULT_TOOLBOX
    """Name or folder of a toolbox."""
    severity: Severity = "moderate"
    """Distortion of the photos."""
    patches: Count = 512
    """Patches to measure on."""
    seeds: tuple[Natural, ...] = (0,)
    """Seeds of weights and data."""
    checkpoints: Path = Path("runs/learning")
    """Folder of the unfinished trainings."""
    data: str = "not stated"
    """What the photos are, for the report."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is measured: trainings by their variant and seed, and a rival, on the pairs that all are measured on."""

    args: Args
    toolbox: Toolbox
    trainings: Mapping[tuple[str, int], train_drqn.Args]
    rival: System | None
    validation: Pairs


def plan(args: Args) -> Plan:
    """Check the options and open what they name.

    Raises:
        ValueError: if an option is wrong.
    """
    wanted = [run for text in args.variants for run in runs_of(text, args.seeds)]
    trainings = {(name, seed): training_of(name, seed, args) for name, seed in wanted}
    inputs = {"--photos": args.photos, "--validation": args.validation, "--toolbox": args.toolbox}
    check_output(args.output, inputs | {"--rival": paths_in([args.rival])}, ".png", work=args.checkpoints)
    toolbox = load_toolbox(args.toolbox)
    rival = load_system(args.rival, toolbox) if args.rival else None
    validation = open_data(args.photos, args.validation, args.severity, args.patches).validation
    return Plan(args=args, toolbox=toolbox, trainings=trainings, rival=rival, validation=validation)


def run(plan: Plan) -> Results:
    """Train every variant, write the results with a plot, and return them."""
    rows = [train(variant, seed, plan) for variant, seed in plan.trainings]
    rival = measure_rival(plan.rival, plan.validation) if plan.rival else None
    if rival:
        rows = [row | {"minutes_to_rival": minutes_to(rival["psnr"], row)} for row in rows]
    results = write_results("learning", plan.args, describe, toolbox=plan.toolbox.name, rows=rows, rival=rival)
    save_figure(plan.args.output.with_suffix(".png"), (8, 4.5), lambda axes: draw(axes, results))
    return results


def main(args: Args) -> Results:
    """Train the variants, write the results, and return them."""
    return run(plan(args))


def runs_of(text: str, seeds: Sequence[int]) -> list[tuple[str, int]]:
    """Return the variant that NAME or NAME:SEED names, with that seed or with each of `seeds`.

    Raises:
        ValueError: if there is no such variant, or the seed is no whole number.
    """
    name, colon, seed = text.partition(":")
    check_choice("variants", name, VARIANTS)
    if colon and not seed.isdecimal():
        raise ValueError(f"variants: {text!r} does not end in a seed, a whole number of at least 0")
    return [(name, int(seed))] if colon else [(name, each) for each in seeds]


def training_of(variant: str, seed: int, args: Args) -> train_drqn.Args:
    """Return the options of one training."""
    # The schedules run over the budget, so each number of minutes has a folder of its own.
    folder = args.checkpoints / f"{args.minutes:g}-minutes" / f"{variant}-{seed}"
    return train_drqn.Args(
        photos=args.photos,
        output=folder / f"{variant}-{seed}",
        validation=args.validation,
        toolbox=args.toolbox,
        severity=args.severity,
        minutes=args.minutes,
        config=VARIANTS[variant],
        patches=args.patches,
        keep_last=True,
        seed=seed,
        checkpoints=folder,
        licence=args.data,
    )


def train(variant: str, seed: int, plan: Plan) -> dict[str, Any]:
    """Train one variant with one seed and return its PSNR over time."""
    training = plan.trainings[variant, seed]
    train_drqn.main(training, time.process_time if plan.args.cpu_time else time.monotonic)
    assert training.checkpoints is not None
    history = read_history(training.checkpoints)
    last = history[-1]
    return {
        "variant": variant,
        "seed": seed,
        "minutes": [item["training/minutes"] for item in history],
        "psnr": [item["validation/psnr"] for item in history],
        "gain": last["validation/gain"],
        "tools": last["validation/tools"],
        "updates": last["training/updates"],
        "steps": last["training/steps"],
    }


def measure_rival(rival: System, pairs: Pairs) -> dict[str, Any]:
    """Return the rival's PSNR and gain in dB on the pairs that the trainings are measured on."""
    found = rival.evaluate(pairs)
    return {"label": rival.label, "psnr": found.psnr_out, "gain": found.gain}


def describe(results: Results) -> Blocks:
    """Return the paragraphs and the table of the report."""
    options, rows, rival = results["options"], results["rows"], results["rival"]
    clock = " (processor time)" if options.get("cpu_time") else ""
    fast = [row["gain"] for row in rows if row["variant"] == "fast"]
    return [
        f"# How fast agents learn on the toolbox {results['toolbox']}",
        f"{options['minutes']:g} minutes of training each{clock}, measuring not counted; gain in dB on "
        f"{options['patches']} patches of {options['severity']} distortion, of photos not trained on. "
        "`plain` and `squared` change one thing of `fast`. `paper` and `released-code` are presets of their own, made "
        "for 500,000 updates.",
        table_of([cells(row, fmean(fast) if fast else None, rival) for row in rows]),
        *([f"On the same patches {rival['label']} gains {rival['gain']:+.3f} dB."] if rival else []),
        f"![PSNR over time]({Path(options['output']).stem}.png)",
    ]


def cells(row: Mapping[str, Any], fast: float | None, rival: Mapping[str, Any] | None) -> dict[str, str]:
    """Return the cells of one row of the table by the heads of their columns.

    Args:
        row: one training.
        fast: mean gain of the variant `fast` in dB, if it was trained.
        rival: what the rival reaches, if there is one.
    """
    made = {"variant": row["variant"], "seed": str(row["seed"]), "gain at the end": f"{row['gain']:+.3f}"}
    if fast is not None:
        made["over fast"] = "" if row["variant"] == "fast" else f"{row['gain'] - fast:+.3f}"
    made |= {"tools": f"{row['tools']:.2f}", "updates": f"{row['updates']:,.0f}", "steps": f"{row['steps']:,.0f}"}
    if rival:
        reached = row["minutes_to_rival"]
        made[f"minutes to {rival['label']}"] = "not reached" if reached is None else f"{reached:.0f}"
    return made


def minutes_to(psnr: float, row: Mapping[str, Any]) -> float | None:
    """Return after how many minutes a training reached a PSNR in dB; None if it did not."""
    measured = zip(row["minutes"], row["psnr"], strict=True)
    return next((minutes for minutes, reached in measured if reached >= psnr), None)


def draw(axes: Axes, results: Results) -> None:
    """Draw PSNR over time, and the rival's as a line."""
    rival = results["rival"]
    if rival:
        axes.axhline(rival["psnr"], color="black", linestyle="--", label=rival["label"])
    lines = {f"{row['variant']}, seed {row['seed']}": (row["minutes"], row["psnr"]) for row in results["rows"]}
    curves(axes, lines, "minutes of training", "PSNR (dB)")


if __name__ == "__main__":
    run_program(main, Args)

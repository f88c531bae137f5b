"""Measure what a new tool brings to a trained agent: what it gains on new damage, and loses on the old.

    python -m benchmarks.new_tool --photos train/ --output new_tool.json

The toolbox has no tool against salt-and-pepper noise. A median filter is added, and an agent is trained on old and
new damage: once from the agent for the toolbox without it, and once from random weights. You can stop the program
at any moment; the same command resumes from the checkpoints.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from agents import train_drqn
from agents.data import open_data
from agents.drqn.config import PRESETS
from benchmarks.common.intervals import gains_of, half_interval, mean_difference
from benchmarks.common.median import Median
from benchmarks.common.report import Results, check_output, table_of, track, write_results
from benchmarks.common.systems import System
from restore_env import Pairs, Tool, Toolbox, load_policy, load_toolbox, save_toolbox
from restore_env.constants import DEFAULT_POLICY, DEFAULT_TOOLBOX
from restore_env.training.model_card import Blocks
from restore_env.training.program import run_program
from restore_env.utils.checks import Count, Natural, Options, Positive, Text

OLD: Final = "moderate"
NEW: Final = "salt-and-pepper"
DAMAGE: Final = (OLD, NEW)
"""What the start was trained on, and what it has no tool for."""

MIXTURE: Final = "+".join([OLD] * 3 + [NEW])
"""What is trained on: mostly the old damage, which is harder to learn and must not be forgotten."""

CONFIGS: Final = {"": PRESETS["fast"], "start": replace(PRESETS["refresh"], learning_rate=1e-2)}
"""Hyperparameters of the trainings. The rate can be high where only the weights that concern one tool are learnt."""

TOOL: Final = "median-3"
"""Name of the new tool."""

WATCHED: Final = 32
"""Patches on which a training shows how it stands. Nothing is chosen by them."""


@dataclass(kw_only=True)
class Args(Options):
    """Measure what a new tool brings to a trained agent.

    Raises:
        ValueError: if an option is outside its range.
    """

    photos: Text
    """Folder of clean photos to train on."""
    output: Path
    """Results file to write (.json). The report (.md) is written beside it."""
    validation: str = ""
    """Other photos to measure on. By default every tenth training photo is held out."""
    start: Text = DEFAULT_POLICY
    """Name or folder of the agent to start from."""
    toolbox: Text = DEFAULT_TOOLBOX
    """Name or folder of the agent's toolbox."""
    minutes: Positive = 10.0
    """Minutes of each training."""
    cpu_time: bool = False
    """Count minutes of the processor, so that other programs can run beside the trainings."""
    patches: Count = 512
    """Patches to measure on, of each kind of damage."""
    seed: Natural = 0
    """Seed of weights and data."""
    checkpoints: Path = Path("runs/new-tool")
    """Folder of the larger toolbox and the unfinished trainings."""
    data: str = "not stated"
    """What the photos are, for the report."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is measured.

    Attributes:
        args: the options.
        before: the agent to start from, on its own toolbox.
        larger: the toolbox with the new tool.
        trainings: from the agent, and from random weights, by the labels of their results.
        pairs: what is measured on, by the damage.
    """

    args: Args
    before: System
    larger: Toolbox
    trainings: Mapping[str, train_drqn.Args]
    pairs: Mapping[str, Pairs]


def plan(args: Args) -> Plan:
    """Check the options, open what they name, and write the larger toolbox.

    Raises:
        ValueError: if an option is wrong.
    """
    inputs = {"--photos": args.photos, "--validation": args.validation}
    inputs |= {"--start": args.start, "--toolbox": args.toolbox}
    check_output(args.output, inputs, work=args.checkpoints)
    toolbox = load_toolbox(args.toolbox)
    before = System("the start, without the tool", load_policy(args.start, toolbox), toolbox)
    larger = Toolbox([*toolbox, Tool.from_module(TOOL, Median(), removes=NEW)], f"{toolbox.name}-and-{TOOL}")
    trainings = {label: training_of(start, args) for label, start in starts_of(args).items()}
    for training in trainings.values():
        train_drqn.first_networks(training, larger)  # refuses a start that cannot be trained
    pairs = {damage: open_data(args.photos, args.validation, damage, args.patches).validation for damage in DAMAGE}
    return Plan(args=args, before=before, larger=larger, trainings=trainings, pairs=pairs)


def run(plan: Plan) -> Results:
    """Train, measure, write the results, and return them."""
    save_toolbox(plan.larger, toolbox_in(plan.args.checkpoints), trust=True)
    alone = System(f"{TOOL} alone", load_policy(f"fixed:{TOOL}", plan.larger), plan.larger)
    systems = [plan.before, alone, *(train(label, plan) for label in track("trainings", list(plan.trainings)))]
    rows = [row for damage in DAMAGE for row in measure(damage, systems, plan.pairs[damage])]
    names = {"start": plan.before.policy.name, "toolbox": plan.before.toolbox.name}
    return write_results("new_tool", plan.args, describe, **names, rows=rows)


def main(args: Args) -> Results:
    """Train the agents, write the results, and return them."""
    return run(plan(args))


def starts_of(args: Args) -> dict[str, str]:
    """Return where the trainings start, by the labels of their results; "" stands for random weights."""
    return {"from the start, with the tool": args.start, "from random weights, with the tool": ""}


def toolbox_in(checkpoints: Path) -> Path:
    """Return the folder of the larger toolbox."""
    return checkpoints / "toolbox"


def training_of(start: str, args: Args) -> train_drqn.Args:
    """Return the options of the training from a start."""
    name = "from-start" if start else "from-random"
    # The schedules run over the budget, so each number of minutes has a folder of its own.
    folder = args.checkpoints / f"{args.minutes:g}-minutes" / f"{name}-{args.seed}"
    return train_drqn.Args(
        photos=args.photos,
        output=folder / name,
        validation=args.validation,
        start=start,
        toolbox=str(toolbox_in(args.checkpoints)),
        trust=True,
        severity=MIXTURE,
        minutes=args.minutes,
        config=CONFIGS["start" if start else ""],
        only_new_tools=bool(start),
        patches=WATCHED,
        keep_last=True,
        seed=args.seed,
        checkpoints=folder,
        licence=args.data,
    )


def train(label: str, plan: Plan) -> System:
    """Train one agent, or go on, and return it with the larger toolbox."""
    policy = train_drqn.main(plan.trainings[label], time.process_time if plan.args.cpu_time else time.monotonic)
    return System(label, policy, plan.larger)


def measure(damage: str, systems: Sequence[System], pairs: Pairs) -> list[dict[str, Any]]:
    """Return what each system gains on one kind of damage, and how much more than the first of them."""
    found = [system.evaluate(pairs) for system in systems]
    gains = [gains_of(evaluation) for evaluation in found]
    return [
        {
            "damage": damage,
            "label": system.label,
            "psnr_in": evaluation.psnr_in,
            "gain": evaluation.gain,
            "gain_95": half_interval(own, pairs.photos),
            "over_start": None if system is systems[0] else mean_difference(gains[0], own, pairs.photos),
            "new_tool": sum(ratios.get(TOOL, 0.0) for ratios in evaluation.tool_ratio),
            "tools": evaluation.steps,
        }
        for system, evaluation, own in zip(systems, found, gains, strict=True)
    ]


def describe(results: Results) -> Blocks:
    """Return the paragraphs and the table of the report."""
    options = results["options"]
    clock = " (processor time)" if options["cpu_time"] else ""
    return [
        f"# A new tool for the agent {results['start']}",
        f"The toolbox {results['toolbox']} has no tool against salt-and-pepper noise. `{TOOL}`, a median of 3x3, "
        f"is added. An agent is trained for {options['minutes']:g} minutes{clock}, measuring not counted. Three "
        f"of four patches have {OLD} distortion, the fourth {NEW} noise. It starts from {results['start']}, with the "
        "preset `refresh` and the learning rate 1e-2, and learns about the new tool only. Or it starts from random "
        "weights, with the preset `fast`.",
        f"Gain in dB on {options['patches']} patches of each kind of damage, of photos not trained on, ± half the "
        "width of the 95% interval over the photos. The last network of each training is measured, so nothing was "
        "chosen.",
        table_of([cells(row, results["start"]) for row in results["rows"]]),
    ]


def cells(row: Mapping[str, Any], start: str) -> dict[str, str]:
    """Return the cells of one row of the table by the heads of their columns."""
    over = row["over_start"]
    return {
        "damage": row["damage"],
        "agent": row["label"].replace("the start", f"`{start}`"),
        "gain": f"{row['gain']:+.3f} ± {row['gain_95']:.3f}",
        f"over `{start}`": "" if over is None else "{:+.3f} ± {:.3f}".format(*over),
        f"`{TOOL}` per image": f"{row['new_tool']:.2f}",
        "tools": f"{row['tools']:.2f}",
    }


if __name__ == "__main__":
    run_program(main, Args)

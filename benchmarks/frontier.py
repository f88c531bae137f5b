"""Measure what multiplications buy: agents that pay for their tools, beside single networks.

    python -m benchmarks.frontier --photos valid/ --train-photos train/ --output frontier.json

For each cost an agent is trained on mild, moderate and severe mixtures; what its reward loses for a tool grows with the
tool's multiplications. You can stop the program at any moment; the same command resumes from the checkpoints.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Annotated, Any, Final

import tyro
from matplotlib.axes import Axes

from agents import train_drqn
from agents.drqn.config import PRESETS, DRQNConfig
from benchmarks.common.intervals import gains_of, half_interval
from benchmarks.common.multiplications import evaluation_multiplications
from benchmarks.common.patches import PAPER_SEVERITIES, PatchArgs, PatchSet, open_patches
from benchmarks.common.plots import curves, save_figure
from benchmarks.common.report import Results, check_output, table_of, write_results
from benchmarks.common.systems import System, load_system, paths_in
from restore_env.constants import DEFAULT_TOOLBOX, MAX_STEPS
from restore_env.toolbox import Toolbox, load_toolbox
from restore_env.training.model_card import Blocks
from restore_env.training.program import run_program
from restore_env.utils.checks import NonNegative, Positive, Text
from restore_env.utils.files import Paths

AGENT: Final = "agent"
"""What the rows of trained agents are of; the others are of the networks named."""


@dataclass(kw_only=True)
class Args(PatchArgs):
    """Measure what multiplications buy: agents that pay for their tools, beside single networks.

    Raises:
        ValueError: if an option is outside its range.
    """

    train_photos: Text
    """Folder of other clean photos, to train the agents on."""
    toolbox: Text = DEFAULT_TOOLBOX
    """Name or folder of the agents' toolbox."""
    costs: tuple[NonNegative, ...] = (0.0, 0.5, 1.0, 2.0, 4.0)
    """What the agents' rewards lose for 1e9 multiplications, in dB; one agent is trained for each."""
    networks: tuple[str, ...] = ()
    """Single networks to compare with, [LABEL=]POLICY[@TOOLBOX] each, such as wide=fixed:all@wide/. A path with = or @
    in it needs both LABEL= and @TOOLBOX."""
    budget: Text = "not stated"
    """How long the networks and the tools were trained, for the report."""
    minutes: Positive = 20.0
    """Minutes of the processor for the training of each agent."""
    config: Annotated[DRQNConfig, tyro.conf.arg(name="")] = field(default_factory=lambda: PRESETS["fast"])
    """Hyperparameters of the agents."""
    checkpoints: Path = Path("runs/frontier")
    """Folder of the unfinished trainings."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.costs or len(set(self.costs)) < len(self.costs):
            raise ValueError(f"costs={self.costs}: at least one is needed, and each once")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is measured: agents by their cost, and single networks, on patches."""

    args: Args
    toolbox: Toolbox
    trainings: Mapping[float, train_drqn.Args]
    networks: Sequence[System]
    patches: PatchSet


def plan(args: Args) -> Plan:
    """Check the options and open what they name.

    Raises:
        ValueError: if an option is wrong.
    """
    inputs: dict[str, Paths] = {"--photos": args.photos, "--train-photos": args.train_photos, "--toolbox": args.toolbox}
    check_output(args.output, inputs | {"--networks": paths_in(args.networks)}, ".png", work=args.checkpoints)
    toolbox = load_toolbox(args.toolbox)
    trainings = {cost: training_of(cost, args) for cost in args.costs}
    networks = [load_system(text, toolbox) for text in args.networks]
    return Plan(args=args, toolbox=toolbox, trainings=trainings, networks=networks, patches=open_patches(args))


def run(plan: Plan) -> Results:
    """Train, measure, write the results with a plot, and return them."""
    rows = [row for cost, training in plan.trainings.items() for row in measure_agent(cost, training, plan)]
    rows += [row for network in plan.networks for row in measure(network, plan.patches)]
    results = write_results("frontier", plan.args, describe, toolbox=plan.toolbox.name, rows=rows)
    save_figure(plan.args.output.with_suffix(".png"), (8, 5), lambda axes: draw(axes, results))
    return results


def main(args: Args) -> Results:
    """Train the agents, measure them and the networks, write the results, and return them."""
    return run(plan(args))


def training_of(cost: float, args: Args) -> train_drqn.Args:
    """Return the options of one agent's training."""
    folder = args.checkpoints / f"{args.minutes:g}-minutes" / f"cost-{cost:g}"
    return train_drqn.Args(
        photos=args.train_photos,
        output=folder / f"cost-{cost:g}",
        toolbox=args.toolbox,
        severity="+".join(PAPER_SEVERITIES),
        minutes=args.minutes,
        config=args.config,
        cost=cost,
        seed=args.seed,
        checkpoints=folder,
        licence=args.data,
    )


def measure_agent(cost: float, training: train_drqn.Args, plan: Plan) -> Iterator[dict[str, Any]]:
    """Train an agent, and yield its rows, one for each severity."""
    policy = train_drqn.main(training, time.process_time)
    for row in measure(System(AGENT, policy, plan.toolbox), plan.patches):
        yield row | {"cost": cost}


def measure(system: System, patches: PatchSet) -> Iterator[dict[str, Any]]:
    """Yield the rows of a system, one for each severity."""
    for severity in PAPER_SEVERITIES:
        pairs = patches.draw(severity)
        found = system.evaluate(pairs)
        costs = dict(zip(system.toolbox.action_names, system.toolbox.costs.tolist(), strict=True))
        applied = [costs[name] for image in found.images for name in image.toolchain]
        yield {
            "system": system.label,
            "cost": None,
            "severity": severity,
            "psnr": found.psnr_out,
            "gain": found.gain,
            "gain_95": half_interval(gains_of(found), pairs.photos),
            "tools": found.steps,
            "multiplications": evaluation_multiplications(found, system) / 1e9,
            "of_a_tool": fmean(applied) if applied else 0.0,
            "stops_early": fmean(len(image.toolchain) < MAX_STEPS for image in found.images),
        }


def means(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the means over the severities, one row for each system and cost."""
    groups: dict[tuple[str, float | None], list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["system"], row["cost"]), []).append(row)
    columns = ("psnr", "gain", "tools", "multiplications", "of_a_tool", "stops_early")
    return [
        {"system": system, "cost": cost, "severity": "mean"}
        | {column: fmean(row[column] for row in group) for column in columns}
        for (system, cost), group in groups.items()
    ]


def describe(results: Results) -> Blocks:
    """Return the paragraphs and the table of the report."""
    options = results["options"]
    return [
        "# What multiplications buy",
        f"Agents for the toolbox `{results['toolbox']}`, each trained for {options['minutes']:g} minutes of one core "
        "on mild, moderate and severe mixtures. An agent's reward is the rise of the PSNR, less the cost in dB for "
        f"each 1e9 multiplications of its tools. {options['n']} patches of 63x63 a severity, seed {options['seed']}; "
        "gains in dB, ± half the width of the 95% interval over patches, clustered by photo. Multiplications are those "
        "of tools and agent, for a patch.",
        table_of([cells(row) for row in (*means(results["rows"]), *results["rows"])]),
        f"Budgets of tools and networks: {options['budget']}.",
        f"![Gain against multiplications]({Path(options['output']).stem}.png)",
    ]


def cells(row: Mapping[str, Any]) -> dict[str, str]:
    """Return the cells of one row of the table by the heads of their columns."""
    agent = row["cost"] is not None
    return {
        "severity": row["severity"],
        "system": f"{row['system']}, cost {row['cost']:g}" if agent else row["system"],
        "gain": f"{row['gain']:+.2f}" + (f" ± {row['gain_95']:.2f}" if "gain_95" in row else ""),
        "multiplications": f"{row['multiplications']:.3f}e9",
        "tools": f"{row['tools']:.2f}",
        "of each tool": f"{row['of_a_tool']:.3f}e9",
        "stops before the last step": f"{row['stops_early']:.0%}",
    }


def draw(axes: Axes, results: Results) -> None:
    """Draw the mean gain against multiplications: the agents as a line, each network as a point."""
    points: dict[str, tuple[list[float], list[float]]] = {}
    for row in sorted(means(results["rows"]), key=lambda row: float(row["multiplications"])):
        x, y = points.setdefault(row["system"], ([], []))
        x.append(row["multiplications"])
        y.append(row["gain"])
    curves(axes, points, "multiplications for a patch (1e9)", "gain in PSNR (dB), mean of the severities")


if __name__ == "__main__":
    run_program(main, Args)

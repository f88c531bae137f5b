"""Measure what policies reach on the three severities, beside baselines that are as strong as can be.

    python -m benchmarks.policies --photos valid/ --train-photos train/ --output policies.json --policies drqn

On each severity it measures the input, random toolchains, the best single tool, the best fixed toolchain, every policy
named, the greedy choice with the reference, and the oracle. The best tool and toolchain are searched on patches of the
training photos.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from statistics import fmean
from typing import Any, Final

from matplotlib.axes import Axes

from agents.search_toolchain import search
from benchmarks.common.intervals import gains_of, half_interval, mean_difference, share_interval
from benchmarks.common.multiplications import evaluation_multiplications
from benchmarks.common.patches import PAPER_SEVERITIES, PatchArgs, PatchSet, open_patches
from benchmarks.common.plots import bars, save_figure
from benchmarks.common.report import Results, check_output, table_of, write_results
from benchmarks.common.systems import System, load_system, paths_in
from restore_env.constants import DEFAULT_TOOLBOX, MAX_STEPS
from restore_env.data.photos import FolderPhotos
from restore_env.evaluation import Evaluation, share_of_best
from restore_env.policies import Oracle, load_policy
from restore_env.toolbox import STOP, Toolbox, load_toolbox
from restore_env.toolbox.fingerprint import digest_of_toolbox
from restore_env.training.model_card import Blocks
from restore_env.training.oracle_cache import oracle_of
from restore_env.training.program import run_program
from restore_env.utils.checks import Count, Text, check_choice
from restore_env.utils.files import Paths, make_folders

BASELINES: Final = ("input", "random", "best single tool", "best fixed toolchain", "greedy", "oracle")
"""What every severity has a row of, besides the policies named."""


@dataclass(kw_only=True)
class Args(PatchArgs):
    """Measure what policies reach on the three severities, beside baselines that are as strong as can be."""

    train_photos: Path
    """Folder of other clean photos, on which the fixed toolchains are searched."""
    toolbox: Text = DEFAULT_TOOLBOX
    """Name or folder of the toolbox."""
    policies: tuple[str, ...] = ()
    """Policies to measure, [LABEL=]POLICY[@TOOLBOX] each: names, folders or, with --trust, .zip files of SB3. Policies
    of one LABEL= are several seeds of one policy, and their mean is shown. A path with = or @ in it needs both LABEL=
    and @TOOLBOX."""
    trust: bool = False
    """Load .zip files of SB3, which can run any code."""
    plot: str = ""
    """Label of the policy whose actions are plotted, by default the first."""
    rivals: tuple[str, ...] = ()
    """Labels of policies or baselines. The table shows by how much the others exceed them."""
    n_oracle: Count = 96
    """How many of the patches of a severity are used to find the best toolchain of each toolbox."""
    n_search: Count = 256
    """Patches of a severity, of the training photos, on which the fixed toolchains are searched."""
    beam: Count = 12
    """How many toolchains of one length the search makes longer."""
    checkpoints: Path = Path("runs/policies")
    """Folder where the oracle's results are kept, so that they are found once."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is measured: policies on patches, and patches of the training photos for the search."""

    args: Args
    toolbox: Toolbox
    systems: Sequence[System]
    patches: PatchSet
    train_patches: PatchSet

    @property
    def labels(self) -> list[str]:
        """The labels of the policies, each once."""
        return list(dict.fromkeys(system.label for system in self.systems))


def plan(args: Args) -> Plan:
    """Check the options and open what they name.

    Raises:
        ValueError: if an option is wrong.
    """
    inputs: dict[str, Paths] = {"--photos": args.photos, "--train-photos": args.train_photos, "--toolbox": args.toolbox}
    check_output(args.output, inputs | {"--policies": paths_in(args.policies)}, ".png", work=args.checkpoints)
    toolbox = load_toolbox(args.toolbox)
    systems = [load_system(text, toolbox, args.trust) for text in args.policies]
    check_labels(systems, args.policies)
    search_patches = PatchSet(FolderPhotos(args.train_photos), args.n_search, args.seed)
    made = Plan(args=args, toolbox=toolbox, systems=systems, patches=open_patches(args), train_patches=search_patches)
    check_choice("plot", args.plot, ("", *made.labels))
    for rival in args.rivals:
        check_choice("rivals", rival, (*made.labels, *(name for name in BASELINES if name != "oracle")))
    make_folders(args.checkpoints)
    return made


def run(plan: Plan) -> Results:
    """Measure, write the results with a plot, and return them."""
    rows = [row for severity in PAPER_SEVERITIES for row in measure(severity, plan)]
    results = write_results("policies", plan.args, describe, toolbox=plan.toolbox.name, rows=rows)
    if plan.labels:
        plotted = plan.args.plot or plan.labels[0]
        panels = [partial(draw_ratios, row=row) for row in rows if row["policy"] == plotted]
        save_figure(plan.args.output.with_suffix(".png"), (9, 9), *panels)
    return results


def main(args: Args) -> Results:
    """Measure the policies, write the results, and return them."""
    return run(plan(args))


def check_labels(systems: Sequence[System], texts: Sequence[str]) -> None:
    """Raise a `ValueError` if rows could not be told apart."""
    toolboxes: dict[str, tuple[Sequence[str], str]] = {}
    for text, (label, _, toolbox) in zip(texts, systems, strict=True):
        if label in BASELINES:
            raise ValueError(f"policies: {text!r} has the name of the baseline {label!r}; give it a LABEL=")
        if label in toolboxes and "=" not in text:
            raise ValueError(f"policies: two are called {label!r}; give them a LABEL=, one label if they are two seeds")
        tools = (toolbox.names, digest_of_toolbox(toolbox))
        if toolboxes.setdefault(label, tools) != tools:
            raise ValueError(f"policies: {label!r} acts on two toolboxes; give each its own LABEL=")


def measure(severity: str, plan: Plan) -> Iterator[dict[str, Any]]:
    """Yield the rows of one severity, one for each label."""
    pairs = plan.patches.draw(severity)
    first = pairs.first(plan.args.n_oracle)
    oracle = cache(lambda toolbox: oracle_of(first, toolbox, plan.args.checkpoints))
    groups: dict[str, list[System]] = {}
    for system in systems_of(severity, plan):
        groups.setdefault(system.label, []).append(system)
    found = {label: [system.evaluate(pairs) for system in group] for label, group in groups.items()}
    found["oracle"], groups["oracle"] = [oracle(plan.toolbox)], [System("oracle", Oracle(), plan.toolbox)]
    gains = {label: mean_gains(evaluations) for label, evaluations in found.items()}
    for label, group in groups.items():
        row = row_of(group, found[label], oracle(group[0].toolbox), pairs.photos)
        over = {rival: difference(gains[rival], gains[label], pairs.photos) for rival in plan.args.rivals}
        yield {"severity": severity, "policy": label, **row, "over": over}


def systems_of(severity: str, plan: Plan) -> Iterator[System]:
    """Yield all that is measured on one severity; the fixed toolchains are searched now."""
    toolbox, known = plan.toolbox, plan.train_patches.draw(severity)
    yield System("input", load_policy(STOP, toolbox), toolbox)
    yield System("random", load_policy("random", toolbox), toolbox)
    yield System("best single tool", search(toolbox, known, 1, 0, "best single tool"), toolbox)
    yield System("best fixed toolchain", search(toolbox, known, MAX_STEPS, plan.args.beam, "best fixed"), toolbox)
    yield from plan.systems
    yield System("greedy", load_policy("greedy", toolbox), toolbox)


def row_of(
    group: Sequence[System], found: Sequence[Evaluation], oracle: Evaluation, photos: Sequence[int | None]
) -> dict[str, Any]:
    """Return what the results say of one label: means over its patches and seeds.

    Args:
        group: the policies of the label, one for each seed.
        found: the evaluation of each.
        oracle: what the best toolchains of their toolbox reach on the first patches.
        photos: the photo of each patch.
    """
    gains, photos = mean_gains(found), photos[: found[0].n]
    shares = [share_of_best(each, oracle) for each in found]
    chains = {image.toolchain for each in found for image in each.images}
    ssims = [half_interval([image.ssim_out for image in each.images], photos) for each in found]
    costs = map(evaluation_multiplications, found, group)
    numbers = ("psnr_out", "ssim_out", "gain", "steps", "seconds")
    return {
        "toolbox": group[0].toolbox.name,
        "n": found[0].n,
        "seeds": len(found),
        "toolchain": chains.pop() if len(chains) == 1 else None,
        "psnr_in": found[0].psnr_in,
        **{name: fmean(getattr(each, name) for each in found) for name in numbers},
        "ssim_95": fmean(ssims),
        "gain_95": half_interval(gains, photos),
        "gain_of_seeds": [each.gain for each in found],
        "share_of_oracle": fmean(shares),
        "share_95": share_interval(gains, gains_of(oracle), photos),
        "share_of_seeds": shares,
        "multiplications": None if group[0].policy.needs_reference else fmean(costs),
        "tool_ratio": mean_ratios([each.tool_ratio for each in found]),
    }


def mean_gains(found: Sequence[Evaluation]) -> list[float]:
    """Return the gain of each patch in dB, mean over the seeds."""
    return [fmean(values) for values in zip(*map(gains_of, found), strict=True)]


def mean_ratios(ratios: Sequence[Sequence[Mapping[str, float]]]) -> list[dict[str, float]]:
    """Return the share of each action at each step, mean over the seeds."""
    return [{name: fmean(each[name] for each in steps) for name in steps[0]} for steps in zip(*ratios, strict=True)]


def difference(rival: list[float], gains: list[float], photos: Sequence[int | None]) -> tuple[float, float] | None:
    """Return by how many dB gains exceed a rival's; None for the oracle, which has the first patches only."""
    return mean_difference(rival, gains, photos) if len(gains) == len(rival) else None


def describe(results: Results) -> Blocks:
    """Return the paragraphs and the table of the report."""
    options = results["options"]
    plot = [f"![Actions at each step]({Path(options['output']).stem}.png)"] if options["policies"] else []
    return [
        f"# Policies on the toolbox {results['toolbox']}",
        f"{options['n']} patches of 63x63 a severity ({options['n_oracle']} for the oracle, and for every policy's "
        f"share of its own toolbox's), seed {options['seed']}. PSNR in dB; tools and multiplications an image. ± half "
        "the width of the 95% interval over patches, clustered by photo; where there are several seeds, of their mean, "
        "and in brackets their range. Greedy and oracle know the reference. The best single tool and the best fixed "
        f"toolchain were found on {options['n_search']} patches a severity of the training photos, by a search that "
        f"makes the best {options['beam']} of each length longer.",
        table_of([cells(row) for row in results["rows"]]),
        *plot,
    ]


def cells(row: Mapping[str, Any]) -> dict[str, str]:
    """Return the cells of one row of the table by the heads of their columns."""
    name = row["policy"] + (f" ({', '.join(row['toolchain'])})" if row["toolchain"] else "")
    gain = f"{row['gain']:+.2f} ± {row['gain_95']:.2f}"
    share = f"{row['share_of_oracle']:.1%} ± {row['share_95']:.1%}"
    if row["seeds"] > 1:
        name += f", mean of {row['seeds']} seeds"
        gain += f" ({_range(row['gain_of_seeds'], '+.2f')})"
        share += f" ({_range(row['share_of_seeds'], '.1%')})"
    over = {rival: "" if by is None else f"{by[0]:+.2f} ± {by[1]:.2f}" for rival, by in row["over"].items()}
    return {
        "severity": row["severity"],
        "policy": name,
        "PSNR": f"{row['psnr_out']:.2f}",
        "gain": gain,
        "SSIM": f"{row['ssim_out']:.3f} ± {row['ssim_95']:.3f}",
        "share of the oracle's gain": share,
        "tools": f"{row['steps']:.2f}",
        "multiplications": "-" if row["multiplications"] is None else f"{row['multiplications'] / 1e9:.3f}e9",
        **{f"over {rival}": text for rival, text in over.items()},
    }


def _range(values: Sequence[float], form: str) -> str:
    return f"{min(values):{form}} to {max(values):{form}}"


def draw_ratios(axes: Axes, row: Mapping[str, Any]) -> None:
    """Plot how often each action was taken at each step on one severity (paper, Figure 6)."""
    steps = {f"step {number}": list(ratios.values()) for number, ratios in enumerate(row["tool_ratio"], start=1)}
    bars(axes, list(row["tool_ratio"][0]), steps, "share of the images")
    axes.set_title(f"{row['policy']}, {row['severity']}")


if __name__ == "__main__":
    run_program(main, Args)

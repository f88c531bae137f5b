"""What policies reach on the three severities, beside every honest yardstick.

    python -m benchmarks.policies --photos valid/ --train-photos train/ --output policies.json --policies drqn

On each severity the input, random toolchains, the best single tool and the best fixed toolchain (both searched on
patches of the training photos), every policy named, greedy with the reference, and the oracle.
"""

from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from math import nan
from pathlib import Path
from statistics import fmean
from typing import Any, Final, NamedTuple

import tyro
from matplotlib.axes import Axes

from agents.search_toolchain import search
from benchmarks.common.multiplications import of_evaluation
from benchmarks.common.plots import bars, save_panels
from benchmarks.common.report import check_output, half_interval, mean_rise, results_of, write_results
from restore_env.constants import DEFAULT_TOOLBOX, MAX_STEPS, PATCH_SIZE
from restore_env.data.distortions import as_distortion
from restore_env.data.pairs import Pairs
from restore_env.data.photos import FolderPhotos
from restore_env.data.sampling import PatchSampler
from restore_env.data.sources import draw_pairs
from restore_env.evaluation import Evaluation, evaluate, share_of_best
from restore_env.policies import Policy, Yardstick, load_policy
from restore_env.toolbox import Toolbox, load_toolbox
from restore_env.toolbox.fingerprint import digest_of_toolbox
from restore_env.training.oracle_cache import oracle_of
from restore_env.training.program import run_program
from restore_env.utils.checks import check_choice, check_whole
from restore_env.utils.files import make_folders

SEVERITIES: Final = ("mild", "moderate", "severe")
YARDSTICKS: Final = ("input", "random", "best single tool", "best fixed toolchain", "greedy", "oracle")


@dataclass
class Args:
    """What policies reach on the three severities, beside every honest yardstick."""

    photos: Path
    """Folder of clean photos to measure on."""
    train_photos: Path
    """Folder of other clean photos, on which the fixed toolchains are searched."""
    output: Path
    """Results to write, ending in .json; a table (.md) and a plot (.png) are written beside it."""
    toolbox: str = DEFAULT_TOOLBOX
    """Name or folder of the toolbox."""
    policies: tuple[str, ...] = ()
    """Policies to measure: names, folders or SB3's .zip files (which can run code: name only files you trust), each
    with @TOOLBOX after it if it acts on another toolbox, and LABEL= before it if it shall be called so. Policies of one
    LABEL= are one with several seeds: their mean is shown. A path with = or @ in it needs both."""
    plot: str = ""
    """Label of the policy whose actions are plotted, by default the first."""
    rivals: tuple[str, ...] = ()
    """Labels of policies, or yardsticks, that the others' differences are taken to."""
    n: int = 512
    """Patches a severity."""
    n_oracle: int = 96
    """Patches a severity, the first of them, on which the best toolchain of each toolbox is found."""
    n_search: int = 256
    """Patches a severity of the training photos on which the fixed toolchains are searched."""
    beam: int = 12
    """How many toolchains of one length the search makes longer."""
    seed: int = 0
    """Seed of the patches."""
    checkpoints: Path = Path("runs/policies")
    """Where the oracle's results are kept, so that they are found once."""
    data: str = "not stated"
    """What the photos are, for the record."""


class Contender(NamedTuple):
    """A policy and the toolbox it acts on."""

    label: str
    policy: Policy | Yardstick
    toolbox: Toolbox


def main(args: Args) -> dict[str, Any]:
    """Measure, write results, table and plots, and return the results."""
    for name, least in (("n", 1), ("n_oracle", 1), ("n_search", 1), ("beam", 1)):
        check_whole(name, getattr(args, name), least)
    check_output(args.output)
    make_folders(args.checkpoints)
    toolbox = load_toolbox(args.toolbox)
    named = [contender(text, toolbox) for text in args.policies]
    check_contenders(named, args.policies)
    labels = list(dict.fromkeys(item.label for item in named))
    check_choice("plot", args.plot, ("", *labels))
    for rival in args.rivals:
        check_choice("rivals", rival, (*labels, *(name for name in YARDSTICKS if name != "oracle")))
    rows = [row for severity in SEVERITIES for row in measure(severity, toolbox, named, args)]
    results = results_of(args, toolbox=toolbox.name, rows=rows)
    write_results(results, args.output, "policies", table(results))
    if labels:
        plotted = [partial(draw_ratios, item=item) for item in rows if item["policy"] == (args.plot or labels[0])]
        save_panels(args.output.with_suffix(".png"), plotted, (9, 9))
    return results


def contender(text: str, toolbox: Toolbox) -> Contender:
    """What [LABEL=]POLICY[@TOOLBOX] names.

    Raises:
        ValueError: if there is no such policy or toolbox.
    """
    label, given, rest = text.partition("=")
    name, at, other = (rest if given else text).rpartition("@")
    if not at:
        name, other = other, ""
    tools = load_toolbox(other) if other else toolbox
    policy = load_policy(name, tools)
    return Contender(label if given else policy.name, policy, tools)


def check_contenders(named: Sequence[Contender], texts: Sequence[str]) -> None:
    """Raise a `ValueError` if rows could not be told apart."""
    toolboxes: dict[str, Toolbox] = {}
    for text, (label, _, toolbox) in zip(texts, named, strict=True):
        if label in YARDSTICKS:
            raise ValueError(f"policies: {text!r} would be called as the yardstick {label!r} is; give it a LABEL=")
        if label in toolboxes and "=" not in text:
            raise ValueError(f"policies: two are called {label!r}; give them a LABEL=, one label if they are two seeds")
        if _tools(toolboxes.setdefault(label, toolbox)) != _tools(toolbox):
            raise ValueError(f"policies: {label!r} acts on two toolboxes; give each its own LABEL=")


def _tools(toolbox: Toolbox) -> tuple[Sequence[str], str]:
    return toolbox.names, digest_of_toolbox(toolbox)


def measure(severity: str, toolbox: Toolbox, named: Sequence[Contender], args: Args) -> Iterator[dict[str, Any]]:
    """The rows of one severity."""
    distortion = as_distortion(severity)
    pairs = draw_pairs(PatchSampler(FolderPhotos(args.photos), distortion), args.n, args.seed)
    oracles: dict[int, Evaluation] = {}
    found: dict[str, list[dict[str, Any]]] = {}
    greedy = Contender("greedy", load_policy("greedy", toolbox), toolbox)
    for item in (*yardsticks(severity, toolbox, named, args), greedy):
        tools = item.toolbox
        if id(tools) not in oracles:
            oracles[id(tools)] = oracle_of(pairs.first(args.n_oracle), tools, args.checkpoints)
        result = evaluate(pairs, item.policy, tools)
        found.setdefault(item.label, []).append(row(severity, item, pairs, result, oracles[id(tools)]))
    own = oracles[id(toolbox)]
    rows = [merged(several) for several in found.values()]
    rows.append(row(severity, Contender("oracle", load_policy("oracle", toolbox), toolbox), pairs, own, own))
    gains = {each["policy"]: each["gains"] for each in rows}
    for each in rows:
        each["share_95"] = share_interval(each["gains"], each["best_gains"], each["photos"])
        whole = len(each["gains"]) == args.n  # the oracle was found on the first patches only
        each["over"] = {
            rival: mean_rise(gains[rival], each["gains"], each["photos"]) if whole else None for rival in args.rivals
        }
    for each in rows:
        yield {key: value for key, value in each.items() if key not in ("gains", "best_gains", "photos")}


def yardsticks(severity: str, toolbox: Toolbox, named: Sequence[Contender], args: Args) -> Iterator[Contender]:
    """What is measured on all patches; the fixed toolchains are searched now."""
    photos = PatchSampler(FolderPhotos(args.train_photos), as_distortion(severity))
    known = draw_pairs(photos, args.n_search, args.seed)
    yield Contender("input", load_policy("stop", toolbox), toolbox)
    yield Contender("random", load_policy("random", toolbox), toolbox)
    yield Contender("best single tool", search(toolbox, known, 1, 0, "best single tool"), toolbox)
    yield Contender("best fixed toolchain", search(toolbox, known, MAX_STEPS, args.beam, "best fixed"), toolbox)
    yield from named


def row(severity: str, item: Contender, pairs: Pairs, result: Evaluation, oracle: Evaluation) -> dict[str, Any]:
    """One row of the table: means over the patches, of which a result may have the first only."""
    label, policy, toolbox = item
    gains, photos = gains_of(result), pairs.photos[: result.n]
    chains = Counter(image.toolchain for image in result.images)
    return {
        "severity": severity,
        "policy": label,
        "toolbox": toolbox.name,
        "n": result.n,
        "seeds": 1,
        "toolchain": next(iter(chains)) if len(chains) == 1 else None,
        "psnr_in": result.psnr_in,
        "psnr_out": result.psnr_out,
        "ssim_out": result.ssim_out,
        "ssim_95": half_interval([image.ssim_out for image in result.images], photos),
        "gain": result.gain,
        "gain_95": half_interval(gains, photos),
        "gains": gains,
        "best_gains": gains_of(oracle),
        "photos": photos,
        "share_of_oracle": share_of_best(result, oracle),
        "steps": result.steps,
        "multiplications": of_evaluation(result, policy, toolbox, PATCH_SIZE),
        "tool_ratio": result.tool_ratio,
        "seconds": result.seconds,
    }


def gains_of(result: Evaluation) -> list[float]:
    """By how much each patch's PSNR rose, in dB."""
    return [image.psnr_out - image.psnr_in for image in result.images]


def share_interval(gains: Sequence[float], best: Sequence[float], photos: Sequence[Hashable]) -> float:
    """Half the width of the 95% interval of the share of the best gain, a ratio of two means, by the delta method.

    NaN if the best gain is none.
    """
    if not fmean(best):
        return nan
    own = gains[: len(best)]
    share = fmean(own) / fmean(best)
    apart = [gain - share * most for gain, most in zip(own, best, strict=True)]
    return half_interval(apart, photos[: len(best)]) / fmean(best)


def merged(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The rows of one label as one: the mean over its seeds, each patch's gain first."""
    if len(rows) == 1:
        return rows[0]
    gains = [fmean(values) for values in zip(*(item["gains"] for item in rows), strict=True)]
    numbers = ("psnr_out", "ssim_out", "ssim_95", "gain", "share_of_oracle", "steps", "multiplications", "seconds")
    return {
        **rows[0],
        **{key: fmean(item[key] for item in rows) for key in numbers},
        "seeds": len(rows),
        "gain_of_seeds": [item["gain"] for item in rows],
        "share_of_seeds": [item["share_of_oracle"] for item in rows],
        "gains": gains,
        "gain_95": half_interval(gains, rows[0]["photos"]),
        "toolchain": rows[0]["toolchain"] if len({item["toolchain"] for item in rows}) == 1 else None,
        "tool_ratio": [
            {name: fmean(ratios[name] for ratios in steps) for name in steps[0]}
            for steps in zip(*(item["tool_ratio"] for item in rows), strict=True)
        ],
    }


def table(results: dict[str, Any]) -> str:
    """The results as Markdown."""
    options = results["options"]
    head = ["severity", "policy", "PSNR", "gain", "SSIM", "share of the oracle's gain", "tools", "multiplications"]
    head += [f"over {rival}" for rival in options["rivals"]]
    lines = [
        f"# Policies on the toolbox {results['toolbox']}",
        "",
        f"{options['n']} patches of 63x63 a severity ({options['n_oracle']} for the oracle, and for every policy's "
        f"share of its own toolbox's), seed {options['seed']}. PSNR in dB; tools and multiplications an image. ± half "
        "the width of the 95% interval over patches, clustered by photo; where there are several seeds, of their mean, "
        "and in brackets their range. Greedy and oracle know the reference. The best single tool and the best fixed "
        f"toolchain were found on {options['n_search']} patches a severity of the training photos, by a search that "
        f"makes the best {options['beam']} of each length longer.",
        "",
        f"| {' | '.join(head)} |",
        f"| {' | '.join(['---'] * len(head))} |",
        *(f"| {' | '.join(_cells(item))} |" for item in results["rows"]),
    ]
    if options["policies"]:
        lines += ["", f"![Actions at each step]({Path(options['output']).stem}.png)"]
    return "\n".join(lines)


def _cells(item: dict[str, Any]) -> list[str]:
    name = item["policy"]
    name += f" ({', '.join(item['toolchain'])})" if item["toolchain"] else ""
    gain = f"{item['gain']:+.2f} ± {item['gain_95']:.2f}"
    share = f"{item['share_of_oracle']:.1%} ± {item['share_95']:.1%}"
    if item["seeds"] > 1:
        name += f", mean of {item['seeds']} seeds"
        gain += f" ({_range(item['gain_of_seeds'], '+.2f')})"
        share += f" ({_range(item['share_of_seeds'], '.1%')})"
    cost = "-" if item["multiplications"] is None else f"{item['multiplications'] / 1e9:.3f}e9"
    ssim = f"{item['ssim_out']:.3f} ± {item['ssim_95']:.3f}"
    over = ["" if by is None else f"{by[0]:+.2f} ± {by[1]:.2f}" for by in item["over"].values()]
    return [item["severity"], name, f"{item['psnr_out']:.2f}", gain, ssim, share, f"{item['steps']:.2f}", cost, *over]


def _range(values: Sequence[float], form: str) -> str:
    return f"{min(values):{form}} to {max(values):{form}}"


def draw_ratios(axes: Axes, item: dict[str, Any]) -> None:
    """How often each action was taken at each step on one severity (paper, Figure 6)."""
    labels = list(item["tool_ratio"][0])
    steps = {f"step {number}": list(ratios.values()) for number, ratios in enumerate(item["tool_ratio"], start=1)}
    bars(axes, labels, steps, "share of the images")
    axes.set_title(f"{item['policy']}, {item['severity']}")


if __name__ == "__main__":
    run_program(lambda: main(tyro.cli(Args)))

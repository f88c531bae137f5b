"""The command `restore-env`.

Results go to standard output and messages to standard error, one line each. The exit code is 0 for success, 1 if an
input failed and the others are done, 2 for wrong usage, and 130 for an interruption.
"""

import json
import os
import sys
import warnings
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, get_args

import click
import numpy as np
from rich.console import Console

import restore_env
from restore_env.cli.common import begin, run_all, say
from restore_env.cli.folders import Job, find_jobs
from restore_env.constants import (
    DEFAULT_POLICY,
    DEFAULT_TOOLBOX,
    LARGEST,
    MAX_STEPS,
    MOST_STEPS,
    RESTORING_POLICY,
    Decide,
    Severity,
)
from restore_env.errors import FormatError, ImageError, ToolError, is_out_of_memory
from restore_env.utils.files import write_text
from restore_env.utils.interrupts import raise_interrupts
from restore_env.utils.progress import Progress, escape_names, progress_bar

_TOOLBOX = click.option("--toolbox", default=DEFAULT_TOOLBOX, help="Name or folder of a toolbox.")
_TRUST = click.option(
    "--trust",
    is_flag=True,
    help="Import the network classes that the toolbox folder names, and load a .zip of SB3. Both run any code in them.",
)
_POLICY_HELP = "Name or folder of a policy, or a .zip file of SB3, with --trust."
_RESTORED_HELP = "File to write, or folder for several photos; default: NAME-restored, with the input's extension."
_DEVICE = click.option("--device", default="cpu", help="Device: cpu or cuda.")
_STEPS = click.option(
    "--max-steps", type=click.IntRange(1, MOST_STEPS), default=MAX_STEPS, help="Largest number of tools."
)
_DECIDE = click.option(
    "--decide",
    type=click.Choice(get_args(Decide)),
    default="regions",
    help="Choose tools for each region, or one toolchain by a vote of all patches.",
)
_SEED = click.option("--seed", type=click.IntRange(0, LARGEST), default=0, help="Seed of the random numbers.")
_SEVERITY = click.option(
    "--severity", type=click.Choice(get_args(Severity)), default="moderate", help="Kind and strength of the distortion."
)


class _File(click.Path):
    """A path that is not empty; an empty one would stand for the folder that the program runs in."""

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> Any:
        """Return the path."""
        if value == "":
            self.fail("an empty path", parameter, context)
        return super().convert(value, parameter, context)


_FILE = _File(path_type=Path)


def _check_folder(_: click.Context, option: click.Parameter, path: Path | None) -> Path | None:
    """Return the path of an output file, or refuse it before any work is done if its folder does not exist."""
    if path is not None and not path.absolute().parent.is_dir():
        raise click.BadParameter(f"the folder {str(path.parent)!r} does not exist", param=option)
    return path


_output = partial(click.option, type=_FILE, callback=_check_folder)


def main() -> None:
    """Run the command line; an error is printed as one line and ends the program with an exit code."""
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")  # OpenCV would print lines of its own about damaged files
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")  # what is fetched and sent is small
    warnings.filterwarnings("ignore", module=r"PIL\.")  # of damaged or large files, without a name; errors have one
    warnings.showwarning = lambda message, *_, **__: say(f"warning: {message}")
    try:
        raise_interrupts()
        escape_names()
        result = commands.main(standalone_mode=False)
    except click.ClickException as error:
        say(f"{error.format_message()} (see restore-env --help)")
        sys.exit(2)
    except (click.Abort, KeyboardInterrupt):
        say("interrupted")
        sys.exit(130)
    except (ImageError, ToolError, OSError) as error:
        say(error)
        sys.exit(1)
    except (FormatError, ValueError, TypeError) as error:
        say(error)
        sys.exit(2)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        say(f"not enough memory ({error})")
        sys.exit(1)
    sys.exit(result if isinstance(result, int) else 0)


_SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100, "show_default": True}


@click.group(no_args_is_help=False, context_settings=_SETTINGS)
@click.version_option(restore_env.__version__, prog_name="restore-env")
def commands() -> None:
    """Restore blurred, noisy and compressed images with a toolbox of small tools."""


@commands.command()
@_output("-o", "--output", default=Path("demo.png"), help="Picture to write.")
@_SEVERITY
@_SEED
def demo(output: Path, severity: str, seed: int) -> None:
    """Compare all policies in a table, and draw a picture of one."""
    from restore_env.cli.demo import PICTURE_POLICY, demo_picture, demo_table
    from restore_env.data.image_io import check_writable

    check_writable(output, np.zeros((1, 1, 3), np.uint8))
    begin({}, {"--output": output})
    with progress_bar("trying toolchains") as progress:
        table = demo_table(severity, seed, progress)
    Console().print(table)
    restore_env.write_image(output, demo_picture(severity, seed))
    click.echo(f"{output} shows the steps of {PICTURE_POLICY} on larger crops.")


@commands.command()
@click.argument("inputs", nargs=-1, required=True, type=_FILE, metavar="IN...")
@click.option("-o", "--output", type=_FILE, help=_RESTORED_HELP)
@_output("--steps", help="JSON file for the steps, with the number of regions for each action.")
@click.option("--policy", default=RESTORING_POLICY, help=_POLICY_HELP)
@_TOOLBOX
@_TRUST
@_DECIDE
@_STEPS
@click.option(
    "--format",
    "ending",
    type=click.Choice(["png", "jpg", "webp", "avif", "tif", "bmp"]),
    help="Format of the results; default: that of each photo, PNG where it cannot be written.",
)
@click.option(
    "--quality",
    type=click.IntRange(1, 100),
    help="Quality of JPEG, WebP and AVIF; default: 95 or the photo's own if that is higher; WebP without loss.",
)
@_output(
    "--report", help="HTML page that shows what was done to a single photo; all values go to a JSON file beside it."
)
@click.option("--reference", type=_FILE, help="How a single photo should be: the report then states PSNR and SSIM.")
@_output("--compare", help="HTML page that shows what each tool and each classical filter would do to a single photo.")
@click.option("--recursive", is_flag=True, help="Restore the photos of subfolders too.")
@click.option("--resume", is_flag=True, help="Skip what the journal in the folder of the results says is done.")
@click.option(
    "--jobs",
    "at_once",
    type=click.IntRange(1, LARGEST),
    default=1,
    help="Photos at once. A large photo keeps all cores busy by itself.",
)
@click.option(
    "--ray",
    is_flag=True,
    help="Restore on the running Ray cluster, or a local one, by as many workers as --jobs says. All machines must see "
    "photos, output, policy and toolbox under the same paths. Needs the extra `ray`.",
)
@click.option("--strength", type=click.FloatRange(0, 1), default=1.0, help="How much of the change is made.")
@click.option(
    "--stop-margin",
    type=click.FloatRange(0),
    help="Leave alone what promises less than this many dB; default: the policy's own margin.",
)
@click.option(
    "--consistency",
    type=click.FloatRange(0),
    default=0.0,
    help="How much the neighbours of a region count in its choice: 0 not at all, 1 as much as the region itself.",
)
@_DEVICE
def restore(**options: Any) -> int:
    """Restore photos or folders of photos."""
    from restore_env.cli import one_photo, restoring

    return restoring.run(restoring.plan(one_photo.RestoreOptions(**options)))


@commands.command()
@click.option("--host", default="127.0.0.1", help="Address to serve; with 0.0.0.0 all of the network can use the page.")
@click.option("--port", type=click.IntRange(0, 65535), default=7860, help="Port to serve; 0 takes a free one.")
@click.option("--policy", default=RESTORING_POLICY, help=_POLICY_HELP)
@_TOOLBOX
@_TRUST
@_DEVICE
@click.option(
    "--largest", type=click.FloatRange(0, 1000, min_open=True), default=24.0, help="Largest photo, in megapixels."
)
@click.option(
    "--seconds",
    type=click.FloatRange(0, LARGEST, min_open=True),
    default=300.0,
    help="Longest time for one photo, after which it is given up.",
)
def serve(**options: Any) -> None:
    """Serve a page on which photos are restored, for a browser on this machine."""
    from restore_env.cli import serve

    serve.run(serve.ServeOptions(**options))


@commands.command()
@click.argument("pairs", type=_FILE, metavar="PAIRS")
@_output("--json", "json_file", help="JSON file for the results, with those of each image.")
@click.option(
    "--oracle",
    type=click.IntRange(1, LARGEST),
    metavar="N",
    help="Also find the best toolchains for the first N pairs, and print the policy's share.",
)
@click.option("--policy", default=DEFAULT_POLICY, help=_POLICY_HELP)
@_TOOLBOX
@_TRUST
@_DECIDE
@_STEPS
@_DEVICE
def evaluate(
    pairs: Path,
    json_file: Path | None,
    oracle: int | None,
    policy: str,
    toolbox: str,
    trust: bool,
    decide: Decide,
    max_steps: int,
    device: str,
) -> None:
    """Measure a policy on a pairs file or a pairs folder."""
    from restore_env.evaluation import share_of_best

    begin({"PAIRS": pairs, "--policy": policy, "--toolbox": toolbox}, {"--json": json_file})
    tools, known = restore_env.load_toolbox(toolbox, device, trust=trust), restore_env.load_pairs(pairs)
    player = restore_env.load_policy(policy, tools, device, trust)
    measure = partial(restore_env.evaluate, toolbox=tools, decide=decide, max_steps=max_steps, device=device)
    with progress_bar(f"evaluating {policy}") as progress:
        result = measure(known, player, progress=progress)
    content = result.to_json()
    _print_evaluation(result)
    if oracle is not None:
        with progress_bar("trying toolchains") as progress:
            best = measure(known.first(oracle), "oracle", progress=progress)
        share = share_of_best(result, best) if best.gain else None
        content["oracle"] = {"n": best.n, "gain": best.gain, "share": share}
        reached = "nothing to gain" if share is None else f"share reached there: {share:.0%}"
        click.echo(f"oracle on {_pairs(best.n)}: {best.gain:+.2f} dB; {reached}")
    if json_file is not None:
        write_text(json_file, json.dumps(content, indent=1))


@commands.command()
@click.argument("inputs", nargs=-1, required=True, type=_FILE, metavar="IN...")
@click.option(
    "-o", "--output", type=_FILE, help="File to write, or folder for several photos; default: NAME-distorted.png."
)
@_SEVERITY
@_SEED
def distort(inputs: tuple[Path, ...], output: Path | None, severity: str, seed: int) -> int:
    """Distort photos as the environment does."""
    from restore_env.data.distortions import as_distortion
    from restore_env.data.image_io import as_rgb_bytes

    jobs = find_jobs(inputs, output, "distorted", ".png")
    begin({"IN": [job.source for job in jobs]}, {"--output": [job.target for job in jobs]})
    model = as_distortion(severity)
    numbers = count()  # each input has its number, so a file that cannot be read does not change the other files' seeds

    def one(job: Job, _: Progress) -> None:
        rng = np.random.default_rng([seed, next(numbers)])
        distorted, drawn = model(as_rgb_bytes(restore_env.read_image(job.source)), rng)
        restore_env.write_image(job.target, distorted)
        click.echo(f"{job.source} -> {job.target}: {', '.join(f'{key} {value:.3g}' for key, value in drawn.items())}")

    return run_all(jobs, one)


@commands.command()
@click.argument("name", required=False)
@_TRUST
def toolbox(name: str | None, trust: bool) -> None:
    """List the toolboxes, or the tools of one."""
    from restore_env.toolbox import available_toolboxes

    if name is None:
        click.echo("\n".join(available_toolboxes()))
        return
    for number, tool in enumerate(restore_env.load_toolbox(name, trust=trust)):
        made_for = f"{tool.removes} {tool.interval[0]:g} to {tool.interval[1]:g}" if tool.interval else tool.removes
        click.echo(f"{number:3}  {tool.name:18} {made_for}".rstrip())


@commands.command()
@click.argument("repo")
@_output("-o", "--output", help="Folder to make; default: the name in REPO.")
@click.option("--revision", help="Branch, tag or commit; default: the newest commit of the main branch.")
def pull(repo: str, output: Path | None, revision: str | None) -> None:
    """Fetch a policy or a toolbox, OWNER/NAME, from the Hugging Face Hub."""
    from restore_env.cli import hub

    folder = output or Path(repo.rpartition("/")[2])
    commit = hub.pull(repo, folder, revision)
    click.echo(f"{repo} at {commit} -> {folder}")


@commands.command()
@click.argument("folder", type=_FILE)
@click.argument("repo")
def push(folder: Path, repo: str) -> None:
    """Send the folder of a policy or toolbox to OWNER/NAME on the Hugging Face Hub, for everyone to see."""
    from restore_env.cli import hub

    click.echo(f"{folder} -> {repo} at {hub.push(folder, repo)}")


def _print_evaluation(result: "restore_env.Evaluation") -> None:
    """Print the means and the most frequent actions of each step."""
    click.echo(f"{result.policy} with {result.toolbox} on {_pairs(result.n)}, {result.seconds:.1f} s")
    click.echo(f"PSNR {result.psnr_in:.2f} -> {result.psnr_out:.2f} dB ({result.gain:+.2f})")
    click.echo(f"SSIM {result.ssim_in:.4f} -> {result.ssim_out:.4f}")
    click.echo(f"tools applied to an image: {result.steps:.2f}")
    for step, ratios in enumerate(result.tool_ratio, start=1):
        shares = sorted(ratios.items(), key=lambda item: -item[1])
        click.echo(f"step {step}: {', '.join(f'{name} {share:.0%}' for name, share in shares if share >= 0.005)}")


def _pairs(n: int) -> str:
    """Return "1 pair" or "2 pairs"."""
    return f"{n} pair{'s' * (n != 1)}"

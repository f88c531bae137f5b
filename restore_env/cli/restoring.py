"""The command `restore-env restore`: it plans once, then runs."""

import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import numpy as np

import restore_env
from restore_env.cli.common import begin, run_all, say
from restore_env.cli.compare import compare_page
from restore_env.cli.folders import JOURNAL, Job, Journal, find_jobs
from restore_env.cli.report import report_page, report_values
from restore_env.constants import Decide
from restore_env.data.image_io import AnyImage, check_writable, read_photo
from restore_env.data.photo_metadata import PhotoMetadata
from restore_env.inference import Restored, check_policy, with_margin
from restore_env.policies import Policy
from restore_env.toolbox import Toolbox
from restore_env.toolbox.fingerprint import digest_of_toolbox
from restore_env.utils.files import Paths, copy_file, write_text
from restore_env.utils.progress import progress_bar


@dataclass(frozen=True, kw_only=True)
class RestoreOptions:
    """The options of the command; the command line says what they mean."""

    inputs: tuple[Path, ...]
    output: Path | None
    steps: Path | None
    report: Path | None
    compare: Path | None
    policy: str
    toolbox: str
    trust: bool
    decide: Decide
    max_steps: int
    ending: str | None
    quality: int | None
    recursive: bool
    resume: bool
    at_once: int
    strength: float
    stop_margin: float | None
    consistency: float
    device: str

    @property
    def folder(self) -> Path:
        """Where the journal of several photos lies."""
        first = self.inputs[0]
        return self.output or (first if first.is_dir() else first.parent)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Photos that are ready to be restored.

    Attributes:
        options: the options.
        jobs: all photos.
        toolbox: the tools.
        policy: the policy that chooses.
        journal: what is done; None for a single photo.
        taken: the steps of the photos that are restored now, by their names.
    """

    options: RestoreOptions
    jobs: list[Job]
    toolbox: Toolbox
    policy: Policy
    journal: Journal | None
    taken: dict[str, list[dict[str, Any]]] = field(default_factory=dict)


def plan(options: RestoreOptions) -> Plan:
    """Find the photos, check all that is read and written, and load what restores them."""
    suffix = options.ending and f".{options.ending}"
    jobs = find_jobs(options.inputs, options.output, "restored", suffix, options.recursive)
    many = len(jobs) > 1 or options.inputs[0].is_dir()
    _check_options(options, jobs, many)
    written: dict[str, Paths] = {"--output": [job.target for job in jobs], "--steps": options.steps}
    if options.report is not None:
        written["--report"] = [options.report, options.report.with_suffix(".json")]
    if options.compare is not None:
        written["--compare"] = options.compare
    if many:
        written["the journal"] = options.folder / JOURNAL
    begin({"IN": [job.source for job in jobs], "--policy": options.policy, "--toolbox": options.toolbox}, written)
    toolbox = restore_env.load_toolbox(options.toolbox, options.device, trust=options.trust)
    policy = check_policy(restore_env.load_policy(options.policy, toolbox, options.device, options.trust))
    policy = with_margin(policy, options.stop_margin)
    journal = Journal(options.folder / JOURNAL, _settings(options, toolbox), options.resume) if many else None
    return Plan(options=options, jobs=jobs, toolbox=toolbox, policy=policy, journal=journal)


def run(plan: Plan) -> int:
    """Restore what is not done yet, and return 1 if a photo failed, else 0."""
    jobs, journal, options = plan.jobs, plan.journal, plan.options
    left = [job for job in jobs if journal is None or not journal.has(job)]
    if len(left) < len(jobs):
        done = len(jobs) - len(left)
        click.echo(f"{done} of {len(jobs)} photos are done already, by {options.folder / JOURNAL}")
    failed = run_all(left, lambda job: _restore(job, plan), options.at_once)
    if options.steps is not None:
        before = {} if journal is None else {source: entry["steps"] for source, entry in journal.done.items()}
        known = before | plan.taken
        names = [str(job.source) for job in jobs]
        write_text(options.steps, json.dumps({name: known[name] for name in names if name in known}, indent=1))
    return failed


def _check_options(options: RestoreOptions, jobs: list[Job], many: bool) -> None:
    """Refuse options that do not fit each other."""
    if options.ending and any(job.target.suffix.lower() != f".{options.ending}" for job in jobs):
        raise click.BadParameter(f"{str(options.output)!r} does not end in .{options.ending}", param_hint="--output")
    if options.resume and not many:
        raise click.BadParameter("a single photo has no journal", param_hint="--resume")
    for name, page in (("--report", options.report), ("--compare", options.compare)):
        if page is not None and many:
            raise click.BadParameter("the page is of a single photo", param_hint=name)


def _settings(options: RestoreOptions, toolbox: Toolbox) -> dict[str, Any]:
    """Return what results depend on, by the names of the options."""
    names = ("policy", "decide", "max_steps", "quality", "strength", "stop_margin", "consistency")
    settings = {name.replace("_", "-"): getattr(options, name) for name in names}
    return settings | {"toolbox": f"{toolbox.name} {digest_of_toolbox(toolbox)}"}


def _restore(job: Job, plan: Plan) -> None:
    """Restore a photo, and tell what was done."""
    options = plan.options
    photo, metadata = read_photo(job.source)
    for remark in metadata.remarks:
        say(f"warning: {job.source} {remark}")
    check_writable(job.target, photo, options.quality)
    began = time.perf_counter()
    restored = restore_env.restore(
        photo,
        plan.policy,
        plan.toolbox,
        decide=options.decide,
        max_steps=options.max_steps,
        strength=options.strength,
        consistency=options.consistency,
        record=options.report is not None,
        device=options.device,
    )
    seconds = time.perf_counter() - began
    if options.compare is not None:
        with progress_bar("comparing") as progress:
            page = compare_page(job.source.name, photo, plan.policy, plan.toolbox, progress)
        write_text(options.compare, page)
    if options.report is not None:
        _write_report(options.report, job.source.name, photo, restored, plan.toolbox, seconds)
    write_result(job, photo, restored.image, metadata, options.quality)
    plan.taken[str(job.source)] = restored.steps
    if plan.journal is not None:
        plan.journal.add(job, restored.steps)
    click.echo(f"{job.source} -> {job.target}: {', '.join(_in_words(step['votes']) for step in restored.steps)}")


def write_result(
    job: Job, photo: AnyImage, image: AnyImage, metadata: PhotoMetadata, quality: int | None = None
) -> None:
    """Write what became of a photo, with the photo's metadata.

    Args:
        job: the photo's file, and the file to write.
        photo: the photo, as `read_photo` returns it.
        image: what became of it, of the same shape and dtype.
        metadata: what the photo's file holds besides.
        quality: quality of the format, None for the usual one.

    Raises:
        ValueError: if the format cannot hold the image.
        OSError: if the file cannot be written.
    """
    same_format = job.target.suffix.lower() == job.source.suffix.lower() and quality is None
    if same_format and np.array_equal(image, photo):
        copy_file(job.source, job.target)  # what is left alone keeps each byte
    else:
        restore_env.write_image(job.target, image, metadata, quality)


def _write_report(path: Path, name: str, photo: AnyImage, restored: Restored, toolbox: Toolbox, seconds: float) -> None:
    """Write the page that shows what was done to a photo, and its values as JSON beside it."""
    write_text(path.with_suffix(".json"), json.dumps(report_values(name, restored, toolbox, seconds), indent=1))
    write_text(path, report_page(name, photo, restored, toolbox, seconds))


def _in_words(votes: dict[str, int]) -> str:
    """Return the actions of a step with their shares, the most frequent one first; one alone has no share.

    Example:
        >>> _in_words({"noise-2": 30, "stop": 10})
        'noise-2 75% and stop 25%'
    """
    total = sum(votes.values())
    shares = sorted(votes.items(), key=lambda item: -item[1])
    return " and ".join(name if count == total else f"{name} {count / total:.0%}" for name, count in shares)

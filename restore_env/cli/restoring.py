"""The command `restore-env restore`: it plans once, then runs."""

import json
from dataclasses import dataclass, field
from typing import Any

import click

from restore_env.cli.common import begin, run_all, say
from restore_env.cli.folders import JOURNAL, Job, Journal, find_jobs
from restore_env.cli.one_photo import RestoreOptions, load, restore_photo
from restore_env.policies import Policy
from restore_env.toolbox import Toolbox
from restore_env.toolbox.fingerprint import digest_of_toolbox
from restore_env.utils.files import Paths, write_text
from restore_env.utils.progress import Progress, progress_bar


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
    read: dict[str, Paths] = {"IN": [job.source for job in jobs], "--reference": options.reference}
    begin(read | {"--policy": options.policy, "--toolbox": options.toolbox}, written)
    toolbox, policy = load(options)
    journal = Journal(options.folder / JOURNAL, _settings(options, toolbox), options.resume) if many else None
    return Plan(options=options, jobs=jobs, toolbox=toolbox, policy=policy, journal=journal)


def run(plan: Plan) -> int:
    """Restore what is not done yet, and return 1 if a photo failed, else 0."""
    jobs, journal, options = plan.jobs, plan.journal, plan.options
    left = [job for job in jobs if journal is None or not journal.has(job)]
    if len(left) < len(jobs):
        done = len(jobs) - len(left)
        click.echo(f"{done} of {len(jobs)} photos are done already, by {options.folder / JOURNAL}")
    if options.ray and left:
        failed = _run_on_ray(left, plan)
    else:
        failed = run_all(left, lambda job, progress: _restore(job, plan, progress), options.at_once)
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
    if options.ray:
        from restore_env.cli.on_ray import import_ray  # noqa: PLC0415  # it is rarely needed

        import_ray()
    if options.resume and not many:
        raise click.BadParameter("a single photo has no journal", param_hint="--resume")
    if options.reference is not None and options.report is None:
        raise click.BadParameter("the comparison is part of the page; give --report too", param_hint="--reference")
    for name, page in (("--report", options.report), ("--compare", options.compare)):
        if page is not None and many:
            raise click.BadParameter("the page is of a single photo", param_hint=name)


def _settings(options: RestoreOptions, toolbox: Toolbox) -> dict[str, Any]:
    """Return what results depend on, by the names of the options."""
    names = ("policy", "decide", "max_steps", "quality", "strength", "stop_margin", "consistency")
    settings = {name.replace("_", "-"): getattr(options, name) for name in names}
    return settings | {"toolbox": f"{toolbox.name} {digest_of_toolbox(toolbox)}"}


def _restore(job: Job, plan: Plan, progress: Progress) -> None:
    """Restore a photo here."""
    steps = restore_photo(job, plan.options, plan.toolbox, plan.policy, lambda remark: _warn(job, remark), progress)
    _note(job, steps, plan)


def _run_on_ray(jobs: list[Job], plan: Plan) -> int:
    """Restore photos on a Ray cluster, and return 1 if one failed, else 0."""
    from restore_env.cli.on_ray import outcomes_on_ray  # noqa: PLC0415  # it is rarely needed

    failed = 0
    with progress_bar("photos") as progress:
        for number, (job, outcome) in enumerate(outcomes_on_ray(jobs, plan.options), start=1):
            for remark in outcome.remarks:
                _warn(job, remark)
            if outcome.error is None:
                _note(job, outcome.steps, plan)
            else:
                say(outcome.error)
                failed = 1
            progress(number / len(jobs))
    return failed


def _warn(job: Job, remark: str) -> None:
    """Tell what was remarked about a file."""
    say(f"warning: {job.source} {remark}")


def _note(job: Job, steps: list[dict[str, Any]], plan: Plan) -> None:
    """Keep and tell what was done to a photo."""
    plan.taken[str(job.source)] = steps
    if plan.journal is not None:
        plan.journal.add(job, steps)
    click.echo(f"{job.source} -> {job.target}: {', '.join(_in_words(step['votes']) for step in steps)}")


def _in_words(votes: dict[str, int]) -> str:
    """Return the actions of a step with their shares, the most frequent one first; one alone has no share.

    Example:
        >>> _in_words({"noise-2": 30, "stop": 10})
        'noise-2 75% and stop 25%'
    """
    total = sum(votes.values())
    shares = sorted(votes.items(), key=lambda item: -item[1])
    return " and ".join(name if count == total else f"{name} {count / total:.0%}" for name, count in shares)

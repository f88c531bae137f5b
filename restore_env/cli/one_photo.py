"""Restore one photo by the options of `restore-env restore`, on this machine or another one."""

import json
import os
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

import restore_env
from restore_env.cli.compare import compare_page
from restore_env.cli.folders import Job
from restore_env.cli.likeness import check_reference, likeness_of
from restore_env.cli.report import report_page, report_values
from restore_env.constants import Decide
from restore_env.data.image_io import check_writable, read_photo
from restore_env.inference import check_policy, with_margin
from restore_env.policies import Policy, available_policies
from restore_env.toolbox import Toolbox, available_toolboxes
from restore_env.utils.files import copy_file, write_text
from restore_env.utils.progress import Progress, progress_bar


@dataclass(frozen=True, kw_only=True)
class RestoreOptions:
    """The options of the command; the command line says what they mean."""

    inputs: tuple[Path, ...]
    output: Path | None
    steps: Path | None
    report: Path | None
    reference: Path | None
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
    ray: bool
    strength: float
    stop_margin: float | None
    consistency: float
    device: str

    @property
    def folder(self) -> Path:
        """Where the journal of several photos lies."""
        first = self.inputs[0]
        return self.output or (first if first.is_dir() else first.parent)

    def from_anywhere(self) -> "RestoreOptions":
        """Return the options for a program that runs in another folder."""
        return replace(
            self,
            policy=_absolute(self.policy, available_policies()),
            toolbox=_absolute(self.toolbox, available_toolboxes()),
            report=self.report and self.report.absolute(),
            reference=self.reference and self.reference.absolute(),
            compare=self.compare and self.compare.absolute(),
        )


def _absolute(name: str, known: Collection[str]) -> str:
    """Return the absolute path of a file or folder, and a name as it is."""
    return os.path.abspath(name) if name not in known and os.path.exists(name) else name


def load(options: RestoreOptions) -> tuple[Toolbox, Policy]:
    """Load the tools, and the policy that chooses among them."""
    toolbox = restore_env.load_toolbox(options.toolbox, options.device, trust=options.trust)
    policy = check_policy(restore_env.load_policy(options.policy, toolbox, options.device, options.trust))
    return toolbox, with_margin(policy, options.stop_margin)


def restore_photo(
    job: Job,
    options: RestoreOptions,
    toolbox: Toolbox,
    policy: Policy,
    warn: Callable[[str], object],
    progress: Progress | None = None,
) -> list[dict[str, Any]]:
    """Read, restore and write a photo.

    Args:
        job: the photo.
        options: the options.
        toolbox: the tools.
        policy: the policy.
        warn: called with each remark about the file.
        progress: called with the share of the photo that is done.

    Returns:
        The steps, as `restore` returns them.
    """
    photo, metadata = read_photo(job.source)
    for remark in metadata.remarks:
        warn(remark)
    check_writable(job.target, photo, options.quality)
    reference = None if options.reference is None else restore_env.read_image(options.reference)
    check_reference(photo, reference)
    began = time.perf_counter()
    restored = restore_env.restore(
        photo,
        policy,
        toolbox,
        decide=options.decide,
        max_steps=options.max_steps,
        strength=options.strength,
        consistency=options.consistency,
        record=options.report is not None,
        device=options.device,
        progress=progress,
    )
    seconds = time.perf_counter() - began
    if options.compare is not None:
        with progress_bar("comparing") as progress:
            page = compare_page(job.source.name, photo, policy, toolbox, progress)
        write_text(options.compare, page)
    if options.report is not None:
        likeness = likeness_of([photo, *restored.images], reference)
        values = report_values(job.source.name, restored, toolbox, seconds, likeness)
        write_text(options.report.with_suffix(".json"), json.dumps(values, indent=1))
        write_text(options.report, report_page(job.source.name, photo, restored, toolbox, seconds, likeness))
    same_format = job.target.suffix.lower() == job.source.suffix.lower() and options.quality is None
    if np.array_equal(restored.image, photo) and same_format:
        copy_file(job.source, job.target)  # what is left alone keeps each byte
    else:
        restore_env.write_image(job.target, restored.image, metadata, options.quality)
    return restored.steps

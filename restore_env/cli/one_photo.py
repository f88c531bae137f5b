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
from restore_env.data.image_io import AnyImage, check_writable, read_photo
from restore_env.data.photo_metadata import PhotoMetadata
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
    write_result(job, photo, restored.image, metadata, options.quality)
    return restored.steps


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
    if same_format and all(map(np.array_equal, image, photo)):  # row by row: a photo may be large
        copy_file(job.source, job.target)  # what is left alone keeps each byte
    else:
        restore_env.write_image(job.target, image, metadata, quality)

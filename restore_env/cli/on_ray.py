"""Restore photos on a Ray cluster, by Ray Data: `restore-env restore --ray`."""

import json
import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from restore_env.cli.folders import Job, attempt
from restore_env.cli.one_photo import RestoreOptions, load, restore_photo
from restore_env.utils.threads import available_cores, limit_threads

MOST_BLOCKS: Final = 10_000
"""Parts into which Ray divides the photos. One photo is a part, unless there are more of them."""


@dataclass
class Outcome:
    """What became of a photo.

    Attributes:
        steps: its steps; empty if it failed.
        remarks: remarks about its file.
        error: why it failed; None if it did not.
    """

    steps: list[dict[str, Any]] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    error: str | None = None


class Worker:
    """A process of the cluster, which loads toolbox and policy once and restores photos.

    Args:
        jobs: all photos, with absolute paths.
        options: the options, for a program that runs in any folder.
    """

    def __init__(self, jobs: Sequence[Job], options: RestoreOptions) -> None:
        os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
        limit_threads()
        self.jobs, self.options = jobs, options
        self.toolbox, self.policy = load(options)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Restore the photos of these numbers; what Ray carries back is JSON, as paths may hold any bytes."""
        outcomes = [json.dumps(asdict(self.outcome(self.jobs[int(number)]))) for number in batch["id"]]
        return {"id": batch["id"], "outcome": outcomes}

    def outcome(self, job: Job) -> Outcome:
        """Restore a photo; an error that concerns it alone is part of its outcome."""
        found = Outcome()

        def one(job: Job) -> None:
            found.steps = restore_photo(job, self.options, self.toolbox, self.policy, found.remarks.append)

        error = attempt(one, job)
        found.error = None if error is None else str(error)
        return found


def import_ray() -> Any:
    """Return the module `ray`, or raise a `ValueError` that says how to install it."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent anywhere unless the user asks for it
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # else Ray warns of what its next version does
    try:
        import ray.data
    except ImportError as error:
        raise ValueError("Ray is not installed; restore-env[ray] installs it") from error
    return ray


def outcomes_on_ray(jobs: Sequence[Job], options: RestoreOptions) -> Iterator[tuple[Job, Outcome]]:
    """Restore photos on a running Ray cluster, or on a local one that is started; yield each as it is done.

    The photos of a worker that dies are restored by another one.

    Args:
        jobs: the photos.
        options: the options; `at_once` is the number of workers.

    Raises:
        ValueError: if Ray is not installed.
    """
    ray = import_ray()
    anywhere = [Job(Path(os.path.abspath(job.source)), Path(os.path.abspath(job.target))) for job in jobs]
    started = not ray.is_initialized()
    if started:
        # One core more than workers, so that some is left for what hands the photos out
        cores = {"num_cpus": max(available_cores(), options.at_once + 1)} if "RAY_ADDRESS" not in os.environ else {}
        ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR, **cores)
    try:
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        ray.data.DataContext.get_current().enable_progress_bars = False
        numbers = ray.data.range(len(jobs), override_num_blocks=min(len(jobs), MOST_BLOCKS))
        done = numbers.map_batches(
            Worker,
            fn_constructor_args=(anywhere, options.from_anywhere()),
            batch_size=1,
            concurrency=(1, options.at_once),  # as many as the cluster has room for
            num_gpus=1 if options.device.startswith("cuda") else 0,
        )
        for row in done.iter_rows():
            yield jobs[int(row["id"])], Outcome(**json.loads(row["outcome"]))
    finally:
        if started:
            ray.shutdown()

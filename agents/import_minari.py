"""Make a toolchain log of a Minari data set that `agents.export_minari` wrote.

    python -m agents.import_minari restore-env/drqn-v0 --output toolchains/

The log equals the one that was exported. You can stop the program at any moment; the same command continues.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import minari
import numpy as np
from minari import MinariDataset
from tyro.conf import Positional

from agents.export_minari import BATCH
from restore_env.data.toolchain_log import LogHeader, ToolchainLogWriter, Toolchains
from restore_env.errors import FormatError
from restore_env.training.program import check_paths, lock_folder, run_program
from restore_env.training.signals import stop_request
from restore_env.utils.checks import Options, Text
from restore_env.utils.files import make_folders
from restore_env.utils.progress import progress_bar
from restore_env.utils.serialization import as_format_error


@dataclass(kw_only=True)
class Args(Options):
    """Make a toolchain log of a Minari data set that agents.export_minari wrote.

    Raises:
        ValueError: if an option is outside its range.
    """

    dataset: Positional[Text]
    """Name of the data set in Minari's form, such as restore-env/drqn-v0."""
    output: Path
    """Folder of the log."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A log that is ready to be written.

    Attributes:
        args: the options.
        dataset: the data set.
        header: header of the log.
    """

    args: Args
    dataset: MinariDataset
    header: LogHeader


def main(args: Args) -> int:
    """Write the log and return the number of its toolchains.

    Raises:
        Stopped: if SIGINT or SIGTERM came; the log holds what was written.
        ValueError: if an option or a file is wrong.
    """
    return run(plan(args))


def plan(args: Args) -> Plan:
    """Open the data set."""
    check_paths({}, folders={"--output": args.output})
    try:
        dataset = minari.load_dataset(args.dataset)
    except (OSError, TypeError, ValueError) as error:
        raise FormatError(f"dataset={args.dataset!r}: {error}") from error
    return Plan(args=args, dataset=dataset, header=header_of(dataset))


def run(plan: Plan) -> int:
    """Write the log as planned, as `main` does."""
    folder, dataset = plan.args.output, plan.dataset
    make_folders(folder)
    lock_folder(folder)
    with (
        stop_request() as request,
        ToolchainLogWriter(folder, plan.header) as log,
        progress_bar("toolchains") as report,
    ):
        for first in range(len(log), len(dataset), BATCH):
            log.add(toolchains_of(dataset, range(first, min(first + BATCH, len(dataset)))))
            report(len(log) / len(dataset))
            request.check()
        return len(log)


def header_of(dataset: MinariDataset) -> LogHeader:
    """Return the header of the log that a data set was exported from.

    Raises:
        FormatError: if the data set was not exported from a log.
    """
    content = dataset.storage.metadata.get("toolchain_log")
    if content is None:
        raise FormatError(f"dataset={dataset.id!r}: not one that agents.export_minari wrote, so it has no references")
    with as_format_error(Path(dataset.storage.data_path)):
        return LogHeader(**(content | {"actions": tuple(content["actions"])}))


def toolchains_of(dataset: MinariDataset, rows: range) -> Toolchains:
    """Return the toolchains of some episodes.

    Args:
        dataset: a data set that `agents.export_minari` wrote.
        rows: numbers of the episodes.

    Raises:
        FormatError: if an episode is not one that `agents.export_minari` wrote.
    """
    with as_format_error(Path(dataset.storage.data_path)):
        episodes = list(dataset.iterate_episodes(rows))
        metadata = dataset.storage.get_episode_metadata(rows)
        return Toolchains(
            np.stack([episode.observations["image"][0] for episode in episodes]),
            np.stack([episode.infos["reference"][0] for episode in episodes]),
            np.stack([episode.infos["toolchain"][-1] for episode in episodes]),
            [json.loads(entry.get("distortion", "null")) for entry in metadata],
        )


if __name__ == "__main__":
    run_program(main, Args)

"""Export a toolchain log as a Minari data set, for libraries of offline reinforcement learning.

    python -m agents.export_minari toolchains/ --output restore-env/drqn-v0

It needs Minari, but not jax: pip install "minari[hdf5]". `agents.import_minari` makes a log of the data set again.

Each toolchain becomes an episode of `ImageRestore-v1`, which is played again for its observations, rewards and infos.
A toolchain with fewer tools than `max_steps` ends with *stop*. Infos are those of the environment. They also hold the
reference image, at each step, as `reference`.
"""

import json
import shutil
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import gymnasium as gym
import minari
import numpy as np
import torch
from minari.data_collector import EpisodeBuffer
from minari.dataset.minari_dataset import parse_dataset_id
from minari.dataset.minari_storage import MinariStorage
from minari.namespace import create_namespace, list_local_namespaces
from minari.storage.datasets_root_dir import get_dataset_path
from numpy.typing import NDArray
from tyro.conf import Positional

from restore_env import ImageRestoreEnv, Toolbox, load_toolbox, load_toolchain_log
from restore_env.constants import ENV_ID
from restore_env.data.pairs import Pair
from restore_env.data.toolchain_log import ToolchainLog, Toolchains
from restore_env.toolbox import available_toolboxes
from restore_env.training.program import check_paths, run_program
from restore_env.training.signals import stop_request
from restore_env.utils.checks import Device, Options, Text
from restore_env.utils.files import naming_full_disk
from restore_env.utils.progress import progress_bar

BATCH: Final = 64
"""Toolchains that are played side by side."""


@dataclass(kw_only=True)
class Args(Options):
    """Export a toolchain log as a Minari data set.

    Raises:
        ValueError: if an option is outside its range.
    """

    log: Positional[Path]
    """Folder of the toolchain log."""
    output: Text
    """Name of the data set in Minari's form, such as restore-env/drqn-v0. Minari keeps it in ~/.minari/datasets, or in
    the folder that the variable MINARI_DATASETS_PATH names. A data set of this name must not exist."""
    toolbox: Text | None = None
    """Name or folder of the toolbox that made the log. By default the shipped toolbox that the log names."""
    trust: bool = False
    """Import the network classes that the toolbox folder names. This runs their code: trust only your own folders."""
    device: Device = "cpu"
    """Device of the tools: cpu or cuda."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """An export that is ready to run.

    Attributes:
        args: the options.
        log: the toolchains.
        toolbox: the tools.
        name: name or folder of the toolbox, for the data set's description of its environment.
        target: folder of the data set.
    """

    args: Args
    log: ToolchainLog
    toolbox: Toolbox
    name: str
    target: Path


def main(args: Args) -> int:
    """Write the data set and return the number of its episodes.

    Raises:
        Stopped: if SIGINT or SIGTERM came; there is no data set then.
        ValueError: if an option or a file is wrong.
    """
    return run(plan(args))


def plan(args: Args) -> Plan:
    """Open the log and its tools, and check the name of the data set."""
    log, target = load_toolchain_log(args.log), check_dataset_id(args.output)
    header = log.header
    if args.toolbox is None and header.toolbox not in available_toolboxes():
        raise ValueError(f"{args.log}: made with the toolbox {header.toolbox!r}; name its folder with --toolbox")
    name = args.toolbox or header.toolbox
    check_paths({"log": args.log, "--toolbox": name}, folders={"--output": target})
    toolbox = load_toolbox(name, args.device, trust=args.trust)
    if toolbox.action_names != header.actions:
        raise ValueError(f"toolbox={name!r} has not the actions of {args.log}: {', '.join(header.actions)}")
    return Plan(args=args, log=log, toolbox=toolbox, name=name, target=target)


def run(plan: Plan) -> int:
    """Write the data set as planned, as `main` does."""
    log, header = plan.log, plan.log.header
    sizes: dict[str, Any] = {"patch_size": header.patch_size, "max_steps": header.max_steps}
    env = ImageRestoreEnv(toolbox=plan.toolbox, device=plan.args.device, **sizes)
    spec = replace(gym.spec(ENV_ID), kwargs={"toolbox": plan.name, **sizes})
    with stop_request() as request, new_dataset(plan.target) as folder, progress_bar("episodes") as report:
        spaces = env.observation_space, env.action_space
        storage = MinariStorage.new(folder, *spaces, spec, jpeg_encoding=False)  # JPEG would change the images
        storage.update_metadata(
            {
                "dataset_id": plan.args.output,
                "minari_version": minari.__version__,
                "algorithm_name": header.policy,
                "description": f"Toolchains of {header.policy or 'an agent'} on {header.source or 'pairs'}.",
                "toolchain_log": asdict(header),
            }
        )
        for first in range(0, len(log), BATCH):
            some = log[first : first + BATCH]
            storage.update_episodes(episodes(env, some))
            if any(some.distortions):
                rows = range(first, first + len(some.chain))
                storage.update_episode_metadata([{"distortion": json.dumps(it)} for it in some.distortions], rows)
            report((first + len(some.chain)) / len(log))
            request.check()
    return len(log)


def check_dataset_id(name: str) -> Path:
    """Return the folder of a new data set of Minari.

    Raises:
        ValueError: if the name is not in Minari's form, or there is such a data set.
    """
    try:
        parse_dataset_id(name)
    except (TypeError, ValueError) as error:  # a TypeError where the version is missing
        raise ValueError(f"output={name!r} is not a name such as restore-env/drqn-v0") from error
    target: Path = get_dataset_path(name)
    if target.exists():
        raise ValueError(f"output={name!r}: {target} exists; choose another name or version, or delete it")
    return target


@contextmanager
def new_dataset(target: Path) -> Iterator[Path]:
    """Yield the folder for the files of a new data set, which becomes visible to Minari when the block has ended.

    If the block raises an error, all is removed. Minari ignores what a killed program left, because its name begins
    with a dot.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
    (beside / "data").mkdir(parents=True)
    try:
        with naming_full_disk(target):
            yield beside / "data"
        namespace = target.relative_to(get_dataset_path()).parent.as_posix()
        if namespace not in (".", *list_local_namespaces()):
            create_namespace(namespace)
        beside.rename(target)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def episodes(env: ImageRestoreEnv, some: Toolchains) -> list[EpisodeBuffer]:
    """Play toolchains again, and return their episodes in Minari's form.

    Args:
        env: an environment with the tools and sizes of the log.
        some: n toolchains.

    Returns:
        n episodes. One of t steps has t actions, rewards, terminations and truncations, and t + 1 observations and
        infos.
    """
    core, n, steps = env._core, len(some.chain), some.chain.shape[1]
    pairs = zip(some.distorted, some.reference, some.distortions or [None] * n, strict=True)
    core.start([Pair(*pair) for pair in pairs])
    actions = np.where(some.chain < 0, core.batch.toolbox.stop, some.chain)
    everyone = np.arange(n)
    seen: list[tuple[Any, Any]] = [(core.observations(), core.infos(everyone))]
    outcomes: list[tuple[NDArray[Any], ...]] = []
    for step in range(steps):
        outcomes.append(tuple(value.numpy(force=True) for value in core.batch.step(torch.from_numpy(actions[:, step]))))
        seen.append((core.observations(), core.infos(everyone)))
    # lists of t arrays (n, ...) -> arrays (n, t, ...)
    observations, infos = (_stacked(all_) for all_ in zip(*seen, strict=True))
    rewards, terminated, truncated = (np.stack(values, 1) for values in zip(*outcomes, strict=True))
    lengths = np.minimum((some.chain >= 0).sum(1) + 1, steps)  # *stop* is a step too
    return [
        EpisodeBuffer(
            observations={key: values[row, : length + 1] for key, values in observations.items()},
            actions=actions[row, :length],
            rewards=rewards[row, :length],
            terminations=terminated[row, :length],
            truncations=truncated[row, :length],
            infos={key: values[row, : length + 1] for key, values in infos.items()}
            | {"reference": np.stack([some.reference[row]] * (length + 1))},
        )
        for row, length in enumerate(lengths.tolist())
    ]


def _stacked(dictionaries: Sequence[dict[str, NDArray[Any]]]) -> dict[str, NDArray[Any]]:
    """Return t dictionaries of arrays (n, ...) as one of arrays (n, t, ...)."""
    return {key: np.stack([one[key] for one in dictionaries], 1) for key in dictionaries[0]}


if __name__ == "__main__":
    run_program(main, Args)

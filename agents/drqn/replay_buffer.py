"""Replay buffer of whole episodes, with images as bytes, in files from which a training resumes exactly."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.lib.format import open_memmap
from numpy.typing import NDArray
from torch import Tensor

from restore_env.utils.files import take_space, write_text

Layout = dict[str, tuple[tuple[int, ...], type[np.generic]]]
"""Shapes and dtypes of arrays, by name."""

NO_STEP: Final = -1
"""In `Episodes.action`: the episode had ended before."""


@dataclass(frozen=True)
class Episodes:
    """n whole episodes of at most t steps.

    Attributes:
        image: uint8 (n, t, h, w, 3), the observed image before each step.
        action: int64 (n, t), the action taken; -1 after the end.
        reward: float32 (n, t), the reward of that action; 0 after the end.
    """

    image: Tensor
    action: Tensor
    reward: Tensor

    def __len__(self) -> int:
        return len(self.action)

    def to(self, device: str | torch.device) -> "Episodes":
        """Return the episodes on a device."""
        return Episodes(*(value.to(device) for value in vars(self).values()))


class ReplayBuffer:
    """Holds the last episodes in the files of a folder.

    The files have room for a margin of episodes beyond those that are sampled. Episodes that are added after a
    checkpoint replace none that the checkpoint samples, so they can be added again after a crash.

    Attributes:
        found: whether the files were there, in the right shape.
        count: episodes that were ever added.

    Args:
        folder: folder of the files; existing files are kept if they fit.
        capacity: episodes that are sampled.
        margin: largest number of episodes between two checkpoints.
        max_steps: largest number of steps of an episode.
        side: height and width of the images in pixels.

    Raises:
        ValueError: if the disk has no room for the files.
    """

    def __init__(self, folder: Path, capacity: int, margin: int, max_steps: int, side: int) -> None:
        self.capacity, self.slots = capacity, capacity + margin
        self.found, self._arrays = _open(folder, layout(self.slots, max_steps, side))
        self.count = 0

    def __len__(self) -> int:
        """Return the number of episodes that are sampled."""
        return min(self.count, self.capacity)

    def add(self, episodes: Episodes) -> None:
        """Add episodes in place of the oldest."""
        slots = np.arange(self.count, self.count + len(episodes)) % self.slots
        for name, array in self._arrays.items():
            array[slots] = getattr(episodes, name).cpu().numpy()
        self.count += len(episodes)

    def sample(self, n: int, rng: np.random.Generator) -> Episodes:
        """Return n episodes on the CPU, drawn uniformly and with replacement."""
        slots = (self.count - len(self) + rng.integers(len(self), size=n)) % self.slots
        content = {name: torch.from_numpy(array[slots]) for name, array in self._arrays.items()}
        return Episodes(**(content | {"action": content["action"].long()}))

    def flush(self) -> None:
        """Write to the disk what the system still holds back."""
        for array in self._arrays.values():
            if isinstance(array, np.memmap):
                array.flush()


def layout(slots: int, max_steps: int, side: int) -> Layout:
    """Return the layout of a buffer with room for `slots` episodes."""
    shape = (slots, max_steps)
    return {
        "image": ((*shape, side, side, 3), np.uint8),
        "action": (shape, np.int16),
        "reward": (shape, np.float32),
    }


def bytes_needed(arrays: Layout) -> int:
    """Return the size of arrays on the disk, without the headers of their files.

    Example:
        >>> bytes_needed(layout(slots=1, max_steps=3, side=63)) // 3
        11913
    """
    return sum(prod(shape) * np.dtype(dtype).itemsize for shape, dtype in arrays.values())


def _open(folder: Path, arrays: Layout) -> tuple[bool, dict[str, NDArray[Any]]]:
    """Return whether the arrays of a folder fit the layout, and the arrays; create them if they do not fit."""
    description = json.dumps({name: [list(shape), dtype.__name__] for name, (shape, dtype) in arrays.items()})
    path, files = folder / "replay.json", {name: folder / f"{name}.npy" for name in arrays}
    found = all(file.exists() for file in (path, *files.values())) and path.read_text().strip() == description
    folder.mkdir(parents=True, exist_ok=True)
    if not found:
        _create(files, arrays)
    opened: dict[str, NDArray[Any]] = {
        name: open_memmap(files[name], mode="r+", dtype=dtype, shape=shape) for name, (shape, dtype) in arrays.items()
    }
    if not found:
        write_text(path, description)
    return found, opened


def _create(files: Mapping[str, Path], arrays: Layout) -> None:
    """Create the files of arrays with all of their space, or none of them."""
    for file in files.values():
        file.unlink(missing_ok=True)  # what an earlier buffer took counts as room
    folder = next(iter(files.values())).parent
    _check_room(folder, bytes_needed(arrays))
    try:
        for name, (shape, dtype) in arrays.items():
            open_memmap(files[name], mode="w+", dtype=dtype, shape=shape)
            take_space(files[name])
    except OSError:
        for file in files.values():
            file.unlink(missing_ok=True)
        raise


def _check_room(folder: Path, needed: int) -> None:
    """Raise a `ValueError` if the disk has no room for a buffer."""
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise ValueError(
            f"{folder}: the replay buffer needs {needed / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free; "
            "a smaller --buffer-size needs less"
        )

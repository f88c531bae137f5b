"""Replay buffer of whole episodes, with images as bytes, in files from which a training resumes exactly."""

import json
import shutil
from dataclasses import dataclass
from hashlib import sha256
from math import prod
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.lib.format import open_memmap
from numpy.typing import NDArray
from torch import Tensor

from restore_env.errors import FormatError
from restore_env.utils.checks import one_line
from restore_env.utils.files import replacing, take_space, write_text

Layout = dict[str, tuple[tuple[int, ...], type[np.generic]]]
"""Shapes and dtypes of arrays, by name."""

DESCRIPTION: Final = "replay.json"
"""File of the layout."""

DIGESTS: Final = "sha256"
"""Name of the array of checksums."""

NO_STEP: Final = -1
"""In `Episodes.action`: the episode had ended before."""


@dataclass(frozen=True)
class Episodes:
    """n whole episodes of at most t steps.

    Attributes:
        image: uint8 (n, t, h, w, 3), the observed image before each step.
        action: int64 (n, t), the action taken; -1 after the end.
        reward: float32 (n, t), the reward of that action; 0 after the end.
        tried: float32 (n, t, actions), for each action that was tried its reward plus the discounted value of the state
            that it led to, as the network saw it then; NaN for the others.
    """

    image: Tensor
    action: Tensor
    reward: Tensor
    tried: Tensor

    def __len__(self) -> int:
        return len(self.action)

    def to(self, device: str | torch.device) -> "Episodes":
        """Return the episodes on a device."""
        return Episodes(*(value.to(device) for value in vars(self).values()))


class ReplayBuffer:
    """Holds the last episodes in the files of a folder.

    The files have room for a margin of episodes beyond those that are sampled. Episodes that are added after a
    checkpoint replace none that the checkpoint samples, so they can be added again after a crash.

    The file `sha256.npy` holds the checksums of each episode. A training that resumes compares the episodes that it
    samples with them, once.

    Attributes:
        count: episodes that were ever added.

    Args:
        folder: folder of the files; existing files are kept if they fit.
        capacity: episodes that are sampled.
        margin: largest number of episodes between two checkpoints.
        max_steps: largest number of steps of an episode.
        side: height and width of the images in pixels.
        actions: number of actions.
        count: episodes that were added before the checkpoint; if there are any, the files must hold them.

    Raises:
        FormatError: if the files do not hold these episodes, or an episode is damaged.
        ValueError: if the disk has no room for the files.
    """

    def __init__(
        self, folder: Path, capacity: int, margin: int, max_steps: int, side: int, actions: int, count: int = 0
    ) -> None:
        self.folder, self.capacity, self.slots, self.count = folder, capacity, capacity + margin, count
        arrays = layout(self.slots, max_steps, side, actions)
        try:
            self._arrays = _open(folder, arrays)
            self._digests = self._open_digests(*arrays[DIGESTS])
        except FormatError:
            if count:
                raise
            self._arrays = _create(folder, arrays)
            self._digests = self._arrays.pop(DIGESTS)
        self._check()

    def __len__(self) -> int:
        """Return the number of episodes that are sampled."""
        return min(self.count, self.capacity)

    def add(self, episodes: Episodes) -> None:
        """Add episodes in place of the oldest."""
        slots = np.arange(self.count, self.count + len(episodes)) % self.slots
        for name, array in self._arrays.items():
            array[slots] = getattr(episodes, name).cpu().numpy()
        for slot in slots.tolist():
            self._digests[slot] = self._digests_of(slot)
        self.count += len(episodes)

    def sample(self, n: int, rng: np.random.Generator) -> Episodes:
        """Return n episodes on the CPU, drawn uniformly and with replacement."""
        slots = (self.count - len(self) + rng.integers(len(self), size=n)) % self.slots
        content = {name: torch.from_numpy(array[slots]) for name, array in self._arrays.items()}
        return Episodes(**(content | {"action": content["action"].long()}))

    def flush(self) -> None:
        """Write to the disk what the system still holds back."""
        for array in (*self._arrays.values(), self._digests):
            if isinstance(array, np.memmap):
                array.flush()

    def _sampled(self) -> list[int]:
        """Return the slots of the episodes that are sampled."""
        return [number % self.slots for number in range(self.count - len(self), self.count)]

    def _digests_of(self, slot: int) -> NDArray[np.uint8]:
        """Return the SHA-256 of each array's part of an episode, uint8 (arrays, 32)."""
        digests = [sha256(array[slot].tobytes()).digest() for array in self._arrays.values()]
        return np.array([list(digest) for digest in digests], np.uint8)

    def _open_digests(self, shape: tuple[int, ...], dtype: type[np.generic]) -> NDArray[Any]:
        """Open the file of checksums. If there is none, make it, because version 0.1 wrote none."""
        path = self.folder / f"{DIGESTS}.npy"
        if not path.exists():
            digests = np.zeros(shape, dtype)
            for slot in self._sampled():
                digests[slot] = self._digests_of(slot)
            with replacing(path) as temporary:
                np.save(temporary, digests)
        return _open_array(path, shape, dtype)

    def _check(self) -> None:
        """Compare the episodes that are sampled with their checksums."""
        for slot in self._sampled():
            equal = (self._digests[slot] == self._digests_of(slot)).all(1)  # (arrays, 32) -> (arrays,)
            for name, same in zip(self._arrays, equal, strict=True):
                if not same:
                    path = self.folder / f"{name}.npy"
                    raise FormatError(f"{path}: damaged, an episode's SHA-256 is not the one in {DIGESTS}.npy")


def layout(slots: int, max_steps: int, side: int, actions: int) -> Layout:
    """Return the layout of a buffer with room for `slots` episodes."""
    shape = (slots, max_steps)
    content: Layout = {
        "image": ((*shape, side, side, 3), np.uint8),
        "action": (shape, np.int16),
        "reward": (shape, np.float32),
        "tried": ((*shape, actions), np.float32),
    }
    return content | {DIGESTS: ((slots, len(content), sha256().digest_size), np.uint8)}


def bytes_needed(arrays: Layout) -> int:
    """Return the size of arrays on the disk, without the headers of their files.

    Example:
        >>> bytes_needed(layout(slots=1, max_steps=3, side=63, actions=13)) // 3
        12007
    """
    return sum(prod(shape) * np.dtype(dtype).itemsize for shape, dtype in arrays.values())


def _open(folder: Path, arrays: Layout) -> dict[str, NDArray[Any]]:
    """Open the arrays in a folder, but for the checksums, or raise a `FormatError` that names what does not fit."""
    path = folder / DESCRIPTION
    try:
        fits = path.read_text().strip() == _description(arrays)
    except (OSError, ValueError):
        fits = False
    if not fits:
        raise FormatError(f"{path}: missing, damaged, or of a replay buffer of another size")
    return {name: _open_array(folder / f"{name}.npy", *arrays[name]) for name in arrays if name != DIGESTS}


def _create(folder: Path, arrays: Layout) -> dict[str, NDArray[Any]]:
    """Make the arrays in a folder with all of their space, or none of them."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {name: folder / f"{name}.npy" for name in arrays}
    _remove(folder / DESCRIPTION, *files.values())  # what an earlier buffer took counts as room
    _check_room(folder, bytes_needed(arrays))
    try:
        for name, (shape, dtype) in arrays.items():
            open_memmap(files[name], mode="w+", dtype=dtype, shape=shape)
            take_space(files[name])
    except OSError:
        _remove(*files.values())
        raise
    opened: dict[str, NDArray[Any]] = {name: open_memmap(file, mode="r+") for name, file in files.items()}
    write_text(folder / DESCRIPTION, _description(arrays))
    return opened


def _remove(*paths: Path) -> None:
    """Remove files that may be there."""
    for path in paths:
        path.unlink(missing_ok=True)


def _open_array(path: Path, shape: tuple[int, ...], dtype: type[np.generic]) -> NDArray[Any]:
    """Open an array to read and write, or raise a `FormatError` that names its file."""
    try:
        found = open_memmap(path, mode="r")  # to write, NumPy would lengthen a file that is too short
    except Exception as error:  # NumPy raises almost anything for a damaged header
        raise FormatError(f"{path}: missing or damaged ({one_line(error)})") from error
    if (found.shape, found.dtype) != (shape, np.dtype(dtype)):
        raise FormatError(f"{path}: damaged, its shape or dtype is not that of the replay buffer")
    opened: NDArray[Any] = open_memmap(path, mode="r+")
    return opened


def _description(arrays: Layout) -> str:
    """Return what the description of a folder holds: the arrays of version 0.1, which had no checksums."""
    shapes = {name: [list(shape), dtype.__name__] for name, (shape, dtype) in arrays.items() if name != DIGESTS}
    return json.dumps(shapes)


def _check_room(folder: Path, needed: int) -> None:
    """Raise a `ValueError` if the disk has no room for a buffer."""
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise ValueError(
            f"{folder}: the replay buffer needs {needed / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free; "
            "a smaller --buffer-size needs less"
        )

"""What an agent remembers: whole episodes, images as bytes, in files, so that a training goes on exactly."""

import json
import shutil
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.lib.format import open_memmap
from numpy.typing import NDArray
from torch import Tensor

from restore_env.utils.files import write_text

Kinds = dict[str, tuple[tuple[int, ...], type[np.generic]]]
"""Shapes and dtypes of arrays by name."""

NO_STEP: Final = -1
"""In `action`: the episode had ended before."""


@dataclass(frozen=True)
class Episodes:
    """n whole episodes of at most t steps, with what is known of each state's actions.

    Attributes:
        image: uint8 (n, t, h, w, 3), what was seen before each step.
        action: int64 (n, t), what was done; -1 after the end.
        reward: float32 (n, t, actions), of each action.
        value: float32 (n, t, actions), what was thought to follow after each action.
        known: bool (n, t, actions), which of those were computed.
    """

    image: Tensor
    action: Tensor
    reward: Tensor
    value: Tensor
    known: Tensor

    def __len__(self) -> int:
        return len(self.action)

    def to(self, device: str | torch.device) -> "Episodes":
        """The episodes on a device."""
        return Episodes(*(value.to(device) for value in vars(self).values()))


class Replay:
    """The last episodes, in files of a folder.

    The files hold a margin more than is drawn from, so that what was written after a checkpoint, and is written again
    after it, has replaced nothing that is drawn from in between.

    Attributes:
        found: whether the files were there, and of the right shape.

    Args:
        folder: of the files; what is there is kept if it fits.
        capacity: episodes that are drawn from.
        margin: episodes that are added between two checkpoints, at most.
        max_steps: steps of an episode, at most.
        side: height and width of the images in pixels.
        actions: number of actions.
    """

    def __init__(self, folder: Path, capacity: int, margin: int, max_steps: int, side: int, actions: int) -> None:
        self.capacity, self.slots = capacity, capacity + margin
        self.found, self._arrays = _open(folder, _kinds(self.slots, max_steps, side, actions))
        self.priority = np.ones(self.slots)
        self.count = 0

    def __len__(self) -> int:
        """Episodes that can be drawn."""
        return min(self.count, self.capacity)

    def add(self, episodes: Episodes) -> None:
        """Remember episodes in place of the oldest."""
        places = np.arange(self.count, self.count + len(episodes)) % self.slots
        for name, array in self._arrays.items():
            array[places] = getattr(episodes, name).cpu().numpy()
        self.priority[places] = self.priority[self._places()].max() if len(self) else 1.0
        self.count += len(episodes)

    def draw(self, n: int, rng: np.random.Generator, exponent: float) -> tuple[NDArray[np.int64], Tensor]:
        """Draw n episodes.

        Args:
            n: how many.
            rng: what draws.
            exponent: of the priorities; 0 draws evenly.

        Returns:
            their places, and float32 (n,) weights that make up for uneven drawing, at most 1.
        """
        places = self._places()
        if not exponent:
            return places[rng.integers(len(places), size=n)], torch.ones(n)
        shares = self.priority[places] ** exponent
        shares = shares / shares.sum()
        drawn = rng.choice(len(places), size=n, p=shares)
        weights = 1 / (len(places) * shares[drawn])
        return places[drawn], torch.from_numpy(weights / weights.max()).float()

    def __getitem__(self, places: NDArray[np.int64]) -> Episodes:
        content = {name: torch.from_numpy(array[places]) for name, array in self._arrays.items()}
        return Episodes(**(content | {"action": content["action"].long()}))

    def _places(self) -> NDArray[np.int64]:
        return np.arange(self.count - len(self), self.count) % self.slots

    def flush(self) -> None:
        """Write to the disk what the system still holds back."""
        for array in self._arrays.values():
            if isinstance(array, np.memmap):
                array.flush()

    def state(self) -> dict[str, Any]:
        """What the files do not hold."""
        return {"count": self.count, "priority": torch.from_numpy(self.priority.copy())}

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from it."""
        self.count, self.priority = int(state["count"]), state["priority"].numpy().copy()


def bytes_needed(slots: int, max_steps: int, side: int, actions: int) -> int:
    """Bytes on the disk for so many episodes."""
    return _size(_kinds(slots, max_steps, side, actions))


def _size(kinds: Kinds) -> int:
    return sum(prod(shape) * np.dtype(kind).itemsize for shape, kind in kinds.values())


def _kinds(slots: int, max_steps: int, side: int, actions: int) -> Kinds:
    shape = (slots, max_steps)
    return {
        "image": ((*shape, side, side, 3), np.uint8),
        "action": (shape, np.int16),
        "reward": ((*shape, actions), np.float32),
        "value": ((*shape, actions), np.float32),
        "known": ((*shape, actions), np.bool_),
    }


def _open(folder: Path, kinds: Kinds) -> tuple[bool, dict[str, NDArray[Any]]]:
    """Whether the arrays of a folder fit, and the arrays; made anew if they do not.

    Raises:
        ValueError: if there is no room for them.
    """
    description = json.dumps({name: [list(shape), kind.__name__] for name, (shape, kind) in kinds.items()})
    path, files = folder / "replay.json", {name: folder / f"{name}.npy" for name in kinds}
    there = all(file.exists() for file in (path, *files.values())) and path.read_text().strip() == description
    folder.mkdir(parents=True, exist_ok=True)
    if not there:
        _check_room(folder, _size(kinds))
    arrays: dict[str, NDArray[Any]] = {
        name: open_memmap(files[name], mode="r+" if there else "w+", dtype=kind, shape=shape)
        for name, (shape, kind) in kinds.items()
    }
    if not there:
        write_text(path, description)
    return there, arrays


def _check_room(folder: Path, needed: int) -> None:
    # The files fill up bit by bit; a disk that is full then would end the program without a word.
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise ValueError(
            f"{folder}: {needed / 1e9:.1f} GB are needed for what is remembered, {free / 1e9:.1f} GB are free; "
            "a smaller --replay-steps needs less"
        )

"""Toolchain logs: what a policy did on known pairs, enough to replay it.

A log is a folder. `toolchains.json` says the format, the policy, the toolbox, its actions, the patch size, the longest
toolchain and where the pairs come from. `part-000000.npy`, `part-000001.npy` and so on hold the toolchains, each file a
NumPy structured array with, for each of them, `distorted` and `reference`, uint8 (h, w, 3) RGB, and `toolchain`, int16
(max_steps,): the numbers of the tools applied, then -1. Parts are complete or not there, and are read where they lie
on the disk, so that a log may be larger than memory.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from os import PathLike
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from restore_env.errors import FormatError
from restore_env.utils.files import make_folders, replacing
from restore_env.utils.serialization import FORMAT_VERSION, read_json, write_json

HEADER: Final = "toolchains.json"
PART: Final = "part-{:06d}.npy"
PART_SIZE: Final = 1024
"""Toolchains in a part: 24 MB of 63x63 patches, which is what a writer keeps in memory."""

OPEN_PARTS: Final = 64
"""Parts that a log keeps open."""


class Toolchains(NamedTuple):
    """Some toolchains of a log.

    Attributes:
        distorted: uint8 (n, h, w, 3).
        reference: uint8 (n, h, w, 3).
        chain: int64 (n, max_steps), the numbers of the tools applied, then -1.
    """

    distorted: NDArray[np.uint8]
    reference: NDArray[np.uint8]
    chain: NDArray[np.int64]


@dataclass(frozen=True)
class LogHeader:
    """What a log says of itself.

    Attributes:
        policy: name of the policy that acted, "" if unknown.
        toolbox: name of the toolbox.
        actions: names of its actions, *stop* at the end.
        patch_size: height and width of the images in pixels.
        max_steps: tools in a toolchain at most.
        source: where the pairs come from, in words.
        seed: that the pairs were drawn with, None if unknown.
        digest: letters that stand for the photos, tools and policy, "" if unknown: others may have the same names.
    """

    policy: str
    toolbox: str
    actions: tuple[str, ...]
    patch_size: int
    max_steps: int
    source: str = ""
    seed: int | None = None
    digest: str = ""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of an entry in a part."""
        image = (np.uint8, (self.patch_size, self.patch_size, 3))
        return np.dtype([("distorted", *image), ("reference", *image), ("toolchain", np.int16, (self.max_steps,))])


class ToolchainLogWriter:
    """Writes a log, or goes on with one; toolchains are kept in memory until a part is full, or `flush`.

    Args:
        folder: the log's; it is made if it is not there.
        header: what it says of itself.

    Raises:
        ValueError: if the folder holds another log; FormatError: if that is damaged.
    """

    def __init__(self, folder: str | PathLike[str], header: LogHeader) -> None:
        self.folder, self.header = Path(folder), header
        make_folders(self.folder)
        if (self.folder / HEADER).exists():
            existing = load_toolchain_log(self.folder)
            for key, value in asdict(header).items():
                found = getattr(existing.header, key)
                if found != value:
                    raise ValueError(f"{self.folder}: holds a log of another {key}, {found!r} and not {value!r}")
            self._parts, self._written = len(existing.lengths), len(existing)
        else:
            write_json(self.folder / HEADER, {"format": FORMAT_VERSION, **asdict(header)})
            self._parts = self._written = 0
        self._waiting = np.empty(PART_SIZE, header.dtype)
        self._count = 0

    def __len__(self) -> int:
        """Toolchains written and waiting."""
        return self._written + self._count

    def __enter__(self) -> "ToolchainLogWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self.flush()

    def add(self, toolchains: Toolchains) -> None:
        """Add toolchains.

        Raises:
            ValueError: if their sizes are not the header's.
        """
        size, steps = self.header.patch_size, self.header.max_steps
        n = len(toolchains.chain)
        expected = ((n, size, size, 3), (n, size, size, 3), (n, steps))
        arrays: tuple[NDArray[Any], ...] = toolchains
        for name, array, shape in zip(Toolchains._fields, arrays, expected, strict=True):
            if array.shape != shape:
                raise ValueError(f"{name} of the shape {array.shape}; {self.folder} needs {shape}")
        first = 0
        while first < n:
            count = min(n - first, PART_SIZE - self._count)
            for field, array in zip(self._waiting.dtype.names or (), arrays, strict=True):
                self._waiting[field][self._count : self._count + count] = array[first : first + count]
            self._count, first = self._count + count, first + count
            if self._count == PART_SIZE:
                self.flush()

    def flush(self) -> None:
        """Write what is waiting, as a part of its own."""
        if not self._count:
            return
        with replacing(self.folder / PART.format(self._parts)) as temporary:
            np.save(temporary, self._waiting[: self._count])
        self._parts, self._written, self._count = self._parts + 1, self._written + self._count, 0


class ToolchainLog:
    """A log that is read where it lies on the disk; made by `load_toolchain_log`.

    Attributes:
        folder: where it lies.
        header: what it says of itself.
        lengths: toolchains in each part.
    """

    def __init__(self, folder: Path, header: LogHeader, lengths: Sequence[int]) -> None:
        self.folder, self.header, self.lengths = folder, header, tuple(lengths)
        self._ends = np.cumsum(self.lengths, dtype=np.int64)
        # A part that is open holds a file descriptor, of which a process has about a thousand.
        self.part = lru_cache(OPEN_PARTS)(self._part)

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def __getitem__(self, rows: slice | Sequence[int] | NDArray[np.int64]) -> Toolchains:
        """Some toolchains, copied.

        Raises:
            FormatError: if a part is damaged.
        """
        wanted = np.arange(len(self))[rows] if isinstance(rows, slice) else np.asarray(rows, dtype=np.int64)
        if len(wanted) and not (wanted.min() >= 0 and wanted.max() < len(self)):
            raise IndexError(f"rows={wanted} of {len(self)} toolchains")
        found = np.empty(len(wanted), self.header.dtype)
        owners = np.searchsorted(self._ends, wanted, side="right")
        for owner in np.unique(owners).tolist():
            mine = owners == owner
            first = self._ends[owner] - self.lengths[owner]
            found[mine] = self.part(owner)[wanted[mine] - first]
        return Toolchains(found["distorted"], found["reference"], found["toolchain"].astype(np.int64))

    def _part(self, number: int) -> NDArray[np.void]:
        """One part, mapped into memory."""
        path = self.folder / PART.format(number)
        try:
            part: NDArray[np.void] = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise FormatError(f"{path}: not a NumPy array, or damaged ({error})") from error
        chains = part["toolchain"]
        if not (chains.min() >= -1 and chains.max() < len(self.header.actions) - 1):
            raise FormatError(f"{path}: a toolchain names a tool that {HEADER} does not")
        return part


def load_toolchain_log(folder: str | PathLike[str]) -> ToolchainLog:
    """Open a log.

    Raises:
        FormatError: if it is none, or damaged; the message names the file.
    """
    path = Path(folder) / HEADER
    if not path.is_file():
        raise FormatError(f"{folder}: no toolchain log; a folder with {HEADER} is needed")
    content = {key: value for key, value in read_json(path).items() if key != "format"}
    try:
        header = LogHeader(**(content | {"actions": tuple(content["actions"])}))
        dtype = header.dtype
    except (KeyError, TypeError, ValueError) as error:
        raise FormatError(f"{path}: {type(error).__name__}: {error}") from error
    files = sorted(Path(folder).glob(PART.replace("{:06d}", "*")))
    return ToolchainLog(Path(folder), header, [_length(file, dtype) for file in files])


def _length(path: Path, dtype: np.dtype[Any]) -> int:
    """Toolchains in a part, by its header and its size on the disk."""
    try:
        with path.open("rb") as file:
            version = np.lib.format.read_magic(file)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, _, found = read(file)
            whole = path.stat().st_size == file.tell() + shape[0] * found.itemsize
    except (OSError, ValueError, EOFError, IndexError) as error:
        raise FormatError(f"{path}: not a NumPy array, or damaged ({error})") from error
    if found != dtype or len(shape) != 1 or not shape[0]:
        raise FormatError(f"{path}: does not hold what {HEADER} says")
    if not whole:
        raise FormatError(f"{path}: not a NumPy array, or damaged (it was cut short)")
    return int(shape[0])

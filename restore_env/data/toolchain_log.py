"""Toolchain logs record what a policy did on known pairs, so that it can be replayed.

A log is a folder. `toolchains.json` holds the fields of `LogHeader`. The toolchains are in `part-000000.npy`,
`part-000001.npy` and so on. Each part is a NumPy structured array with three fields for each toolchain:

- `distorted` and `reference`: uint8 (h, w, 3) RGB.
- `toolchain`: int16 (max_steps,), the numbers of the tools that were applied, then -1.

Where the drawn parameters of the distortions are known, `part-000000.json` holds them, a list in the same order.

Several writers may add to a log at the same time, such as the workers of a vector environment: each adds whole parts.

A part is either complete or absent, and ends with its checksum. Parts are mapped into memory, so a log may be larger
than memory. They are compared with their checksums when they are first read.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import lru_cache
from os import PathLike
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from restore_env.data.distortions import Parameters
from restore_env.errors import FormatError
from restore_env.utils.checks import check_name, check_names, check_text, check_whole, one_line
from restore_env.utils.checksums import add_checksum, check_checksum, with_checksum, without_checksum
from restore_env.utils.files import check_regular, make_folders, replacing
from restore_env.utils.serialization import as_format_error, read_json, write_json

HEADER: Final = "toolchains.json"
PART: Final = "part-{:06d}.npy"
PART_SIZE: Final = 1024
"""Toolchains in a part; a writer keeps so many in memory, 24 MB with 63x63 patches."""

LOCK: Final = "toolchains.lock"
"""File that a writer holds while it adds a part."""

LOCK_SECONDS: Final = 60.0
"""How long a writer waits for another one; a part takes less than a second."""

OPEN_PARTS: Final = 64
"""Parts that a log keeps open; each holds a file descriptor, of which a process has about a thousand."""


class Toolchains(NamedTuple):
    """A batch of toolchains and the pairs that they were applied to.

    Attributes:
        distorted: uint8 (n, h, w, 3) RGB.
        reference: uint8 (n, h, w, 3) RGB.
        chain: int64 (n, max_steps), the numbers of the tools that were applied, then -1.
        distortions: n times the drawn parameters by their names, None where they are unknown; empty if all are.

    Example:
        >>> images = np.zeros((2, 63, 63, 3), np.uint8)
        >>> Toolchains(images, images, np.array([[4, 0, -1], [7, -1, -1]])).chain.shape
        (2, 3)
    """

    distorted: NDArray[np.uint8]
    reference: NDArray[np.uint8]
    chain: NDArray[np.int64]
    distortions: Sequence[Parameters | None] = ()


@dataclass(frozen=True)
class LogHeader:
    """The description of a log.

    Attributes:
        policy: name of the policy that acted, "" if unknown.
        toolbox: name of the toolbox.
        actions: names of the toolbox's actions; the last is "stop".
        patch_size: height and width of the images in pixels.
        max_steps: largest number of tools in a toolchain.
        source: where the pairs come from, in words.
        seed: seed that the pairs were drawn with, None if unknown.
        digest: digest of the photos, tools and policy, which tells them from others of the same names; "" if unknown.

    Raises:
        ValueError: if a field is not what it should be, or a name is one that no file can have.

    Example:
        >>> LogHeader("drqn", "my-tools", ("blur-1", "noise-1", "stop"), patch_size=63, max_steps=3).dtype.names
        ('distorted', 'reference', 'toolchain')
    """

    policy: str
    toolbox: str
    actions: tuple[str, ...]
    patch_size: int
    max_steps: int
    source: str = ""
    seed: int | None = None
    digest: str = ""

    def __post_init__(self) -> None:
        if self.policy:
            check_name("policy", self.policy)
        check_name("toolbox", self.toolbox)
        check_names("actions", self.actions)
        for name in ("policy", "source", "digest"):
            check_text(name, getattr(self, name))
        for name in ("patch_size", "max_steps"):
            check_whole(name, getattr(self, name), least=1)
        if self.seed is not None:
            check_whole("seed", self.seed, least=0)

    def knows(self, chains: NDArray[Any]) -> bool:
        """Return whether all numbers in toolchains are those of tools, or -1."""
        return not chains.size or bool(chains.min() >= -1 and chains.max() < len(self.actions) - 1)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of a toolchain in a part."""
        image = (np.uint8, (self.patch_size, self.patch_size, 3))
        return np.dtype([("distorted", *image), ("reference", *image), ("toolchain", np.int16, (self.max_steps,))])


class ToolchainLogWriter:
    """Write a new log or extend an existing one; use it in a `with` block.

    Toolchains are kept in memory until a part is full, `flush` is called, or the block ends.

    Args:
        folder: folder of the log; it is made if it does not exist.
        header: description of the log.

    Raises:
        ValueError: if the folder holds a log with another header, or another writer does not come to an end.
        FormatError: if the folder holds a log that is damaged.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> header = LogHeader("drqn", "my-tools", ("blur-1", "noise-1", "stop"), patch_size=8, max_steps=2)
        >>> images = np.zeros((3, 8, 8, 3), np.uint8)
        >>> with TemporaryDirectory() as folder:
        ...     with ToolchainLogWriter(folder, header) as log:
        ...         log.add(Toolchains(images, images, np.array([[1, 0], [0, -1], [-1, -1]])))
        ...     load_toolchain_log(folder)[1:].chain.tolist()
        [[0, -1], [-1, -1]]
    """

    def __init__(self, folder: str | PathLike[str], header: LogHeader) -> None:
        self.folder, self.header = Path(folder), header
        make_folders(self.folder)
        self._written = 0
        with self._alone():
            if (self.folder / HEADER).exists():
                existing = load_toolchain_log(self.folder)
                for key, value in asdict(header).items():
                    found = getattr(existing.header, key)
                    if found != value:
                        raise ValueError(f"{self.folder}: holds a log of another {key}, {found!r} and not {value!r}")
                self._written = len(existing)
            else:
                write_json(self.folder / HEADER, with_checksum(asdict(header)))
        self._waiting: list[tuple[np.void, Parameters | None]] = []

    def __len__(self) -> int:
        """Return the number of toolchains that were there at the start or come from this writer."""
        return self._written + len(self._waiting)

    def __enter__(self) -> "ToolchainLogWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self.flush()

    def add(self, toolchains: Toolchains) -> None:
        """Add toolchains to the log.

        Raises:
            ValueError: if an array's shape does not fit the header, or a toolchain has a tool that the header does not.
        """
        size, steps = self.header.patch_size, self.header.max_steps
        n = len(toolchains.chain)
        expected = ((n, size, size, 3), (n, size, size, 3), (n, steps))
        arrays: tuple[NDArray[Any], ...] = toolchains[:3]
        distortions = toolchains.distortions or [None] * n
        if len(distortions) != n:
            raise ValueError(f"{len(distortions)} distortions for {n} toolchains")
        for name, array, shape in zip(Toolchains._fields[:3], arrays, expected, strict=True):
            if array.shape != shape:
                raise ValueError(f"{name} of the shape {array.shape}; {self.folder} needs {shape}")
        if not self.header.knows(toolchains.chain):
            raise ValueError(f"chain: a number is not one of -1 to {len(self.header.actions) - 2}, the tools")
        rows = np.empty(n, self.header.dtype)
        for field, array in zip(rows.dtype.names or (), arrays, strict=True):
            rows[field] = array
        for row in zip(rows, distortions, strict=True):
            self._waiting.append(row)
            if len(self._waiting) == PART_SIZE:
                self.flush()

    def flush(self) -> None:
        """Write the toolchains that are in memory as a part of their own."""
        if self._waiting:
            rows, distortions = zip(*self._waiting, strict=True)
            with self._alone():
                path = self.folder / PART.format(len(_parts_in(self.folder)))
                path.with_suffix(".json").unlink(missing_ok=True)  # of a part that was not completed
                if any(distortions):  # first, since a part is there once its array is
                    write_json(path.with_suffix(".json"), with_checksum({"distortions": distortions}))
                with replacing(path) as temporary:
                    np.save(temporary, np.array(list(rows), self.header.dtype))
                    add_checksum(temporary)
            self._written += len(self._waiting)
            self._waiting = []

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep other writers out of the folder in the block."""
        try:
            with FileLock(self.folder / LOCK, timeout=LOCK_SECONDS):
                yield
        except Timeout as error:
            raise ValueError(
                f"{self.folder}: another program has been writing to this log for {LOCK_SECONDS:g} seconds; end it, or "
                "choose another folder"
            ) from error


class ToolchainLog:
    """A log on the disk, opened by `load_toolchain_log`; index it with a slice or numbers to read toolchains.

    Attributes:
        folder: folder of the log.
        header: description of the log.
        lengths: number of toolchains in each part.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> header = LogHeader("drqn", "my-tools", ("blur-1", "noise-1", "stop"), patch_size=8, max_steps=2)
        >>> images = np.zeros((3, 8, 8, 3), np.uint8)
        >>> with TemporaryDirectory() as folder:
        ...     with ToolchainLogWriter(folder, header) as writer:
        ...         writer.add(Toolchains(images, images, np.array([[1, 0], [0, -1], [-1, -1]])))
        ...     log = load_toolchain_log(folder)
        ...     len(log), log[[2, 0]].chain.tolist()
        (3, [[-1, -1], [1, 0]])
    """

    def __init__(self, folder: Path, header: LogHeader, lengths: Sequence[int]) -> None:
        self.folder, self.header, self.lengths = folder, header, tuple(lengths)
        self._ends = np.cumsum(self.lengths, dtype=np.int64)
        self._checked: set[int] = set()
        self.part = lru_cache(OPEN_PARTS)(self._part)
        self.parameters = lru_cache(OPEN_PARTS)(self._parameters)

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def __getitem__(self, rows: slice | Sequence[int] | NDArray[np.int64]) -> Toolchains:
        """Return copies of some toolchains.

        Args:
            rows: a slice, or the numbers of the toolchains.

        Raises:
            IndexError: if a number is out of range.
            FormatError: if a part is damaged.
        """
        wanted = np.arange(len(self))[rows] if isinstance(rows, slice) else np.asarray(rows, dtype=np.int64)
        if len(wanted) and not (wanted.min() >= 0 and wanted.max() < len(self)):
            raise IndexError(f"rows={wanted} of {len(self)} toolchains")
        found = np.empty(len(wanted), self.header.dtype)
        owners = np.searchsorted(self._ends, wanted, side="right")
        places = wanted - (self._ends - self.lengths)[owners]
        for owner in np.unique(owners).tolist():
            mine = owners == owner
            found[mine] = self.part(owner)[places[mine]]
        images = found["distorted"], found["reference"]
        return Toolchains(*images, found["toolchain"].astype(np.int64), self._distortions(owners, places))

    def _distortions(self, parts: NDArray[np.int64], places: NDArray[np.int64]) -> Sequence[Parameters | None]:
        """Return the parameters of some toolchains, given the number of their part and their place in it."""
        known = {part: self.parameters(part) for part in np.unique(parts).tolist()}
        if not any(known.values()):
            return ()
        rows = zip(parts.tolist(), places.tolist(), strict=True)
        return [known[part][place] if known[part] else None for part, place in rows]

    def _part(self, number: int) -> NDArray[np.void]:
        """Return a part, mapped into memory; check it the first time."""
        path = self.folder / PART.format(number)
        part = _open_part(path)
        if number not in self._checked:
            check_checksum(path)
            if not self.header.knows(part["toolchain"]):
                raise FormatError(f"{path}: a toolchain names a tool that {HEADER} does not")
            self._checked.add(number)
        return part

    def _parameters(self, number: int) -> Sequence[Parameters | None]:
        """Return the parameters of the distortions of a part, empty if they are unknown."""
        path = (self.folder / PART.format(number)).with_suffix(".json")
        if not path.is_file():
            return ()
        with as_format_error(path):
            found = without_checksum(read_json(path), path)["distortions"]
            if len(found) != self.lengths[number]:
                raise FormatError(f"{path}: distortions of {len(found)} toolchains; {self.lengths[number]} are needed")
            return [None if row is None else {str(name): float(value) for name, value in row.items()} for row in found]


def load_toolchain_log(folder: str | PathLike[str]) -> ToolchainLog:
    """Open a toolchain log.

    Args:
        folder: folder of the log.

    Returns:
        The log; its toolchains are read when asked for.

    Raises:
        FormatError: if the folder holds no log, or the log is damaged. The message names the file.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> header = LogHeader("drqn", "my-tools", ("blur-1", "noise-1", "stop"), patch_size=8, max_steps=2)
        >>> with TemporaryDirectory() as folder:
        ...     _ = ToolchainLogWriter(folder, header)
        ...     load_toolchain_log(folder).header.actions
        ('blur-1', 'noise-1', 'stop')
    """
    path = Path(folder) / HEADER
    if not path.is_file():
        raise FormatError(f"{folder}: no toolchain log; a folder with {HEADER} is needed")
    with as_format_error(path):
        content = without_checksum(read_json(path), path)
        header = LogHeader(**(content | {"actions": check_names("actions", content["actions"])}))
        dtype = header.dtype
    return ToolchainLog(Path(folder), header, [_length(file, dtype) for file in _parts_in(Path(folder))])


def _parts_in(folder: Path) -> list[Path]:
    """Return the parts of a log in order."""
    return sorted(folder.glob(PART.replace("{:06d}", "*")))


def _length(path: Path, dtype: np.dtype[Any]) -> int:
    """Return the number of toolchains in a part, or raise a `FormatError` if its dtype or shape is wrong."""
    part = _open_part(path)
    if part.dtype != dtype or part.ndim != 1 or not part.size:
        raise FormatError(f"{path}: does not hold what {HEADER} says")
    return len(part)


def _open_part(path: Path) -> NDArray[np.void]:
    """Map a part into memory, or raise a `FormatError` that names it."""
    try:
        check_regular(path)
        return np.lib.format.open_memmap(path, mode="r")
    except Exception as error:  # NumPy raises almost anything for a damaged header
        raise FormatError(f"{path}: not a NumPy array, or damaged ({one_line(error)})") from error

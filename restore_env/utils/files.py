"""Check where a program writes, and write files so that they are either complete or absent."""

import errno
import os
import re
import shutil
import stat
import sys
import time
import uuid
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Final

from restore_env.errors import DiskFullError

Given = str | os.PathLike[str] | None
"""A path as an option gives it, None if it was not given."""

Paths = Given | Iterable[Given]

RESULTS: Final = frozenset((".json", ".md", ".npz", ".zip"))
"""Endings of results. A folder of inputs may hold results, because no program reads them from there."""

DESCRIPTIONS: Final = frozenset(("toolbox.json", "policy.json", "toolchains.json", "training.json", "README.md"))
"""Files of toolbox, policy and log folders that have the ending of a result."""

LITTLE: Final = 2**20
"""Bytes that are free on a disk that counts as full."""

BLOCK: Final = 2**22
"""Bytes that are written at once where the system cannot take space."""

LONGEST_FILE_NAME: Final = 255
"""Bytes that the name of a file may have on nearly all disks."""

_TEMPORARY: Final = re.compile(r"\.(?P<stem>.*)\.[0-9a-f]{32}(?P<suffix>\.[^.]*)?")
"""Names of the temporary files of `replacing`."""

_STARTED: Final = time.time()
"""When this program started; temporary files of programs that still run are younger, or become so as they grow."""


def real_path(path: str | os.PathLike[str]) -> Path:
    """Return an absolute path without links; unlike `Path.resolve` it raises no error for a loop of links."""
    return Path(os.path.realpath(path))


def check_outputs(
    inputs: Mapping[str, Paths],
    *,
    files: Mapping[str, Paths] | None = None,
    folders: Mapping[str, Paths] | None = None,
    work: Mapping[str, Paths] | None = None,
    names: Collection[str] = (),
) -> None:
    """Refuse outputs that would overwrite an input or each other, or that cannot be written.

    A program calls this before all work. Links are followed, and a file that has two names is one file.

    Args:
        inputs: the files and folders that the program reads, by the names of the options. What does not exist is
            ignored.
        files: the files that it writes.
        folders: the folders that it writes.
        work: the folders of its unfinished work; unlike `folders` they may hold inputs.
        names: texts among the inputs that are no paths, such as the names of shipped toolboxes.

    Raises:
        ValueError: if an output is an input or another output, one of `folders` holds an input, or a folder is a file.
        OSError: if an output cannot be written.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     photo = Path(folder, "photo.png")
        ...     photo.touch()
        ...     try:
        ...         check_outputs({"IN": photo}, files={"--steps": photo})
        ...     except ValueError as error:
        ...         print(str(error).replace(folder, "..."))
        --steps .../photo.png: would be written over an input, IN; choose another --steps
    """
    read = _Inputs(inputs, names)
    written: dict[object, str] = {}
    probed: set[tuple[Path, int]] = set()
    for outputs, kind in ((files, "file"), (folders, "folder"), (work, "work")):
        for option, path in _pairs(outputs or {}):
            read.check(option, path, kind)
            keys = _keys(path)
            for other in (written[key] for key in keys if key in written):
                if option == other:
                    raise ValueError(f"{option} {path}: more than one of the inputs would be written there")
                raise ValueError(f"{option} {path}: {other} is written there too; choose another {option}")
            written |= dict.fromkeys(keys, option)
            _check_writable(option, path, kind != "file", probed)


class _Inputs:
    """What a program reads, so that each output is compared with all of it at once."""

    def __init__(self, inputs: Mapping[str, Paths], names: Collection[str]) -> None:
        self.names: dict[object, str] = {}
        self.folders: dict[object, str] = {}
        self.holders: dict[object, str] = {}
        for option, path in _pairs(inputs, names):
            if path.exists():
                self.names |= dict.fromkeys(_keys(path), option)
                self.holders |= dict.fromkeys(_places_above(path), option)
                self.folders |= {_place(path): option} if path.is_dir() else {}

    def check(self, option: str, path: Path, kind: str) -> None:
        """Raise a `ValueError` if an output would change what is read."""
        for key in _keys(path):
            if key in self.names:
                raise ValueError(
                    f"{option} {path}: would be written over an input, {self.names[key]}; choose another {option}"
                )
        if kind == "folder" and _place(path) in self.holders:
            holds = self.holders[_place(path)]
            raise ValueError(f"{option} {path}: this folder holds an input, {holds}; choose another {option}")
        of_inputs = path.name in DESCRIPTIONS or path.suffix.lower() not in RESULTS
        if kind == "file" and of_inputs and os.path.exists(path):
            for place in _places_above(path):
                if place in self.folders:
                    raise ValueError(
                        f"{option} {path}: would be written over a file of an input, {self.folders[place]}; choose "
                        f"another {option}"
                    )


def _pairs(options: Mapping[str, Paths], names: Collection[str] = ()) -> Iterator[tuple[str, Path]]:
    """Yield each option with each of its paths, but for texts that are empty or among the names."""
    for option, paths in options.items():
        for path in [paths] if paths is None or isinstance(paths, str | os.PathLike) else paths:
            if path is not None and path != "" and path not in names:
                yield option, Path(path)


def _place(path: Path) -> str:
    """Return a text that is the same for all spellings of a path."""
    text = str(real_path(path))
    return text.lower() if sys.platform in ("win32", "darwin") else text  # their disks ignore the case


def _places_above(path: Path) -> list[str]:
    """Return the places of the folders that a path lies in."""
    return [str(parent) for parent in Path(_place(path)).parents]


def _keys(path: Path) -> list[object]:
    """Return what a path has in common with all others of the same file: its place, and its number if it exists."""
    try:
        found = path.stat()
    except (OSError, ValueError):
        return [_place(path)]
    return [_place(path), (found.st_dev, found.st_ino)] if found.st_ino else [_place(path)]


def _check_writable(option: str, path: Path, is_folder: bool, probed: set[tuple[Path, int]]) -> None:
    """Raise an `OSError` if a file or folder cannot be written.

    Args:
        option: name of the option, for messages.
        path: the file or folder.
        is_folder: whether it is a folder.
        probed: the folders that are known to be fine, and for names of how many bytes; this one is added.
    """
    target, name = real_path(path), f"{option} {path}"
    exists = os.path.exists(target)  # unlike that of a `Path`, it raises no error for a name that is too long
    if is_folder and exists and not target.is_dir():
        raise ValueError(f"{name}: cannot be made a folder, because it is a file")
    if exists and not is_folder and target.is_dir():
        raise IsADirectoryError(f"{name}: a folder, not a file")
    if exists and not os.access(target, os.W_OK):
        raise PermissionError(f"{name}: is read-only")
    if exists and not (target.is_file() or target.is_dir()):  # a device or a pipe
        return
    folder = target if is_folder else target.parent
    while not os.path.lexists(folder) and folder != folder.parent:
        folder = folder.parent
    if os.path.islink(target) or os.path.islink(folder):
        raise OSError(f"{name}: a link that leads to itself")
    longest = max([0, *(len(os.fsencode(part)) for part in target.relative_to(folder).parts)])
    if (folder, longest) in probed:
        return
    try:
        probe = folder / f".probe.{uuid.uuid4().hex}".ljust(longest, "-")  # each disk has its own limit
        probe.touch(exist_ok=False)
        probe.unlink()
    except OSError as error:
        reason = error.strerror or error
        raise type(error)(f"{name}: the folder {str(folder)!r} cannot be written ({reason})") from error
    probed.add((folder, longest))


@contextmanager
def naming_full_disk(path: str | os.PathLike[str]) -> Iterator[None]:
    """Turn the error of a full disk in the block into one that names a file and its disk.

    Args:
        path: the file or folder that the block writes.

    Raises:
        DiskFullError: if the block failed because the disk is full.
        OSError: what the block raised, with the name of the file if it had none.
    """
    try:
        yield
    except DiskFullError:
        raise
    except (OSError, RuntimeError) as error:  # PyTorch raises a RuntimeError
        disk = real_path(path).parent
        while not os.path.ismount(disk):
            disk = disk.parent
        free, number = shutil.disk_usage(disk).free, getattr(error, "errno", None)
        # Some writers give no number. What they wrote so far still fills the disk.
        if number in (errno.ENOSPC, getattr(errno, "EDQUOT", None)) or (number is None and free < LITTLE):
            raise DiskFullError(f"{path}: No space left on the disk {disk} ({free / 1e6:.1f} MB free)") from error
        if isinstance(error, OSError) and error.filename is None and str(path) not in str(error):
            raise type(error)(f"{path}: cannot be written ({error.strerror or error})") from error
        raise


def take_space(path: Path) -> None:
    """Take the space of a file that is mostly a hole, so that the disk cannot be full when it is filled.

    The system ends a program without a message if the disk is full when it fills a file that is mapped into memory.

    Args:
        path: the file; its content and size stay.

    Raises:
        DiskFullError: if the disk has no room.
    """
    with naming_full_disk(path), path.open("r+b") as file:
        size = os.fstat(file.fileno()).st_size
        try:
            os.posix_fallocate(file.fileno(), 0, size)
        except (AttributeError, OSError) as error:  # not on macOS and Windows, and not on every disk
            if getattr(error, "errno", errno.EOPNOTSUPP) not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
                raise
            for start in range(0, size, BLOCK):
                file.seek(start)
                content = file.read(BLOCK)
                file.seek(start)
                file.write(content)
            file.flush()
            os.fsync(file.fileno())


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path that becomes `path` in one step.

    If the block raises an error, the temporary file is removed and `path` stays as it was. The temporary file lies
    beside `path` and has its suffix, because writers choose the format by the suffix. What a killed program left when
    it wrote the same file is removed.

    Args:
        path: the file to write or replace.

    Yields:
        The path that the block must write to.

    Raises:
        DiskFullError: if the disk is full.
        OSError: if the file cannot be written for another reason, or the block wrote nothing.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     with replacing(Path(folder, "result.txt")) as temporary:
        ...         _ = temporary.write_text("done")
        ...     Path(folder, "result.txt").read_text()
        'done'
    """
    target = real_path(path)
    if target.exists() and not target.is_file():  # a device or a pipe cannot be replaced
        with naming_full_disk(path):
            yield target
        return
    if not target.parent.is_dir():
        raise FileNotFoundError(f"{path}: the folder {str(Path(path).parent)!r} does not exist")
    stem, suffix = _shortened(target)
    temporary = target.with_name(f".{stem}.{uuid.uuid4().hex}{suffix}")
    for left in _left_in(target.parent).pop(f"{stem}{suffix}", ()):
        left.unlink(missing_ok=True)
    try:
        with naming_full_disk(path):
            yield temporary
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def _shortened(path: Path) -> tuple[str, str]:
    """Return stem and suffix of a file, cut so that the name of its temporary file is not too long."""
    room = LONGEST_FILE_NAME - len("..") - len(uuid.uuid4().hex)
    suffix = path.suffix if len(os.fsencode(path.suffix)) < room else ""
    stem = path.stem
    while len(os.fsencode(stem + suffix)) > room:
        stem = stem[:-1]
    return stem, suffix


def check_regular(path: Path) -> None:
    """Refuse a path that reading may never come to the end of: a pipe or a device.

    Raises:
        OSError: if it is one.

    Example:
        >>> check_regular(Path(os.devnull))
        Traceback (most recent call last):
        OSError: ...: a pipe or a device, not a file
    """
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):  # whoever reads it says what is wrong
        return
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise OSError(f"{path}: a pipe or a device, not a file")


def copy_file(source: Path, target: Path) -> None:
    """Copy the bytes of a file, either all or none."""
    with replacing(target) as temporary:
        shutil.copyfile(source, temporary)


def is_temporary(path: Path) -> bool:
    """Return whether a file's name is that of a temporary file of `replacing`, which a killed program may have left.

    Example:
        >>> is_temporary(Path(".photo.0123456789abcdef0123456789abcdef.png")), is_temporary(Path("photo.png"))
        (True, False)
    """
    return _TEMPORARY.fullmatch(path.name) is not None


@cache
def _left_in(folder: Path) -> dict[str, list[Path]]:
    """Return the temporary files that were left in a folder before this program started, by the files' names."""
    left: dict[str, list[Path]] = {}
    for path in folder.iterdir():
        match = _TEMPORARY.fullmatch(path.name)
        with suppress(FileNotFoundError):  # another program has just finished
            if match and path.lstat().st_mtime < _STARTED:
                left.setdefault(f"{match['stem']}{match['suffix'] or ''}", []).append(path)
    return left


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a text in UTF-8, either completely or not at all; one newline ends the file."""
    with replacing(path) as temporary:
        temporary.write_text(text.rstrip("\n") + "\n", encoding="utf-8")


def make_folders(*folders: Path) -> None:
    """Make folders before hours of work depend on them.

    Raises:
        ValueError: if a folder cannot be made.
    """
    for folder in folders:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ValueError(f"{folder}: cannot be made a folder ({error.strerror})") from error

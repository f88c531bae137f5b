"""Write files so that they are either complete or absent."""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path that becomes `path` in one step.

    If the block raises an error, the temporary file is removed and `path` stays as it was. The temporary file lies
    beside `path` and has its suffix, because writers choose the format by the suffix.

    Args:
        path: the file to write or replace.

    Yields:
        The path that the block must write to.

    Raises:
        OSError: if the file cannot be written, or the block wrote nothing.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     with replacing(Path(folder, "result.txt")) as temporary:
        ...         _ = temporary.write_text("done")
        ...     Path(folder, "result.txt").read_text()
        'done'
    """
    target = Path(path).resolve()
    if target.exists() and not target.is_file():  # a device or a pipe cannot be replaced
        yield target
        return
    if not target.parent.is_dir():
        raise FileNotFoundError(f"{path}: the folder {str(Path(path).parent)!r} does not exist")
    temporary = target.with_name(f".{target.stem}.{uuid.uuid4().hex}{target.suffix}")
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


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

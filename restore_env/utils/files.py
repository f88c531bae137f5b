"""Writing files so that they are complete or not there."""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a path to write to; it becomes `path` in one step when the block ends well, else it is removed.

    The temporary file lies beside `path` and keeps its suffix, because writers choose the format by it.

    Raises:
        OSError: if the file cannot be written.
    """
    target = Path(path).resolve()
    if target.exists() and not target.is_file():  # a device or a pipe: nothing to replace
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
    """Write a text in UTF-8 that ends in a new line, complete or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text.rstrip("\n") + "\n", encoding="utf-8")


def make_folders(*folders: Path) -> None:
    """Make what will be written to, before hours of work depend on it.

    Raises:
        ValueError: if one cannot be.
    """
    for folder in folders:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ValueError(f"{folder}: cannot be made a folder ({error.strerror})") from error

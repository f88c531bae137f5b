"""Checksums that files hold themselves, so that damage is noticed when they are read.

A file ends with the SHA-256 of all that comes before it. NumPy, PyTorch and `zipfile` ignore what follows their
contents, so they read such files as before. A JSON object holds the SHA-256 of its other entries. A file without a
checksum is not checked: version 0.1 wrote none.
"""

import json
import os
from collections.abc import Mapping
from hashlib import file_digest, sha256
from pathlib import Path
from typing import Any, Final

from restore_env.errors import FormatError
from restore_env.utils.files import check_regular

MARK: Final = b" restore-env sha256 "
"""What stands before and after a checksum: if either is damaged, the other one shows that there is a checksum."""

LENGTH: Final = 2 * len(MARK) + 2 * sha256().digest_size
"""Bytes that a checksum adds to a file."""

KEY: Final = "sha256"
"""Name of the checksum in a JSON object."""

CHUNK: Final = 2**20
"""Bytes that are read at once."""


def add_checksum(path: str | os.PathLike[str]) -> None:
    """Append the checksum to a file that is complete."""
    with Path(path).open("r+b") as file:
        file.write(_ending(file_digest(file, "sha256").hexdigest()))


def check_checksum(path: str | os.PathLike[str]) -> None:
    """Compare a file with the checksum that it ends with, if there is one.

    Raises:
        FormatError: if they differ.
        OSError: if the file cannot be read.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     path = Path(folder, "numbers.bin")
        ...     _ = path.write_bytes(b"12345")
        ...     add_checksum(path)
        ...     _ = path.write_bytes(path.read_bytes().replace(b"3", b"4"))
        ...     check_checksum(path)
        Traceback (most recent call last):
        restore_env.errors.FormatError: .../numbers.bin: damaged, its SHA-256 is not the one that it holds
    """
    check_regular(Path(path))
    with Path(path).open("rb") as file:
        end = max(0, file.seek(0, os.SEEK_END) - LENGTH)
        file.seek(end)
        ending = file.read()
        if MARK not in ending:
            return
        digest = sha256()
        file.seek(0)
        while part := file.read(min(CHUNK, end - file.tell())):
            digest.update(part)
    if ending != _ending(digest.hexdigest()):
        raise FormatError(f"{path}: damaged, its SHA-256 is not the one that it holds")


def with_checksum(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return a JSON object with the checksum of its entries."""
    return {**content, KEY: _digest_of_json(content)}


def without_checksum(content: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Return a JSON object without its checksum, if it has one.

    Args:
        content: the object.
        path: its file, for the message.

    Raises:
        FormatError: if the checksum is not that of the other entries.

    Example:
        >>> without_checksum(with_checksum({"n": 5}), Path("numbers.json"))
        {'n': 5}
    """
    rest = {key: value for key, value in content.items() if key != KEY}
    if KEY in content and content[KEY] != _digest_of_json(rest):
        raise FormatError(f"{path}: damaged, its SHA-256 is not the one that it holds")
    return rest


def _ending(digest: str) -> bytes:
    """Return what a file ends with."""
    return MARK + digest.encode() + MARK


def _digest_of_json(content: Mapping[str, Any]) -> str:
    """Return the digest of a JSON object, whatever the order of its entries."""
    return sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

"""Digests that tell photos, pairs and settings apart: a checkpoint resumes only with those of the same digest."""

from restore_env.data.pairs import Pairs
from restore_env.data.photos import FolderPhotos
from restore_env.toolbox.fingerprint import digest_of_bytes


def digest_of_photos(photos: FolderPhotos) -> str:
    """Return the digest of a folder's photos, by their names and sizes in bytes."""
    return digest_of_text(repr(sorted((path.name, path.stat().st_size) for path in photos.paths)))


def digest_of_pairs(pairs: Pairs) -> str:
    """Return the digest of the pixels of pairs."""
    return digest_of_bytes(pair.distorted.tobytes() + pair.reference.tobytes() for pair in pairs)


def digest_of_text(text: str) -> str:
    """Return the digest of a text.

    Example:
        >>> digest_of_text("moderate, seed 0")
        'f03fba19fb21'
    """
    return digest_of_bytes([text.encode()])

"""Digests of data: a checkpoint goes on with data of the same digest only."""

from hashlib import sha256

from restore_env.data.pairs import Pairs
from restore_env.data.photos import FolderPhotos
from restore_env.toolbox.fingerprint import LENGTH


def digest_of_photos(photos: FolderPhotos) -> str:
    """Of a folder of photos, by their names and sizes in bytes."""
    return digest_of_text(repr(sorted((path.name, path.stat().st_size) for path in photos.paths)))


def digest_of_pairs(pairs: Pairs) -> str:
    """Of the pixels of pairs."""
    digest = sha256()
    for pair in pairs:
        digest.update(pair.distorted.tobytes() + pair.reference.tobytes())
    return digest.hexdigest()[:LENGTH]


def digest_of_text(text: str) -> str:
    """Of a text."""
    return sha256(text.encode()).hexdigest()[:LENGTH]

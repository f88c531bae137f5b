"""Memory of a program that works on large photos."""

import ctypes
import sys
from typing import Final

M_MMAP_THRESHOLD: Final = -3
"""The number of glibc's setting (mallopt(3))."""

LARGE: Final = 2**20
"""Bytes from which on a piece of memory goes back to the system as soon as it is free."""


def return_large_pieces() -> None:
    """Let glibc give large pieces of memory back as soon as they are free; elsewhere do nothing.

    By itself it raises the size from which on it does so, up to 32 MB. The blocks of a photo are smaller than that, and
    what they leave between them in the heap adds up: a photo of 12 megapixels takes 120 MB more.
    """
    if sys.platform.startswith("linux"):
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
        if mallopt is not None:
            mallopt(M_MMAP_THRESHOLD, LARGE)

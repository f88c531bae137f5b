"""Checks of arguments: what they raise names the argument, its value, and what would do."""

from collections.abc import Iterable
from typing import Any

import numpy as np


def check_whole(name: str, value: Any, least: int) -> int:
    """A whole number of at least `least`."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise ValueError(f"{name}={value!r} is not a whole number of at least {least}")
    return int(value)


def check_flag(name: str, value: Any) -> bool:
    """True or False."""
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name}={value!r} is not True or False")
    return bool(value)


def check_choice(name: str, value: Any, choices: Iterable[Any]) -> None:
    """One of some values."""
    if value not in tuple(choices):
        raise ValueError(f"{name}={value!r} is not one of {', '.join(map(repr, choices))}")

"""Checks of arguments: what they raise names the argument, its value, and what would do."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch


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


def check_device(device: str | torch.device) -> torch.device:
    """Return the device, or raise a `ValueError` if this machine does not have it."""
    try:
        found = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise ValueError(f"device={device!r} is not a device such as 'cpu' or 'cuda'") from error
    if found.type not in ("cpu", "cuda") or (found.type == "cuda" and (found.index or 0) >= torch.cuda.device_count()):
        raise ValueError(f"device={str(device)!r} is not available here; 'cpu' is")
    return found

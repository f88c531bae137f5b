"""Checks of arguments. An error names the argument, its value and what would be accepted."""

from typing import Any, Literal, get_args, get_origin, get_type_hints

import numpy as np
import torch


def check_whole(name: str, value: Any, least: int) -> int:
    """Return `value` as an int if it is a whole number of at least `least`.

    Args:
        name: name of the argument, for the message.
        value: its value.
        least: smallest number that is accepted.

    Raises:
        ValueError: if it is not such a number; True and False are not.

    Example:
        >>> check_whole("n", np.int64(3), least=1)
        3
        >>> check_whole("n", 0, least=1)
        Traceback (most recent call last):
        ValueError: n=0 is not a whole number of at least 1
    """
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise ValueError(f"{name}={value!r} is not a whole number of at least {least}")
    return int(value)


def check_flag(name: str, value: Any) -> bool:
    """Return `value` as a bool, or raise a `TypeError` if it is not True or False."""
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name}={value!r} is not True or False")
    return bool(value)


def check_choice(name: str, value: Any, choices: Any) -> None:
    """Raise a `ValueError` if `value` is not one of the choices.

    Args:
        name: name of the argument, for the message.
        value: its value.
        choices: the accepted values, or a `Literal` type of them.

    Example:
        >>> check_choice("mode", "slow", Literal["fast", "careful"])
        Traceback (most recent call last):
        ValueError: mode='slow' is not one of 'fast', 'careful'
    """
    accepted = get_args(choices) or tuple(choices)
    if value not in accepted:
        raise ValueError(f"{name}={value!r} is not one of {', '.join(map(repr, accepted))}")


def check_literals(options: object) -> None:
    """Raise a `ValueError` if an option that is annotated with a `Literal` type has another value.

    Args:
        options: instance of a dataclass. An option may be a `Literal`, a `Literal` or None, or a tuple of a `Literal`.

    Example:
        >>> from dataclasses import dataclass
        >>> @dataclass(kw_only=True)
        ... class Args:
        ...     mode: Literal["fast", "careful"] = "fast"
        >>> check_literals(Args(mode="slow"))
        Traceback (most recent call last):
        ValueError: mode='slow' is not one of 'fast', 'careful'
    """
    for name, hint in get_type_hints(type(options)).items():
        literals = [part for part in (hint, *get_args(hint)) if get_origin(part) is Literal]
        value = getattr(options, name)
        for item in value if isinstance(value, tuple) else (value,):
            if literals and not (item is None and type(None) in get_args(hint)):
                check_choice(name, item, literals[0])


def check_device(device: str | torch.device) -> torch.device:
    """Return `device` as a `torch.device`.

    Args:
        device: a CPU or CUDA device, such as "cpu" or "cuda:1".

    Raises:
        ValueError: if it is not a device, or this machine does not have it.
    """
    try:
        found = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise ValueError(f"device={device!r} is not a device such as 'cpu' or 'cuda'") from error
    if found.type not in ("cpu", "cuda") or (found.type == "cuda" and (found.index or 0) >= torch.cuda.device_count()):
        raise ValueError(f"device={str(device)!r} is not available here; 'cpu' is")
    return found

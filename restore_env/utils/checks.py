"""Checks of arguments. An error names the argument, its value and what would be accepted."""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import PureWindowsPath
from typing import Annotated, Any, Final, Literal, get_args, get_origin, get_type_hints

import numpy as np
import torch

from restore_env.constants import LARGEST, MOST_STEPS

LONGEST_NAME: Final = 255
"""Largest number of characters in a name; no file can have a longer one."""

LONGEST_TEXT: Final = 1000
"""Largest number of characters in another text that a file holds, or in a message about it."""

_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def check_whole(name: str, value: Any, least: int, most: int | None = None) -> int:
    """Return `value` as an int if it is a whole number of at least `least`.

    Args:
        name: name of the argument, for the message.
        value: its value.
        least: smallest number that is accepted.
        most: largest number that is accepted, None for any.

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
    if most is not None and value > most:
        raise ValueError(f"{name}={value!r} is more than {most}")
    return int(value)


def check_number(name: str, value: Any, least: float = -math.inf, most: float = math.inf) -> float:
    """Return `value` as a float if it is a finite number from `least` to `most`.

    Args:
        name: name of the argument, for the message.
        value: its value.
        least: smallest number that is accepted.
        most: largest number that is accepted.

    Raises:
        ValueError: if it is not such a number; True and False are not.

    Example:
        >>> check_number("level", 15)
        15.0
        >>> check_number("cost", -1, least=0)
        Traceback (most recent call last):
        ValueError: cost=-1 is not a number of at least 0
    """
    wanted = "a finite number" if least == -math.inf else f"a number of at least {least:g}"
    if most < math.inf:
        wanted = f"a number from {least:g} to {most:g}"
    is_number = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    try:
        if is_number and math.isfinite(value) and least <= value <= most:
            return float(value)
    except OverflowError:  # an int that no float can hold
        pass
    raise ValueError(f"{name}={value!r} is not {wanted}")


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


def check_text(name: str, value: Any, longest: int = LONGEST_TEXT) -> str:
    """Return `value` if it is a text of one line.

    Args:
        name: name of the value, for the message.
        value: what a file holds.
        longest: largest number of characters.

    Raises:
        ValueError: if it is not a text, is too long, or has a control character.

    Example:
        >>> check_text("source", "moderate, photos")
        'moderate, photos'
    """
    if not isinstance(value, str):
        raise ValueError(f"{name} is {type(value).__name__}, not a text")
    if len(value) > longest:
        raise ValueError(f"{name} has {len(value)} characters; at most {longest} are accepted")
    if _CONTROL.search(value):
        raise ValueError(f"{name}={value!r} has a control character")
    return value


def check_name(name: str, value: Any) -> str:
    """Return `value` if it is a text that can name a file, but not a file in another folder.

    Args:
        name: name of the value, for the message.
        value: what a file holds.

    Raises:
        ValueError: if it is not a text, is empty, too long, "." or "..", or has a path separator or control character.

    Example:
        >>> check_name("tool", "noise-3")
        'noise-3'
        >>> check_name("tool", "../noise-3")
        Traceback (most recent call last):
        ValueError: tool='../noise-3' cannot name a file in a folder
    """
    text = check_text(name, value, LONGEST_NAME)
    if text in ("", "..") or PureWindowsPath(text).name != text:  # splits at all separators, and after a drive
        raise ValueError(f"{name}={text!r} cannot name a file in a folder")
    return text


def check_names(name: str, values: Any) -> tuple[str, ...]:
    """Return `values` as a tuple if it is a list of different names; see `check_name`."""
    if not isinstance(values, list | tuple):
        raise ValueError(f"{name} is {type(values).__name__}, not a list of names")
    names = tuple(check_name(f"{name}[{number}]", value) for number, value in enumerate(values))
    if len(set(names)) < len(names):
        raise ValueError(f"{name}: a name comes twice")
    return names


def one_line(error: object, longest: int | None = LONGEST_TEXT) -> str:
    r"""Return the text of an error in one line, cut where it is very long.

    Args:
        error: the error.
        longest: number of characters after which the text is cut; None cuts nothing.

    Example:
        >>> one_line(ValueError("first\n  second"))
        'first second'
    """
    text = " ".join(str(error).split())
    return text if longest is None or len(text) <= longest else f"{text[:longest]} ..."


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


@dataclass(frozen=True)
class Checked:
    """Names the check of an option, in the annotation of the option.

    Attributes:
        check: takes the name and the value of an option, and raises a `ValueError` that names both.
    """

    check: Callable[[str, Any], object]


def _rule(holds: Callable[[Any], bool], fault: str) -> Checked:
    """Return a check with its message: the name and the value of an option, and what is wrong."""

    def check(name: str, value: Any) -> None:
        if not holds(value):
            raise ValueError(f"{name}={value!r} is {fault}")

    return Checked(check)


_NOT_TOO_LARGE = _rule(lambda value: value <= LARGEST, f"more than {LARGEST}")

Count = Annotated[int, Checked(partial(check_whole, least=1, most=LARGEST))]
"""A whole number from 1."""

Natural = Annotated[int, Checked(partial(check_whole, least=0, most=LARGEST))]
"""A whole number from 0, such as a seed."""

Steps = Annotated[int, Checked(partial(check_whole, least=1, most=MOST_STEPS))]
"""A number of tools in a toolchain."""

Text = Annotated[str, _rule(bool, "empty")]
"""A text that is not empty; an empty path would stand for the folder that the program runs in."""

Fraction = Annotated[float, _rule(lambda value: 0 <= value <= 1, "not between 0 and 1")]
"""A number from 0 to 1."""

ProperFraction = Annotated[float, _rule(lambda value: 0 <= value < 1, "not in [0, 1)")]
"""A number from 0 to below 1."""

NonNegative = Annotated[float, _rule(lambda value: value >= 0, "not at least 0"), _NOT_TOO_LARGE]
"""A number of at least 0."""

_ABOVE_0 = _rule(lambda value: value > 0, "not more than 0")

Positive = Annotated[float, _ABOVE_0, _NOT_TOO_LARGE]
"""A number above 0."""

Name = Annotated[str, Checked(lambda name, value: value and check_name(name, value))]
"""A name that a file can have, or "" for none."""

PositiveOrInfinite = Annotated[float, _ABOVE_0]
"""A number above 0, or infinity."""

Device = Annotated[str, Checked(lambda _, value: check_device(value))]
"""A device that this machine has, such as "cpu"."""


class Options:
    """Base of a dataclass of options, which checks each option by its annotation.

    An option may be a `Literal` or one of the types above. It may also be one of these or None, or a tuple of one.

    Raises:
        ValueError: if an option is outside its range or not among its choices.

    Example:
        >>> @dataclass(kw_only=True)
        ... class Args(Options):
        ...     mode: Literal["fast", "careful"] = "fast"
        ...     n: Count = 1
        >>> Args(mode="slow")
        Traceback (most recent call last):
        ValueError: mode='slow' is not one of 'fast', 'careful'
        >>> Args(n=0)
        Traceback (most recent call last):
        ValueError: n=0 is not a whole number of at least 1
    """

    def __post_init__(self) -> None:
        for name, hint in get_type_hints(type(self), include_extras=True).items():
            value = getattr(self, name)
            if value is None and type(None) in get_args(hint):
                continue
            for part in (hint, *get_args(hint)):
                for item in value if isinstance(value, tuple) else (value,):
                    _check_option(name, item, part)


def _check_option(name: str, value: Any, hint: Any) -> None:
    """Check a value by its annotation, without those within the annotation."""
    if get_origin(hint) is Literal:
        check_choice(name, value, hint)
    for mark in getattr(hint, "__metadata__", ()):
        if isinstance(mark, Checked):
            mark.check(name, value)

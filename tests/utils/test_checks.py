"""Arguments are checked, and messages name the argument, its value and what would do."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pytest

from restore_env.utils.checks import (
    Count,
    Fraction,
    Options,
    Positive,
    Steps,
    Text,
    check_choice,
    check_device,
    check_flag,
    check_whole,
)

Mode = Literal["fast", "careful"]


@dataclass(kw_only=True)
class Args(Options):
    mode: Mode = "fast"
    perhaps: Mode | None = None
    several: tuple[Mode, ...] = ()
    name: str = "any"
    n: Count | None = None
    share: Fraction = 0.5
    rate: Positive = 1.0
    steps: Steps = 3
    photos: Text = "photos"


@pytest.mark.parametrize("value", [1, 5, np.int64(3)])
def test_whole_numbers_pass(value):
    assert check_whole("n", value, 1) == value and type(check_whole("n", value, 1)) is int


@pytest.mark.parametrize("value", [0, -1, 1.0, True, None, "3"])
def test_what_is_no_whole_number_is_refused(value):
    with pytest.raises(ValueError, match=f"n={value!r} is not a whole number of at least 1"):
        check_whole("n", value, 1)


def test_flags():
    assert check_flag("flag", np.True_) is True
    with pytest.raises(TypeError, match="flag=1 is not True or False"):
        check_flag("flag", 1)


@pytest.mark.parametrize("choices", [("fast", "careful"), {"fast": 1, "careful": 2}, Mode])
def test_choices_are_values_or_a_literal(choices):
    check_choice("mode", "fast", choices)
    with pytest.raises(ValueError, match="mode='slow' is not one of 'fast', 'careful'"):
        check_choice("mode", "slow", choices)


def test_all_literals_of_a_dataclass_are_checked():
    Args(mode="careful", perhaps="fast", several=("fast", "careful"), name="slow")
    for change in ({"mode": "slow"}, {"mode": None}, {"perhaps": "slow"}, {"several": ("fast", "slow")}):
        with pytest.raises(ValueError, match=f"{next(iter(change))}=.* is not one of 'fast', 'careful'"):
            Args(**change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n": 0}, "n=0 is not a whole number of at least 1"),
        ({"n": 1.5}, "n=1.5 is not a whole number of at least 1"),
        ({"share": 1.5}, "share=1.5 is not between 0 and 1"),
        ({"share": float("nan")}, "share=nan is not between 0 and 1"),
        ({"n": 2**31}, "n=2147483648 is more than 2147483647"),
        ({"rate": 1e40}, r"rate=1e\+40 is more than 2147483647"),
        ({"rate": float("nan")}, "rate=nan is not more than 0"),
        ({"steps": 1001}, "steps=1001 is more than 1000"),
        ({"photos": ""}, "photos='' is empty"),
    ],
)
def test_all_ranges_of_a_dataclass_are_checked(change, message):
    assert Args(n=2, share=1.0).n == 2
    with pytest.raises(ValueError, match=message):
        Args(**change)


@pytest.mark.parametrize("device", ["gpu", "cuda:99", "meta", None])
def test_devices_that_are_not_there_are_refused(device):
    with pytest.raises(ValueError, match="device="):
        check_device(device)
    assert check_device("cpu").type == "cpu"

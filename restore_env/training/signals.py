"""Ending a long training well when it is told to: by Ctrl-C, by SIGTERM, or by the death of the program itself."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Stopped(Exception):  # noqa: N818 - nothing went wrong
    """A signal ended a training; all of it is in its checkpoints."""

    def __init__(self, number: int) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name}")
        self.exit_code = 128 + number


class StopRequest:
    """Whether SIGINT or SIGTERM came: call it."""

    def __init__(self) -> None:
        self.number: int | None = None

    def __call__(self) -> bool:
        """Whether one came."""
        return self.number is not None

    def answer(self, number: int, frame: FrameType | None) -> None:
        """Take note of a signal."""
        self.number = number

    def check(self) -> None:
        """Raise `Stopped` if a signal came."""
        if self.number is not None:
            raise Stopped(self.number)


@contextmanager
def stop_request() -> Iterator[StopRequest]:
    """Within the block SIGINT and SIGTERM do not end the program; the work inside looks whether they came."""
    request = StopRequest()
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, request.answer) for number in numbers]
    try:
        yield request
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)

"""Stop requests: a training ends well on Ctrl-C and SIGTERM."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Stopped(Exception):  # noqa: N818 - nothing went wrong
    """A signal stopped the program, and its work so far is in its checkpoints.

    Args:
        number: the signal's number.

    Attributes:
        exit_code: what a shell expects of a program that the signal ended.
    """

    def __init__(self, number: int) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name}")
        self.exit_code = 128 + number


class StopRequest:
    """Knows whether SIGINT or SIGTERM came; `stop_request` makes one.

    Attributes:
        number: the last signal's number, None if none came.
    """

    def __init__(self) -> None:
        self.number: int | None = None

    def __call__(self) -> bool:
        """Return whether a signal came."""
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
    """Note SIGINT and SIGTERM within the block instead of ending the program.

    Yields:
        The request; the work inside the block asks it whether to stop.

    Example:
        >>> with stop_request() as request:
        ...     signal.raise_signal(signal.SIGTERM)
        ...     print(request())
        True
    """
    request = StopRequest()
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, request.answer) for number in numbers]
    try:
        yield request
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)

"""A process of its own that restores photos, so that one that takes too long can be ended."""

import signal
import time
import warnings
from collections.abc import Iterator
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection
from threading import Lock
from typing import Any, NamedTuple

import numpy as np

from restore_env.constants import MAX_STEPS
from restore_env.data.image_io import AnyImage
from restore_env.inference import Restored, restore
from restore_env.policies import load_policy
from restore_env.toolbox import load_toolbox
from restore_env.utils.threads import limit_threads


class Settings(NamedTuple):
    """What a worker restores with.

    Attributes:
        policy: name or folder of a policy.
        toolbox: name or folder of a toolbox.
        trust: whether both may run any code.
        device: device of both.
    """

    policy: str
    toolbox: str
    trust: bool = False
    device: str = "cpu"


class Worker:
    """Restores one photo at a time in a process of its own.

    The process is ended if a photo takes too long, and another one is started.

    Args:
        settings: what to restore with.
        seconds: the longest time for one photo.

    Raises:
        ValueError, OSError: if the policy or the toolbox cannot be loaded.

    Example:
        >>> import numpy as np
        >>> worker = Worker(Settings("fixed:median-3", "classical"), seconds=60)
        >>> worker.restore(np.full((80, 100, 3), 128, np.uint8)).steps[0]["action"]
        'median-3'
        >>> worker.close()
    """

    def __init__(self, settings: Settings, seconds: float) -> None:
        self.settings, self.seconds = settings, seconds
        self._lock = Lock()
        self._begin()

    def restore(self, image: AnyImage, tool: str | None = None) -> Restored:
        """Restore a photo; `watch` says more."""
        *_, restored = self.watch(image, tool)
        assert isinstance(restored, Restored)
        return restored

    def watch(self, image: AnyImage, tool: str | None = None) -> Iterator[AnyImage | Restored]:
        """Restore a photo as `restore` does, and record the steps.

        Args:
            image: the photo.
            tool: name of the only tool to apply; None lets the policy choose.

        Yields:
            The photo as it stands, after each step of a block that is not its last. The last item is the result.

        Raises:
            TimeoutError: if it takes too long.
            ChildProcessError: if the process was ended by someone else.
            ToolError: if a tool fails.
        """
        with self._lock:
            if not self._process.is_alive():
                self._begin()
            self._connection.send((image, tool))
            end, working = time.monotonic() + self.seconds, True
            try:
                while working:
                    if not self._connection.poll(max(0.0, end - time.monotonic())):
                        raise TimeoutError(f"this photo takes more than {self.seconds:g} s, which is the limit here")
                    answer = self._receive()
                    working = isinstance(answer, np.ndarray)
                    if isinstance(answer, Exception):
                        raise answer
                    yield answer
            finally:
                if working:  # too long, or nobody waits for the rest
                    self._end()

    def close(self) -> None:
        """End the process, whatever it does; a photo that is being restored is a `ChildProcessError`."""
        self._end()

    def _begin(self) -> None:
        """Start the process, and wait until it has loaded all; raise what it could not load."""
        context = get_context("spawn")  # a forked process would hang after PyTorch used threads
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_work, args=(theirs, self.settings), daemon=True)
        self._process.start()
        theirs.close()
        problem = self._receive()
        if problem is not None:
            raise problem

    def _end(self) -> None:
        self._process.kill()
        self._process.join()

    def _receive(self) -> Any:
        """Return what the process sends: a photo, a result, an error, or None once it has loaded all."""
        try:
            return self._connection.recv()
        except (EOFError, OSError) as error:
            raise ChildProcessError("the process that restores has ended; the memory may be too small") from error


def _work(connection: Connection, settings: Settings) -> None:
    """Send a message once all is loaded, then an answer for each photo that comes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the parent answers it
    warnings.simplefilter("ignore")  # the parent loads the same and has warned
    limit_threads()
    name, device = settings.toolbox, settings.device
    with suppress(EOFError, OSError):  # the parent has ended
        try:
            toolbox = load_toolbox(name, device, trust=settings.trust)
            policy = load_policy(settings.policy, toolbox, device, settings.trust)
        except Exception as error:
            connection.send(error)
            return
        connection.send(None)
        while True:
            image, tool = connection.recv()
            try:
                chooser, steps = (policy, MAX_STEPS) if tool is None else (f"fixed:{tool}", 1)
                answer = restore(
                    image, chooser, toolbox, max_steps=steps, record=True, device=device, watch=connection.send
                )
            except Exception as error:
                connection.send(error)
            else:
                connection.send(answer)

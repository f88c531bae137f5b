"""What a training tells while it runs: a line on standard error and TensorBoard scalars."""

import sys
from pathlib import Path
from types import TracebackType

from torch.utils.tensorboard import SummaryWriter

from tools.training import Status


class TrainingLog:
    """Reports how a training stands.

    Args:
        folder: of its TensorBoard file.
        iteration: where the training goes on; what an earlier run logged after it is dropped.
    """

    def __init__(self, folder: Path, iteration: int) -> None:
        self._writer = SummaryWriter(str(folder), purge_step=iteration)

    def __enter__(self) -> "TrainingLog":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._writer.close()

    def report(self, status: Status) -> None:
        """Print a line and write the scalars."""
        print(status, file=sys.stderr, flush=True)
        for name, value in status.scalars().items():
            self._writer.add_scalar(name, value, status.iteration)
        self._writer.flush()

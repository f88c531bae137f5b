"""What a training tells while it runs: a line on standard error and TensorBoard scalars."""

import sys
from pathlib import Path
from types import TracebackType

from torch.utils.tensorboard import SummaryWriter

from tools.tool_training import Progress


class TrainingLog:
    """Reports the progress of one tool's training.

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

    def report(self, progress: Progress) -> None:
        """Print a line and write the scalars."""
        print(progress, file=sys.stderr, flush=True)
        scalars = {
            "validation/psnr": progress.after,
            "validation/gain": progress.after - progress.before,
            "training/learning_rate": progress.rate,
            "training/minutes": progress.seconds / 60,
        }
        if progress.loss is not None:
            scalars["training/loss"] = progress.loss
        for name, value in scalars.items():
            self._writer.add_scalar(name, value, progress.iteration)
        self._writer.flush()

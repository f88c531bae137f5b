"""What a training tells while it runs: a line on standard error, TensorBoard scalars, and `history.json`."""

import json
import sys
import threading
from pathlib import Path
from typing import Any, Final

from torch.utils.tensorboard import SummaryWriter

from restore_env.errors import FormatError
from restore_env.evaluation import Evaluation
from restore_env.toolbox import STOP
from restore_env.training.trainer import Status
from restore_env.utils.checks import check_whole
from restore_env.utils.checksums import with_checksum, without_checksum
from restore_env.utils.files import naming_full_disk, write_text

HISTORY: Final = "history.json"


class RunLogger:
    """Reports how a training stands; use it in a `with` block.

    Args:
        folder: the run's folder. TensorBoard files go to `tensorboard/` in it, and measurements to `history.json`: a
            list of objects, each with `iteration`, the scalars by name, and the checksum of these, `sha256`.
        iteration: where the training resumes; later entries are dropped, and all entries where it is 0.
    """

    def __init__(self, folder: Path, iteration: int) -> None:
        self._path = folder / HISTORY
        self.entries = [entry for entry in read_history(folder) if entry["iteration"] <= iteration > 0]
        self._tensorboard, self._iteration = folder / "tensorboard", iteration

    def __enter__(self) -> "RunLogger":
        self._hook, threading.excepthook = threading.excepthook, _leave_to_main_thread
        try:
            with naming_full_disk(self._tensorboard):
                self._writer = SummaryWriter(str(self._tensorboard), purge_step=self._iteration)
        except OSError:
            threading.excepthook = self._hook
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            with naming_full_disk(self._tensorboard):
                self._writer.close()
        finally:
            threading.excepthook = self._hook

    @property
    def last(self) -> int:
        """Where the training stood when it was measured last, 0 if it was not."""
        return int(self.entries[-1]["iteration"]) if self.entries else 0

    def report(self, status: Status) -> None:
        """Print the line of a status, write its scalars to TensorBoard, and add them to the history."""
        iteration, line, scalars = status
        print(line, file=sys.stderr, flush=True)
        with naming_full_disk(self._tensorboard):
            for name, value in scalars.items():
                self._writer.add_scalar(name, value, iteration)
            self._writer.flush()
        before = [entry for entry in self.entries if entry["iteration"] < iteration]
        self.entries = [*before, {"iteration": iteration, **scalars}]
        write_text(self._path, json.dumps([with_checksum(entry) for entry in self.entries]))


def _leave_to_main_thread(error: threading.ExceptHookArgs) -> None:
    """Print no traceback for a thread that could not write: TensorBoard raises its error in the main thread, too."""
    if not issubclass(error.exc_type, OSError):
        threading.__excepthook__(error)


def read_history(folder: Path) -> list[dict[str, Any]]:
    """Return the measurements in a folder's `history.json`; none if there is no such file.

    Raises:
        FormatError: if the file is damaged.
    """
    path = folder / HISTORY
    if not path.exists():
        return []
    try:
        entries = [without_checksum(entry, path) for entry in json.loads(path.read_text())]
        for entry in entries:
            check_whole("iteration", entry["iteration"], 0)
            if not all(isinstance(value, int | float) for value in entry.values()):
                raise FormatError(f"{path}: an entry holds what is no number")
        return entries
    except Exception as error:  # what is damaged fails anywhere, and in any way
        raise FormatError(f"{path}: damaged; delete it, and the history begins anew") from error


def scalars_of(evaluation: Evaluation) -> dict[str, float]:
    """Return what is logged of an evaluation of any agent, by TensorBoard's names.

    Returns:
        PSNR, SSIM, gain, reward, tools applied, how often the last step is a stop, and each action's share at each
        step.
    """
    found = {
        "validation/psnr": evaluation.psnr_out,
        "validation/ssim": evaluation.ssim_out,
        "validation/gain": evaluation.gain,
        "validation/reward": evaluation.reward,
        "validation/tools": evaluation.steps,
        "validation/stop_ratio": evaluation.tool_ratio[-1][STOP],
    }
    for step, ratios in enumerate(evaluation.tool_ratio, start=1):
        found |= {f"step_{step}/{name}": share for name, share in ratios.items()}
    return found

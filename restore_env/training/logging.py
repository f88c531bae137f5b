"""What a training tells while it runs: a line on standard error and TensorBoard scalars."""

import json
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from torch.utils.tensorboard import SummaryWriter

from restore_env.evaluation import Evaluation
from restore_env.toolbox import STOP
from restore_env.training.trainer import Status
from restore_env.utils.files import write_text


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


HISTORY: Final = "history.json"


class History:
    """Measurements in a JSON file: a list of objects, each with `iteration` and the scalars by name.

    Args:
        folder: where `history.json` is; what it holds is gone on with.
        iteration: where the training stands; what was measured later is dropped, and all of it where that is 0.
    """

    def __init__(self, folder: Path, iteration: int) -> None:
        self.path = folder / HISTORY
        self.entries = [item for item in history_in(folder) if item["iteration"] <= iteration > 0]

    @property
    def last(self) -> int:
        """Where the training stood when it was measured last, 0 if it was not."""
        return int(self.entries[-1]["iteration"]) if self.entries else 0

    def add(self, iteration: int, scalars: dict[str, float]) -> None:
        """Add a measurement, and write the file."""
        self.entries.append({"iteration": iteration, **scalars})
        write_text(self.path, json.dumps(self.entries))


def history_in(folder: Path) -> list[dict[str, Any]]:
    """The measurements in a folder's `history.json`; none if there is none."""
    path = folder / HISTORY
    entries: list[dict[str, Any]] = json.loads(path.read_text()) if path.exists() else []
    return entries


def scalars_of(evaluation: Evaluation) -> dict[str, float]:
    """PSNR, SSIM, gain, tools applied, how often the last step is a stop, and each action's share at each step."""
    found = {
        "validation/psnr": evaluation.psnr_out,
        "validation/ssim": evaluation.ssim_out,
        "validation/gain": evaluation.gain,
        "validation/tools": evaluation.steps,
        "validation/stop_ratio": evaluation.tool_ratio[-1][STOP],
    }
    for step, ratios in enumerate(evaluation.tool_ratio, start=1):
        found |= {f"step_{step}/{name}": share for name, share in ratios.items()}
    return found

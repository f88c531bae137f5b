"""What was measured of an agent while it was trained, in a file."""

import json
from pathlib import Path
from typing import Any, Final

from restore_env.files import write_text

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

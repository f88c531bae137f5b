"""A guard that takes a training back to its last good state when the loss jumps."""

from collections.abc import Mapping
from copy import deepcopy
from math import inf
from typing import Any, Final

import torch
from torch import Tensor

DECAY: Final = 0.99
"""Decay, at each update, of the average loss that is watched."""

SNAPSHOT_UPDATES: Final = 500
"""Updates between two snapshots of a state that was good."""

LOOK_UPDATES: Final = 10
"""Updates between two looks at the average loss, for each of which a GPU has to finish its work."""


class DivergenceGuard:
    """Watches the loss of a training in dB; use `check` after each update.

    A wide network trained with SOAP at a high learning rate can lose several dB at once and never come back. The guard
    then returns the last good state, and halves the learning rate. It looks at every tenth update only.

    Args:
        tolerance: rise in dB of the average loss over its best value that is a jump.

    Attributes:
        scale: factor on the learning rate, 1 until the first jump.

    Example:
        >>> guard = DivergenceGuard(tolerance=1.0)
        >>> guard.check(1000, -30.0, lambda: {"weights": 1}), guard.scale
        (None, 1.0)
        >>> guard.check(1010, 300.0, lambda: {"weights": 2}), guard.scale
        ({'weights': 1}, 0.5)
    """

    def __init__(self, tolerance: float = 1.0) -> None:
        self.tolerance, self.scale = tolerance, 1.0
        self._average, self._best = torch.tensor(inf), inf
        self._good: dict[str, Any] | None = None

    def check(self, updates: int, loss: Tensor | float, state: Any) -> dict[str, Any] | None:
        """Watch the loss of an update.

        Args:
            updates: updates so far.
            loss: of the last batch, in dB; a tensor stays on its device until the guard looks.
            state: returns the state of the training, which is kept from time to time while the loss is good.

        Returns:
            The state to go back to if the loss has jumped, else None.
        """
        new = torch.as_tensor(loss, dtype=torch.float32)
        old = self._average.to(new.device)
        self._average = torch.where(old == inf, new, DECAY * old + (1 - DECAY) * new)
        if updates % LOOK_UPDATES:
            return None
        average = float(self._average)
        if average > self._best + self.tolerance and self._good is not None:
            self.scale, self._average = self.scale / 2, torch.full_like(new, self._best)
            return deepcopy(self._good)
        if updates % SNAPSHOT_UPDATES == 0 and average <= self._best + self.tolerance / 2:
            self._good = deepcopy(state())
        if updates >= 1 / (1 - DECAY):  # before, the average is mostly the first loss
            self._best = min(self._best, average)
        return None

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint holds."""
        return {"scale": self.scale, "average": float(self._average), "best": self._best, "good": self._good}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.scale, self._average = float(state["scale"]), torch.tensor(float(state["average"]))
        self._best, self._good = float(state["best"]), state["good"]

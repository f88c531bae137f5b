"""Network classes as a user may have them in a module of their own."""

import os
import signal
import time
from contextlib import suppress

from torch import Tensor, arange, nn


class Gain(nn.Module):
    """Looks the factor of each channel up: the order is a buffer of integers, the factors are weights."""

    def __init__(self, start: float = 1.0, width: int = 3) -> None:
        super().__init__()
        self.arguments = {"start": start, "width": width}
        self.factors = nn.Parameter(start + arange(float(width)) / 8)
        self.register_buffer("order", arange(width).flip(0))
        self.register_buffer("unsaved", arange(2.0), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        return images * self.factors[self.order][:3].view(1, 3, 1, 1) + self.unsaved[0]


class Unnamed(nn.Module):
    """Has an argument, but does not say which."""

    def __init__(self, width: int = 1) -> None:
        super().__init__()
        self.width = nn.Linear(width, width)

    def forward(self, images: Tensor) -> Tensor:
        return images


class Darker(nn.Module):
    """Is told a level: subtracts it, and a learnt offset."""

    radius = 0
    multiple = 2

    def __init__(self) -> None:
        super().__init__()
        self.offset = nn.Parameter(arange(1.0))

    def forward(self, images: Tensor, levels: Tensor) -> Tensor:
        assert levels.shape == images.shape[:1]
        return images - levels.view(-1, 1, 1, 1) - self.offset


class Failing(nn.Module):
    def __init__(self) -> None:
        raise OSError("no weights\nhere")


class Mortal(nn.Module):
    """Softens; if there is a file that the environment names MORTAL, removes it and kills the process."""

    def __init__(self) -> None:
        super().__init__()
        self.share = nn.Parameter(arange(1.0) + 0.5)

    def forward(self, images: Tensor) -> Tensor:
        if "MORTAL" in os.environ:
            time.sleep(0.2)  # so that all workers have something to do
            with suppress(FileNotFoundError):
                os.unlink(os.environ["MORTAL"])  # only one process can
                os.kill(os.getpid(), signal.SIGKILL)
        return images + self.share * (images.roll(1, 3) - images)

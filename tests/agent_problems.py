"""Small problems for agents: toolboxes whose tools shift an image's brightness, and pairs of plain images."""

import numpy as np
import torch
from torch import Tensor

from restore_env import Tool, Toolbox
from restore_env.data.pairs import Pair
from restore_env.policies.recurrent_q import LSTMState, RecurrentQNetwork

SIDE = 16


class Shifts:
    """Grey images that are darker or lighter than they should be by one of a few steps."""

    def __init__(self, shifts: tuple[int, ...]) -> None:
        self.shifts = shifts

    def sample(self, rng: np.random.Generator) -> Pair:
        reference = np.full((SIDE, SIDE, 3), 128, np.uint8)
        return Pair(np.full_like(reference, 128 + int(rng.choice(self.shifts))), reference)


def shift_toolbox() -> Toolbox:
    """Makes an image darker or lighter by 20 levels."""
    tools = [("darker", -20), ("lighter", 20)]
    return Toolbox([Tool(name, lambda images, by=by: images + by / 255) for name, by in tools], "shifts")


def small_network(seed: int = 0, kind: type = RecurrentQNetwork, width: int = 4, **options: bool) -> RecurrentQNetwork:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return kind(2, (width,) * 4, features=2 * width, hidden=3 * width, patch_size=SIDE, **options)


class Memoryless(RecurrentQNetwork):
    """The control: it knows neither what it did nor what it saw before."""

    def lstm_step(self, features: Tensor, previous_action: Tensor, state: LSTMState) -> LSTMState:
        nothing = torch.full_like(previous_action, self.n_tools)
        return super().lstm_step(features, nothing, self.initial_state(len(features)))


def hidden_toolbox() -> Toolbox:
    """Two tools of which the second helps only after the first, and nothing of that can be seen.

    Images are white, and "hide" makes them whiter than white; what is beyond is clipped in observations. "solve" makes
    those nearly right and spoils all others, which then look white too.
    """

    def solve(images: Tensor) -> Tensor:
        hidden = ((images > 1.2) & (images < 2)).flatten(1).all(1).view(-1, 1, 1, 1)
        return torch.where(hidden, 0.75, 3.0).expand_as(images)

    return Toolbox([Tool("hide", lambda images: images + 0.5), Tool("solve", solve)], "hidden")


class White:
    """White images that should be grey."""

    def sample(self, rng: np.random.Generator) -> Pair:
        white = np.full((SIDE, SIDE, 3), 255, np.uint8)
        return Pair(white, white // 2)

"""Policies without any learning, and yardsticks that know the reference."""

from collections.abc import Sequence

import torch
from torch import Tensor

from restore_env.policies.base import Policy, State, Yardstick
from restore_env.restoration.batch import Observation, RestorationBatch
from restore_env.restoration.search import chain_psnrs
from restore_env.toolbox import STOP, Toolbox
from restore_env.utils.progress import Progress


class RandomPolicy(Policy):
    """Chooses every action of a toolbox, stop among them, with the same probability.

    Args:
        toolbox: whose actions.
        seed: of the choices; they go on from one set of episodes to the next.
    """

    name = "random"

    def __init__(self, toolbox: Toolbox, seed: int = 0) -> None:
        self.action_names = toolbox.action_names
        self._count = len(toolbox.action_names)
        self._generator = torch.Generator().manual_seed(seed)

    def act(self, observation: Observation, state: State) -> tuple[Tensor, State]:
        """Draw n actions."""
        actions = torch.randint(self._count, (len(observation.image),), generator=self._generator)
        return actions.to(observation.image.device), state


class FixedToolchain(Policy):
    """Applies the same tools, one after the other, to every image; then stops.

    Args:
        tools: names of the tools; none at all stops at once.
        action_names: the actions of the toolbox, stop last.
        name: what to call the policy, by default "fixed:" and the tools.

    Raises:
        ValueError: if one of the tools is no action.
    """

    def __init__(self, tools: Sequence[str], action_names: Sequence[str], name: str | None = None) -> None:
        unknown = [tool for tool in tools if tool not in action_names]
        if unknown:
            raise ValueError(f"toolchain: {unknown[0]!r} is not one of {', '.join(action_names)}")
        self.tools = tuple(tools)
        self.action_names: tuple[str, ...] = tuple(action_names)
        self.name = name or (f"fixed:{','.join(self.tools)}" if self.tools else STOP)

    def act(self, observation: Observation, state: State) -> tuple[Tensor, State]:
        """Take the tool whose turn it is."""
        actions = [self.action_names.index(tool) for tool in (*self.tools, STOP)]
        turn = observation.step.clamp(max=len(actions) - 1)
        return torch.tensor(actions, device=turn.device)[turn], state


class GreedyWithReference(Yardstick):
    """Takes the action after which the PSNR is highest; stops if no tool raises it."""

    name = "greedy"

    def act(self, batch: RestorationBatch, state: State) -> tuple[Tensor, State]:
        """Try every tool."""
        _reference(batch)  # refuses a batch without one
        everywhere = torch.ones_like(batch.previous_action)
        values = [batch.psnr, *(batch.attempt(everywhere * action).psnr for action in range(len(batch.toolbox)))]
        # The present image comes first, so that a tie stops.
        best = torch.stack(values, dim=1).argmax(1)  # (n, 1 + tools) -> (n,)
        return torch.where(best == 0, batch.toolbox.stop, best - 1), state


class Oracle(Yardstick):
    """Takes the toolchain after which the PSNR is highest, found by trying every one up to `max_steps`.

    With 12 tools and 3 steps these are 1,885 toolchains and 1,884 tool runs an image, since prefixes are shared.
    """

    name = "oracle"

    def initial_state(self, batch: RestorationBatch, progress: Progress | None = None) -> State:
        """The best toolchain of each image: int64 (n, max_steps), filled with stop."""
        table = chain_psnrs(batch.toolbox, batch.images, _reference(batch), batch.max_steps, progress)
        return table.actions.to(batch.images.device)[table.psnr.argmax(1)]

    def act(self, batch: RestorationBatch, state: State) -> tuple[Tensor, State]:
        """Follow the toolchain found."""
        return state.gather(1, batch.steps.clamp(max=batch.max_steps - 1).unsqueeze(1)).squeeze(1), state


def _reference(batch: RestorationBatch) -> Tensor:
    if batch.reference is None:
        raise ValueError("greedy and oracle compare with a reference, and there is none here")
    return batch.reference

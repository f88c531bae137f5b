"""Policies that learn nothing, and reference policies, which bound what a policy can reach."""

from collections.abc import Sequence

import torch
from torch import Tensor

from restore_env.policies.base import Policy, State
from restore_env.restoration.batch import Observation, RestorationBatch
from restore_env.restoration.search import chain_psnrs
from restore_env.toolbox import STOP, Toolbox
from restore_env.utils.progress import Progress


class RandomPolicy(Policy):
    """Takes each action of a toolbox, *stop* included, with the same probability.

    Args:
        toolbox: the toolbox whose actions are drawn.
        seed: seed of the actions. The random numbers continue from one batch to the next.

    Example:
        >>> import torch
        >>> from restore_env import load_toolbox
        >>> from restore_env.restoration.batch import Observation
        >>> policy = RandomPolicy(load_toolbox("classical"), seed=0)
        >>> none = torch.zeros(4, dtype=torch.int64)
        >>> actions, _ = policy.act(Observation(torch.zeros(4, 63, 63, 3), none, none), policy.initial_state(4))
        >>> actions.shape
        torch.Size([4])
    """

    name = "random"

    def __init__(self, toolbox: Toolbox, seed: int = 0) -> None:
        self.action_names = toolbox.action_names
        self._count = len(toolbox.action_names)
        self._generator = torch.Generator().manual_seed(seed)

    def act(self, observation: Observation, state: State) -> tuple[Tensor, State]:
        """Draw n actions; see `Policy.act`."""
        actions = torch.randint(self._count, (len(observation.image),), generator=self._generator)
        return actions.to(observation.image.device), state


class FixedToolchain(Policy):
    """Applies the same tools to every image, one after the other, and then stops.

    Args:
        tools: names of the tools; with no tools it stops at once.
        action_names: the actions of the toolbox, *stop* last.
        name: name of the policy; "fixed:" and the tools by default.

    Raises:
        ValueError: if a tool is not one of the actions.

    Example:
        >>> FixedToolchain(["denoise", "sharpen"], ["sharpen", "denoise", "stop"]).name
        'fixed:denoise,sharpen'
    """

    def __init__(self, tools: Sequence[str], action_names: Sequence[str], name: str | None = None) -> None:
        unknown = [tool for tool in tools if tool not in action_names]
        if unknown:
            raise ValueError(f"toolchain: {unknown[0]!r} is not one of {', '.join(action_names)}")
        self.tools = tuple(tools)
        self.action_names: tuple[str, ...] = tuple(action_names)
        self.name = name or (f"fixed:{','.join(self.tools)}" if self.tools else STOP)

    def act(self, observation: Observation, state: State) -> tuple[Tensor, State]:
        """Choose the tool of the episode's step; see `Policy.act`."""
        actions = [self.action_names.index(tool) for tool in (*self.tools, STOP)]
        turn = observation.step.clamp(max=len(actions) - 1)
        return torch.tensor(actions, device=turn.device)[turn], state


class GreedyWithReference(Policy):
    """Takes the action that leads to the highest PSNR; stops if no tool raises the PSNR. It needs the reference.

    Example:
        >>> from restore_env import as_source, draw_pairs, evaluate
        >>> pairs = draw_pairs(as_source("embedded", "moderate", 63), 2, seed=0)
        >>> evaluate(pairs, GreedyWithReference(), "classical").gain > 0
        True
    """

    name = "greedy"
    needs_reference = True

    def start(self, batch: RestorationBatch, progress: Progress | None = None) -> State:
        """Return the batch itself, on which `act` tries the tools."""
        return batch

    def act(self, observation: Observation, state: State) -> tuple[Tensor, State]:
        """Try all tools on the batch, which is the state; see `Policy.act`."""
        batch: RestorationBatch = state
        everywhere = torch.ones_like(batch.previous_action)
        values = [batch.psnr, *(batch.attempt(everywhere * action).psnr for action in range(len(batch.toolbox)))]
        # The present image comes first, so that a tie stops.
        best = torch.stack(values, dim=1).argmax(1)  # (n, 1 + tools) -> (n,)
        return torch.where(best == 0, batch.toolbox.stop, best - 1), state


class Oracle(Policy):
    """Takes the toolchain that leads to the highest PSNR. It needs the reference and tries every toolchain.

    With 12 tools and 3 steps an image has 1,885 toolchains. They take 1,884 tool runs, because toolchains that begin
    alike share these steps.

    Example:
        >>> from restore_env import as_source, draw_pairs, evaluate
        >>> pairs = draw_pairs(as_source("embedded", "moderate", 63), 1, seed=0)
        >>> best, greedy = (evaluate(pairs, name, "classical", max_steps=1) for name in ("oracle", "greedy"))
        >>> best.gain == greedy.gain  # they differ only where a toolchain has several tools
        True
    """

    name = "oracle"
    needs_reference = True

    def start(self, batch: RestorationBatch, progress: Progress | None = None) -> State:
        """Return the best toolchain of each image: int64 (n, max_steps), filled up with *stop*."""
        assert batch.reference is not None
        table = chain_psnrs(batch.toolbox, batch.images, batch.reference, batch.max_steps, progress)
        # actions (chains, max_steps) at the best chain of each image (n,) -> (n, max_steps)
        return table.actions.to(batch.images.device)[table.psnr.argmax(1)]

    def act(self, observation: Observation, state: State) -> tuple[Tensor, State]:
        """Choose the next action of the best toolchain, which is the state; see `Policy.act`."""
        last = state.shape[1] - 1
        # (n, max_steps) -> (n, 1) -> (n,)
        return state.gather(1, observation.step.clamp(max=last).unsqueeze(1)).squeeze(1), state

"""Joint training of tools along toolchains (paper, Algorithm 1), with everything it needs to stop and go on."""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from restore_env.restoration.batch import NO_TOOL
from restore_env.restoration.metrics import psnr
from restore_env.toolbox import Tool, Toolbox
from restore_env.training.ema import update_average
from restore_env.training.trainer import Budget, Progress, Training
from restore_env.utils.threads import run_in_threads
from tools.joint.batches import ChainBatch
from tools.recipes import Recipe

CHUNK_PIXELS: Final = {"cpu": 2**15, "cuda": 2**24}
"""Pixels that a network gets at once; on a CPU its feature maps then stay in the cache."""


class Batches(Protocol):
    """Where toolchains come from; the batch of an iteration always is the same."""

    def batch(self, iteration: int) -> ChainBatch:
        """The batch of an iteration."""


class JointTraining(Training):
    """Fine-tunes the tools of a toolbox along toolchains; call `run`.

    A batch depends on the seed and the iteration alone, and all else is in the checkpoint, so that with a budget in
    iterations the result on a CPU is the same to the bit however often it was stopped.

    Args:
        toolbox: of networks; they are copied.
        batches: toolchains to train on.
        data: what they are; a training goes on with the same only.
        validation: toolchains that it is measured on.
        budget: when it ends.
        checkpoint: where its state is kept.
        recipe: how it is trained.
        start: what the tools were at the start, in words; a training goes on with the same only.

    Raises:
        ValueError: if a tool is no network; if the checkpoint belongs to another training.
    """

    def __init__(
        self,
        toolbox: Toolbox,
        batches: Batches,
        data: str,
        validation: ChainBatch,
        budget: Budget,
        checkpoint: Path,
        recipe: Recipe,
        start: str = "",
    ) -> None:
        fixed = [tool.name for tool in toolbox if tool.module is None]
        if fixed:
            raise ValueError(f"tool {fixed[0]!r} is no network, so that no gradient passes it")
        self._toolbox, self._batches, self.data, self.validation = toolbox, batches, data, validation
        self.budget, self.checkpoint, self.recipe, self._start = budget, checkpoint, recipe, start
        self.networks = _trainable(toolbox)
        self.average = _trainable(toolbox)
        self.optimizers = [recipe.new_optimizer(network) for network in self.networks]
        self.uses = torch.zeros(len(toolbox), dtype=torch.int64)
        self.updates = torch.zeros(len(toolbox), dtype=torch.int64)
        self.loss: Tensor | None = None
        self._before = self._validate()
        self.restore()

    @property
    def toolbox(self) -> Toolbox:
        """The tools as they stand: the average of the weights."""
        tools = zip(self._toolbox, self.average, strict=True)
        return Toolbox([_with(tool, network) for tool, network in tools], self._toolbox.name)

    def advance(self) -> None:
        """One update: the gradients of the batch's toolchains, each tool's divided by how often it was used."""
        batch = self._batches.batch(self.iteration)
        self.loss, counts = backpropagate(self.networks, batch, self.recipe)
        rate = self.recipe.rate(self.progress, self.iteration)
        for network, optimizer, count in zip(self.networks, self.optimizers, counts.tolist(), strict=True):
            if count:
                self._step(network, optimizer, count, rate)
        self.iteration += 1
        self.uses += counts
        self.updates += counts > 0
        for number in counts.nonzero().flatten().tolist():
            updates = int(self.updates[number])
            update_average(self.average[number], self.networks[number], self.recipe.average, updates)

    def status(self) -> Progress:
        """How the training stands."""
        return Progress(
            "toolchains",
            self.iteration,
            None if self.loss is None else float(self.loss),
            self._before,
            self._validate(),
            self.recipe.rate(self.progress, self.iteration),
            self.seconds,
            self.budget.left(self.iteration, self.seconds),
        )

    def settings(self) -> dict[str, Any]:
        """Tools, recipe and data."""
        return {
            "tools": list(self._toolbox.names),
            "start": self._start,
            "recipe": asdict(self.recipe),
            "data": self.data,
        }

    def state(self) -> dict[str, Any]:
        """Weights, their average, the optimizers' memories, and how often each tool was used and updated."""
        return {
            "networks": self.networks.state_dict(),
            "average": self.average.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "uses": self.uses,
            "updates": self.updates,
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on from those."""
        self.networks.load_state_dict(state["networks"])
        self.average.load_state_dict(state["average"])
        for optimizer, memory in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(memory)
        self.uses, self.updates = state["uses"], state["updates"]

    def _validate(self) -> float:
        with torch.no_grad():
            restored = along_chains(self.average, self.validation.distorted, self.validation.chain)
            return float(psnr(restored, self.validation.reference).mean())

    def _step(self, network: nn.Module, optimizer: torch.optim.Optimizer, count: int, rate: float) -> None:
        for parameter in network.parameters():
            assert parameter.grad is not None
            parameter.grad /= count
        nn.utils.clip_grad_norm_(network.parameters(), self.recipe.clip)
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()


class Pass(NamedTuple):
    """What a batch's gradients were computed from.

    Attributes:
        loss: mean over the toolchains.
        counts: int64 (tools,), how often each tool was used, on the CPU.
    """

    loss: Tensor
    counts: Tensor


def backpropagate(networks: nn.ModuleList, batch: ChainBatch, recipe: Recipe) -> Pass:
    """Set each tool's gradients to those of the loss of the final images, summed over the toolchains.

    Algorithm 1 without its division: forward along each toolchain, the loss of the final image, and back through the
    whole chain. On a CPU every core has its part of the batch.
    """
    parameters = list(networks.parameters())
    parts = _shares(networks, batch)
    found: list[tuple[Tensor, Sequence[Tensor | None]]] = [(batch.distorted.new_zeros(()), [])] * len(parts)

    def work(number: int) -> None:
        distorted, reference, chain = parts[number]
        loss = len(chain) * recipe.loss_of(along_chains(networks, distorted, chain), reference)
        found[number] = loss.detach(), torch.autograd.grad(loss, parameters, allow_unused=True)

    run_in_threads(work, range(len(parts)))
    for place, parameter in enumerate(parameters):
        gradients = [gradient for _, part in found if (gradient := part[place]) is not None]
        parameter.grad = sum(gradients[1:], start=gradients[0]) if gradients else None
    counts = torch.bincount(batch.chain[batch.chain != NO_TOOL], minlength=len(networks))
    return Pass(torch.stack([loss for loss, _ in found]).sum() / len(batch.chain), counts)


def _shares(networks: nn.ModuleList, batch: ChainBatch) -> list[ChainBatch]:
    """The toolchains in parts of about the same work, as many as there are cores; on a GPU one."""
    device = batch.distorted.device
    parts = torch.get_num_threads() if device.type == "cpu" else 1
    sizes = [sum(parameter.numel() for parameter in network.parameters()) for network in networks]
    work = torch.tensor([*sizes, 0])[batch.chain].sum(1)  # NO_TOOL is the last
    order = torch.argsort(work, descending=True, stable=True)
    rows = [order[number::parts] for number in range(min(parts, len(order)))]
    return [
        ChainBatch(batch.distorted[some.to(device)], batch.reference[some.to(device)], batch.chain[some])
        for some in rows
    ]


def along_chains(networks: nn.ModuleList, images: Tensor, chains: Tensor) -> Tensor:
    """Apply to each image its toolchain; nothing is clipped between tools, as in the transition.

    Images that want the same tool next go through it together, whatever came before.

    Args:
        networks: the tools.
        images: float32 (n, 3, h, w).
        chains: int64 (n, steps) on the CPU, the numbers of the tools, -1 after the last.
    """
    length = max(1, CHUNK_PIXELS[images.device.type] // (images.shape[2] * images.shape[3]))
    for actions in chains.unbind(1):
        order = torch.argsort(actions, stable=True)
        numbers, counts = torch.unique_consecutive(actions[order], return_counts=True)
        parts = images[order.to(images.device)].split(counts.tolist())
        results = [
            part if number == NO_TOOL else torch.cat([networks[number](chunk) for chunk in part.split(length)])
            for number, part in zip(numbers.tolist(), parts, strict=True)
        ]
        images = torch.cat(results)[torch.argsort(order).to(images.device)]
    return images


def _trainable(toolbox: Toolbox) -> nn.ModuleList:
    """Copies of the tools' networks, with gradients."""
    networks = nn.ModuleList(deepcopy(tool.module) for tool in toolbox if tool.module is not None)
    laid_out: nn.ModuleList = networks.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return laid_out.requires_grad_(True).train()


def _with(tool: Tool, network: nn.Module) -> Tool:
    """A tool with another network."""
    return Tool.from_module(tool.name, deepcopy(network), removes=tool.removes, interval=tool.interval)

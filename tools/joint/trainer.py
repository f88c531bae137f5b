"""The joint training of tools along toolchains (paper, Algorithm 1), which can stop and resume at any moment."""

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn

from restore_env.restoration.batch import NO_TOOL
from restore_env.restoration.metrics import psnr
from restore_env.toolbox import Tool, Toolbox
from restore_env.toolbox.tool import apply_padded
from restore_env.training.ema import averaged
from restore_env.utils.threads import run_in_threads
from tools.joint.batches import ChainBatch
from tools.recipes import Precision, Recipe, RecipeTraining, compute_in

CHUNK_PIXELS: Final = {"cpu": 2**15, "cuda": 2**24}
"""Pixels that a network gets at once; on a CPU its feature maps then stay in the cache."""


@dataclass(kw_only=True)
class JointTraining(RecipeTraining):
    """Fine-tunes the tools of a toolbox along toolchains; call `run`.

    A batch depends only on the seed and the iteration, and everything else is in the checkpoint. With a budget in
    iterations the result on a CPU is the same to the bit however often it was stopped.

    Takes also the arguments of `RecipeTraining`.

    Args:
        tools: tools that are networks; they are copied.
        batch: returns the batch of an iteration, always the same one.
        validation: toolchains that it is measured on.
        start: what the tools were at the start, in words; a training resumes only with the same tools.

    Raises:
        ValueError: if a tool cannot be trained, or the checkpoint belongs to another training.
    """

    name = "toolchains"
    saved = ("networks", "averages", "optimizers", "uses")

    tools: Toolbox
    batch: Callable[[int], ChainBatch]
    validation: ChainBatch
    start: str

    def __post_init__(self) -> None:
        fixed = [tool.name for tool in self.tools if not getattr(tool.module, "trainable", tool.module is not None)]
        if fixed:
            raise ValueError(f"tool {fixed[0]!r} cannot be trained, because no gradient passes it")
        self.networks = nn.ModuleList(deepcopy(tool.module) for tool in self.tools if tool.module is not None)
        self.networks.to(memory_format=torch.channels_last).requires_grad_(True).train()  # type: ignore[call-overload]
        self.averages = [averaged(network, self.recipe.ema_decay) for network in self.networks]
        self.optimizers = [self.recipe.new_optimizer(network) for network in self.networks]
        self.uses = torch.zeros(len(self.tools), dtype=torch.int64)
        self._before = self._psnr()
        self.restore()

    @property
    def toolbox(self) -> Toolbox:
        """The tools as they stand: the average of the weights."""
        tools = zip(self.tools, self.averages, strict=True)
        return Toolbox([_with_network(tool, average.module) for tool, average in tools], self.tools.name)

    def validate(self) -> tuple[float, float]:
        """Return the mean PSNR in dB of the validation toolchains' final images, with the first tools and now."""
        return self._before, self._psnr()

    def advance(self) -> None:
        """Update the tools: each by its gradients of the batch's toolchains, divided by how often it was used."""
        self.loss, counts = backpropagate(self.networks, self.batch(self.iteration), self.recipe, self.precision)
        for number, count in enumerate(counts.tolist()):
            if count:
                network = self.networks[number]
                for parameter in network.parameters():
                    assert parameter.grad is not None
                    parameter.grad /= count
                self.update(network, self.optimizers[number])
                self.averages[number].update_parameters(network)
        self.uses += counts
        self.iteration += 1

    def settings(self) -> dict[str, Any]:
        """Return tools, recipe and data."""
        return {
            "tools": list(self.tools.names),
            "start": self.start,
            "recipe": asdict(self.recipe),
            "data": self.data,
            "precision": self.precision,
        }

    def _psnr(self) -> float:
        with torch.no_grad():
            networks = [average.module for average in self.averages]
            restored = along_chains(networks, self.validation.distorted, self.validation.chain)
            return float(psnr(restored, self.validation.reference).mean())


def backpropagate(
    networks: nn.ModuleList, batch: ChainBatch, recipe: Recipe, precision: Precision = "float32"
) -> tuple[Tensor, Tensor]:
    """Set each tool's gradients to those of the loss of the final images, summed over the toolchains.

    This is Algorithm 1 without its division: forward along each toolchain, the loss of the final image, and back
    through the whole chain. On a CPU every core works on a part of the batch.

    Args:
        networks: the tools; their gradients are replaced.
        batch: the toolchains.
        recipe: has the loss.
        precision: in which convolutions compute.
    """
    parameters = list(networks.parameters())
    parts = _shares(networks, batch)
    found: list[tuple[Tensor, Sequence[Tensor | None]]] = [(batch.distorted.new_zeros(()), [])] * len(parts)

    def work(number: int) -> None:
        distorted, reference, chain = parts[number]
        with compute_in(precision, distorted.device):
            restored = along_chains(networks, distorted, chain)
        loss = len(chain) * recipe.loss_of(restored, reference)
        found[number] = loss.detach(), torch.autograd.grad(loss, parameters, allow_unused=True)

    run_in_threads(work, range(len(parts)))
    for place, parameter in enumerate(parameters):
        gradients = [gradient for _, part in found if (gradient := part[place]) is not None]
        parameter.grad = sum(gradients[1:], start=gradients[0]) if gradients else None
    counts = torch.bincount(batch.chain[batch.chain != NO_TOOL], minlength=len(networks))
    return torch.stack([loss for loss, _ in found]).sum() / len(batch.chain), counts


def _shares(networks: nn.ModuleList, batch: ChainBatch) -> list[ChainBatch]:
    """Split a batch into parts of about the same work, one for each core; on a GPU there is one."""
    device = batch.distorted.device
    parts = torch.get_num_threads() if device.type == "cpu" else 1
    sizes = [sum(parameter.numel() for parameter in network.parameters()) for network in networks]
    work = torch.tensor([*sizes, 0])[batch.chain].sum(1)  # (n, steps) -> (n,); NO_TOOL, -1, takes the last size
    order = torch.argsort(work, descending=True, stable=True)
    rows = [order[number::parts] for number in range(min(parts, len(order)))]
    return [
        ChainBatch(batch.distorted[some.to(device)], batch.reference[some.to(device)], batch.chain[some])
        for some in rows
    ]


def along_chains(networks: Sequence[nn.Module] | nn.ModuleList, images: Tensor, chains: Tensor) -> Tensor:
    """Apply to each image its toolchain; nothing is clipped between tools, as in the environment.

    Images with the same next tool go through it together, whatever tools came before.

    Args:
        networks: the tools.
        images: float32 (n, 3, h, w).
        chains: int64 (n, steps) on the CPU, the numbers of the tools, -1 after the last.

    Returns:
        The final images, float32 (n, 3, h, w).
    """
    length = max(1, CHUNK_PIXELS[images.device.type] // (images.shape[2] * images.shape[3]))
    for actions in chains.unbind(1):
        order = torch.argsort(actions, stable=True)
        numbers, counts = torch.unique_consecutive(actions[order], return_counts=True)
        parts = images[order.to(images.device)].split(counts.tolist())
        results = [
            part if number == NO_TOOL else _applied(networks[number], part, length)
            for number, part in zip(numbers.tolist(), parts, strict=True)
        ]
        images = torch.cat(results)[torch.argsort(order).to(images.device)]  # back in the order of the rows
    return images


def _applied(network: nn.Module, images: Tensor, length: int) -> Tensor:
    """Apply a network to images of any size as its tool does, to so many at once."""
    multiple = int(getattr(network, "multiple", 1))
    return torch.cat([apply_padded(network, chunk, multiple) for chunk in images.split(length)])


def _with_network(tool: Tool, network: nn.Module) -> Tool:
    """Return a tool with a copy of another network."""
    return Tool.from_module(
        tool.name, deepcopy(network), removes=tool.removes, interval=tool.interval, cost=tool.given_cost
    )

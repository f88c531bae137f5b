"""An ordered, immutable set of tools that acts on batches of images."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from copy import deepcopy
from dataclasses import replace
from functools import cached_property
from itertools import compress, product
from operator import not_
from typing import Any, Final, NamedTuple, overload

import torch
from torch import Tensor

from restore_env.constants import PATCH_SIZE
from restore_env.toolbox.networks import ToolNetwork
from restore_env.toolbox.tool import Tool
from restore_env.utils.checks import check_choice
from restore_env.utils.threads import run_in_threads

STOP: Final = "stop"
"""Name of the last action."""

CHUNK_PIXELS: Final = {"cpu": 2**15, "cuda": 2**24}
"""Pixels that a tool gets at once, by type of device. On a CPU the feature maps then stay in its cache."""

DTYPES: Final = ("float32", "bfloat16")
"""Precisions in which networks can compute."""

TILE: Final = 256
"""Height and width in pixels of the tiles in which images larger than a chunk are processed."""


class Toolbox(Sequence[Tool]):
    """The tools of an environment, in the order of their actions. The action after the last tool is *stop*.

    A toolbox is immutable. To combine toolboxes, make a new one of their tools.

    Args:
        tools: the tools; their names are unique.
        name: name of the toolbox, for reports and saved policies.
        dtype: precision in which networks compute, "float32" or "bfloat16". Images stay float32 in both cases.

    Raises:
        TypeError: if one of the tools is not a `Tool`.
        ValueError: if there are no tools, two have one name, one is called "stop", or `dtype` is unknown.

    Example:
        >>> toolbox = Toolbox([Tool("darken", lambda images: images / 2), Tool("invert", lambda images: 1 - images)])
        >>> toolbox.action_names
        ('darken', 'invert', 'stop')
        >>> images = torch.ones(3, 3, 8, 8)
        >>> toolbox.apply(images, [0, 1, toolbox.stop])[:, 0, 0, 0].tolist()
        [0.5, 0.0, 1.0]
    """

    def __init__(self, tools: Iterable[Tool], name: str = "custom", dtype: str = "float32") -> None:
        check_choice("dtype", dtype, DTYPES)
        self._tools = tuple(tools)
        self.name = name
        self.dtype = dtype
        wrong = [tool for tool in self._tools if not isinstance(tool, Tool)]
        if wrong:
            raise TypeError(f"tools: {wrong[0]!r} is not a Tool; Tool.from_function and Tool.from_module make one")
        if not self._tools:
            raise ValueError("tools is empty; a toolbox needs at least one tool")
        names = self.names
        twice = [name for name in names if names.count(name) > 1 or name == STOP]
        if twice:
            raise ValueError(f"tools: the name {twice[0]!r} is {'reserved' if twice[0] == STOP else 'taken twice'}")

    @property
    def names(self) -> tuple[str, ...]:
        """The tools' names, in order."""
        return tuple(tool.name for tool in self._tools)

    @property
    def action_names(self) -> tuple[str, ...]:
        """The names of all actions, first those of the tools and then "stop"."""
        return (*self.names, STOP)

    @cached_property
    def costs(self) -> Tensor:
        """Multiplications of each action on a patch of 63x63, float64 (actions,) in 1e9; 0 for functions and *stop*."""
        costs = [tool.multiplications(PATCH_SIZE) for tool in self._tools]
        return torch.tensor([*costs, 0.0], dtype=torch.float64) / 1e9

    @property
    def stop(self) -> int:
        """The number of the action that leaves an image as it is and ends its episode."""
        return len(self._tools)

    def __len__(self) -> int:
        return len(self._tools)

    @overload
    def __getitem__(self, index: int) -> Tool: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Tool, ...]: ...
    def __getitem__(self, index: Any) -> Any:
        return self._tools[index]

    def __contains__(self, item: object) -> bool:
        """Return whether a tool, or a tool of that name, is in the toolbox."""
        return item in self._tools or item in self.names

    def __repr__(self) -> str:
        return f"Toolbox({self.name!r}: {', '.join(self.names)})"

    def to(self, device: str | torch.device, dtype: str | None = None) -> "Toolbox":
        """Return the toolbox on a device.

        Args:
            device: where the networks compute; they are copied there.
            dtype: precision in which they compute, None to keep it.
        """
        modules = deepcopy([tool.module for tool in self._tools])  # at once: tools that share a network still do
        tools = [
            tool if module is None else replace(tool, function=module.to(device))
            for tool, module in zip(self._tools, modules, strict=True)
        ]
        return Toolbox(tools, self.name, dtype or self.dtype)

    def index(self, name: Any, *_: Any) -> int:
        """Return the number of an action.

        Args:
            name: name of a tool, or "stop".

        Raises:
            ValueError: if there is no such action.
        """
        if name not in self.action_names:
            raise ValueError(f"{name!r} is not an action of the toolbox {self.name!r}: {', '.join(self.action_names)}")
        return self.action_names.index(name)

    def apply(self, images: Tensor, actions: Tensor | Sequence[int]) -> Tensor:
        """Apply to each image the tool of its action; *stop* leaves the image as it is.

        Args:
            images: float (n, 3, h, w) RGB in about [0, 1]; they stay as they are.
            actions: n integers from 0 to `len(toolbox)`.

        Returns:
            A new tensor of the same shape, not clipped.

        Raises:
            ValueError: if there are not n actions, or one is out of range.
            ToolError: if a tool fails.
        """
        chosen = self.check_actions(actions, len(images))
        result = torch.empty_like(images, memory_format=torch.channels_last)
        groups = chosen.argsort(stable=True).to(images.device).split(chosen.bincount(minlength=self.stop + 1).tolist())
        tasks = [
            task
            for tool, group in zip(self, groups, strict=False)
            for chunk in (group.split(_chunk_length(images, tool)) if len(group) else ())
            for task in self._tasks(tool, images, result, chunk)
        ]
        self._run(tasks)
        result[groups[self.stop]] = images[groups[self.stop]]
        return result

    def apply_each(
        self, images: Sequence[Tensor], tools: Sequence[int], contexts: Sequence[Tensor | None] | None = None
    ) -> list[Tensor]:
        """Apply to each image a tool, all side by side, though their sizes differ.

        Args:
            images: n times float (3, h, w), RGB in about [0, 1]; they stay as they are.
            tools: n numbers of tools.
            contexts: of images that are parts of larger ones, n parts of what `context_of` returned for the larger
                ones. The parts begin at multiples of what the tool's network needs.

        Returns:
            New tensors of the same shapes, not clipped.

        Raises:
            ToolError: if a tool fails.

        Example:
            >>> tools = [Tool("darken", lambda images: images / 2), Tool("invert", lambda images: 1 - images)]
            >>> toolbox = Toolbox(tools)
            >>> dark, inverse = toolbox.apply_each([torch.ones(3, 4, 4), torch.ones(3, 2, 9)], [0, 1])
            >>> float(dark.mean()), float(inverse.mean()), tuple(inverse.shape)
            (0.5, 0.0, (3, 2, 9))
        """
        batches = [image.unsqueeze(0) for image in images]  # (3, h, w) -> (1, 3, h, w)
        results = [torch.empty_like(batch, memory_format=torch.channels_last) for batch in batches]
        known = [None] * len(batches) if contexts is None else contexts
        tasks = [
            task
            for batch, result, number, context in zip(batches, results, tools, known, strict=True)
            for task in self._tasks(self[number], batch, result, torch.zeros(1, dtype=torch.int64), context)
        ]
        self._run(tasks)
        return [result[0] for result in results]

    def context_of(self, images: Tensor, tool: Tool) -> Tensor | None:
        """Return what a tool has to know of the surroundings of each part of images; see `Tool.context_of`."""
        with torch.inference_mode(), self._precision(images.device):
            return tool.context_of(images)

    def _tasks(
        self, tool: Tool, images: Tensor, result: Tensor, chunk: Tensor, context: Tensor | None = None
    ) -> Iterator["Task"]:
        """Return the tasks of a tool for some images: one for each tile."""
        chunk, tiles = chunk.to(images.device), list(_tiles(tool, images))
        if context is None and len(tiles) > 1:
            context = self.context_of(images[chunk], tool)
        for rows, columns in tiles:
            part = part_of_context(context, rows.seen, columns.seen, tool)
            yield Task(tool, images, result, chunk, rows, columns, part)

    def _run(self, tasks: Sequence["Task"]) -> None:
        """Do some tasks, those of networks on a CPU side by side."""

        def run(task: Task) -> None:
            tool, images, result, chunk, rows, columns, context = task
            seen = images[chunk, :, rows.seen, columns.seen].contiguous(memory_format=torch.channels_last)
            with torch.inference_mode(), self._precision(images.device):
                result[chunk, :, rows.own, columns.own] = tool(seen, context)[:, :, rows.inner, columns.inner]

        apart = [_bears_threads(task.tool, task.images) for task in tasks]
        run_in_threads(run, sorted(compress(tasks, apart), key=_cost, reverse=True))
        for task in compress(tasks, map(not_, apart)):
            run(task)

    def _precision(self, device: torch.device) -> AbstractContextManager[Any]:
        """Return the context in which networks run; it does not round the images themselves."""
        return torch.autocast(device.type, torch.bfloat16) if self.dtype == "bfloat16" else nullcontext()

    def check_actions(self, actions: Tensor | Sequence[int], n: int) -> Tensor:
        """Return actions as an int64 tensor (n,) on the CPU.

        Raises:
            ValueError: if there are not n integers, or one is out of range.
        """
        chosen = torch.as_tensor(actions).cpu()
        integers = not (chosen.is_floating_point() or chosen.is_complex() or chosen.dtype == torch.bool)
        if chosen.shape != (n,) or not integers:
            raise ValueError(f"actions of the shape {tuple(chosen.shape)} and {chosen.dtype}; {n} integers are needed")
        wrong = chosen[(chosen < 0) | (chosen > self.stop)]
        if len(wrong):
            raise ValueError(f"action {int(wrong[0])} is not one of 0 to {self.stop} ({', '.join(self.action_names)})")
        return chosen.long()


class Span(NamedTuple):
    """Rows or columns of a tile.

    Attributes:
        own: those of the image that the tile fills.
        seen: those of the image that the tool gets, with the overlap.
        inner: those of what the tool returns that are kept.
    """

    own: slice
    seen: slice
    inner: slice


class Task(NamedTuple):
    """A tool's work on one tile of some images.

    Attributes:
        tool: the tool.
        images: float (n, 3, h, w), the images.
        result: float (n, 3, h, w), where the results go.
        chunk: int64 (k,), numbers of the images that the tool gets.
        rows: rows of the tile.
        columns: its columns.
        context: the tile's part of the images' context, None if the tool computes it or needs none.
    """

    tool: Tool
    images: Tensor
    result: Tensor
    chunk: Tensor
    rows: Span
    columns: Span
    context: Tensor | None


def _tiles(tool: Tool, images: Tensor) -> Iterable[tuple[Span, Span]]:
    """Return the rows and columns of the tiles in which a tool processes images.

    Small images are one tile, and so are all if the tool's radius is unknown. Other tiles overlap by the radius, so the
    result is the same as for the whole image, whose context they get. They start at multiples of what the tool's
    network needs.
    """
    height, width = images.shape[2:]
    if tool.radius is None or height * width <= CHUNK_PIXELS[images.device.type]:
        return [(_span(0, height, height, 0), _span(0, width, width, 0))]
    overlap = -(-tool.radius // tool.multiple) * tool.multiple
    rows, columns = ([_span(start, TILE, side, overlap) for start in range(0, side, TILE)] for side in (height, width))
    return product(rows, columns)


def _span(start: int, length: int, side: int, overlap: int) -> Span:
    """Return the rows or columns of a tile that starts at `start` in an image of `side` of them."""
    end, first = min(start + length, side), max(0, start - overlap)
    return Span(slice(start, end), slice(first, min(end + overlap, side)), slice(start - first, end - first))


def part_of_context(context: Tensor | None, rows: slice, columns: slice, tool: Tool) -> Tensor | None:
    """Return the context of a part of images.

    Args:
        context: as `Tool.context_of` returns it for the images.
        rows: the rows of the part; they begin at a multiple of what the tool's network needs.
        columns: its columns.
        tool: the tool.
    """
    if context is None or context.shape[2:] == (1, 1):
        return context
    cell = tool.multiple
    down, across = (slice(span.start // cell, -(-span.stop // cell)) for span in (rows, columns))
    return context[:, :, down, across]


def _cost(task: Task) -> int:
    """Estimate how long a task takes, without running it: parameters times pixels."""
    assert task.tool.module is not None
    height, width = (int(span.seen.stop) - int(span.seen.start) for span in (task.rows, task.columns))
    parameters = sum(parameter.numel() for parameter in task.tool.module.parameters())
    return parameters * len(task.chunk) * height * width


def _bears_threads(tool: Tool, images: Tensor) -> bool:
    """Return whether a tool may run in several threads: users' tools may not be thread-safe, a GPU has one queue."""
    return images.device.type == "cpu" and isinstance(tool.module, ToolNetwork)


def _chunk_length(images: Tensor, tool: Tool) -> int:
    """Return how many images a tool gets at once; every thread gets some."""
    n, _, height, width = images.shape
    length = max(1, CHUNK_PIXELS[images.device.type] // (height * width))
    return min(length, -(-n // torch.get_num_threads())) if _bears_threads(tool, images) else length

"""The transition for photos whose regions get toolchains of their own."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

import torch
from torch import Tensor

from restore_env.constants import MAX_STEPS, PATCH_SIZE
from restore_env.data.pairs import Label
from restore_env.restoration.batch import RestorationBatch
from restore_env.restoration.rewards import Reward
from restore_env.toolbox import Tool, Toolbox
from restore_env.toolbox.toolbox import part_of_context
from restore_env.utils.checks import check_whole
from restore_env.utils.tensors import tensor_to_images

BLEND: Final = 32
"""Width in pixels of the strip in which the results of two neighbouring regions pass into each other."""


class Axis(NamedTuple):
    """The rows or the columns of regions along one side of a photo.

    Attributes:
        side: length of the side in pixels.
        size: height or width of a patch in pixels.
        blend: width in pixels of the strip in which the results of two neighbouring regions pass into each other.
        starts: for each row or column of regions, the first pixel of its patches.
        edges: where regions begin and end: one number more than there are rows or columns.
    """

    side: int
    size: int
    blend: int
    starts: Sequence[int]
    edges: Sequence[int]

    def __len__(self) -> int:
        return len(self.starts)

    def weights(self, first: int, last: int) -> Tensor:
        """Return how much rows or columns `first` to `last - 1` together count at each pixel, float32 (side,)."""
        places = torch.arange(self.side) + 0.5
        rise = (places - self.edges[first]) / self.blend + 0.5 if first else torch.ones(self.side)
        fall = (self.edges[last] - places) / self.blend + 0.5 if last < len(self) else torch.ones(self.side)
        return torch.minimum(rise, fall).clamp(0, 1)

    def span(self, first: int, last: int) -> slice:
        """Return the pixels where rows or columns `first` to `last - 1` count."""
        start = self.edges[first] - self.blend // 2 if first else 0
        stop = self.edges[last] + self.blend // 2 if last < len(self) else self.side
        return slice(start, stop)


class Part(NamedTuple):
    """A rectangle of regions that get the same tool.

    Attributes:
        image: number of the photo.
        rows: first row of regions, and the first below.
        columns: first column of regions, and the first to the right.
    """

    image: int
    rows: tuple[int, int]
    columns: tuple[int, int]


class RegionBatch(RestorationBatch):
    """A batch of photos of one size, or of one part of each, in which each region is an episode.

    Each region has a patch in its middle, which the policy sees, and its own toolchain. A step applies each tool where
    it was chosen. Between two regions with different tools, the results pass into each other linearly over 32 pixels.
    PSNR and rewards of an episode are those of its patch.

    Args:
        toolbox: the toolbox; it is on the device of the images.
        patch_size: height and width of the patches in pixels.
        max_steps: largest number of tools in a toolchain.
        reward: a name of `restore_env.restoration.rewards.REWARDS`, or a function.
        blend: width in pixels of the strip in which the results of two neighbouring regions pass into each other. It is
            at most half the patch size.

    Attributes:
        rows: the rows of regions of a photo.
        columns: its columns.

    Example:
        >>> from restore_env import Tool
        >>> batch = RegionBatch(Toolbox([Tool("brighten", lambda images: images + 0.5)]), patch_size=20)
        >>> batch.start(torch.zeros(1, 3, 20, 40))
        >>> len(batch)
        2
        >>> outcome = batch.step(torch.tensor([0, 1]))  # the left region becomes brighter
        >>> batch.images[0, 0, 10, [0, 19, 20, 39]]
        tensor([0.5000, 0.2750, 0.2250, 0.0000])
    """

    rows: Axis
    columns: Axis

    def __init__(
        self,
        toolbox: Toolbox,
        patch_size: int = PATCH_SIZE,
        *,
        max_steps: int = MAX_STEPS,
        reward: str | Reward = "step_psnr",
        blend: int = BLEND,
    ) -> None:
        super().__init__(toolbox, max_steps=max_steps, reward=reward)
        self.patch_size, self.blend = patch_size, check_whole("blend", blend, 1)

    @property
    def part_shape(self) -> tuple[int, int]:
        """Height and width in pixels of a patch."""
        return self.patch_size, self.patch_size

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of photos, and of the rows and columns of regions of each."""
        return len(self.images), len(self.rows), len(self.columns)

    def start(
        self,
        images: Tensor,
        reference: Tensor | None = None,
        labels: Sequence[Label | None] | None = None,
        axes: tuple[Axis, Axis] | None = None,
    ) -> None:
        """Begin the episodes of all regions.

        Args:
            images: float32 (n, 3, h, w), distorted photos, at least as large as a patch.
            reference: float32 (n, 3, h, w), reference photos; needed for PSNR and rewards.
            labels: n labels, for rewards; by default none is known.
            axes: the rows and columns of regions; by default as many as the photos have room for.

        Raises:
            ValueError: if the photos are smaller than a patch.
        """
        size, (height, width) = self.patch_size, images.shape[2:]
        if min(height, width) < size:
            raise ValueError(f"images of {width}x{height} pixels; the policy looks at {size}x{size}")
        self.rows, self.columns = axes or [axis_of(side, size, self.blend) for side in images.shape[2:]]
        regions = len(self.rows) * len(self.columns)
        super().start(
            images, reference, None if labels is None else [label for label in labels for _ in range(regions)]
        )

    def _apply(self, actions: Tensor) -> Tensor:
        """Apply each tool where it was chosen."""
        maps = actions.view(self.shape)
        images = self.images
        if all(bool((each == each[0, 0]).all()) for each in maps):
            return self.toolbox.apply(images, maps[:, 0, 0])
        result = images.clone(memory_format=torch.channels_last)
        for number in range(len(self.toolbox)):  # one after the other: the order of sums is always the same
            parts = [part for image, each in enumerate(maps) for part in rectangles(each == number, image)]
            self._add(result, number, parts)
        return result

    def _add(self, result: Tensor, number: int, parts: Sequence[Part]) -> None:
        """Add to `result` what a tool changes in some parts."""
        tool, (height, width) = self.toolbox[number], result.shape[2:]
        spans = [(self.rows.span(*part.rows), self.columns.span(*part.columns)) for part in parts]
        seen = [(_surroundings(tool, rows, height), _surroundings(tool, columns, width)) for rows, columns in spans]
        before = [self.images[part.image, :, rows, columns] for part, (rows, columns) in zip(parts, seen, strict=True)]
        photos = {part.image for part in parts}
        whole = {photo: self.toolbox.context_of(self.images[photo : photo + 1], tool) for photo in photos}
        contexts = [
            part_of_context(whole[part.image], rows, columns, tool)
            for part, (rows, columns) in zip(parts, seen, strict=True)
        ]
        after = self.toolbox.apply_each(before, [number] * len(parts), contexts)
        for place, (part, (rows, columns)) in enumerate(zip(parts, spans, strict=True)):
            up, left = seen[place][0].start, seen[place][1].start
            change = after[place] - before[place]
            change = change[:, rows.start - up : rows.stop - up, columns.start - left : columns.stop - left]
            weights = torch.outer(self.rows.weights(*part.rows)[rows], self.columns.weights(*part.columns)[columns])
            result[part.image, :, rows, columns] += weights.to(result.device) * change

    def _episodes(self, images: Tensor) -> int:
        """Return the number of regions on some photos."""
        return len(images) * len(self.rows) * len(self.columns)

    def _seen(self, rows: Tensor) -> Tensor:
        """Return the patches of some regions, uint8 (k, size, size, 3); large photos take no more memory for it."""
        size, per_photo = self.patch_size, len(self.rows) * len(self.columns)
        seen = torch.empty((len(rows), size, size, 3), dtype=torch.uint8, device=self.images.device)
        for place, region in enumerate(rows.tolist()):
            photo, (row, column) = region // per_photo, divmod(region % per_photo, len(self.columns))
            top, left = self.rows.starts[row], self.columns.starts[column]
            patch = self.images[photo : photo + 1, :, top : top + size, left : left + size]
            seen[place] = tensor_to_images(patch)[0]
        return seen

    def _parts(self, images: Tensor) -> Tensor:
        """Return the patches of all regions, (n * rows * columns, 3, size, size)."""
        size = self.patch_size
        # (n, 3, h, w) -> rows of (n, 3, size, w) -> (n, rows, 3, size, w)
        bands = torch.stack([images[:, :, start : start + size] for start in self.rows.starts], 1)
        # -> columns of (n, rows, 3, size, size) -> (n, rows, columns, 3, size, size)
        patches = torch.stack([bands[..., start : start + size] for start in self.columns.starts], 2)
        return patches.flatten(0, 2)


def axis_of(side: int, size: int, blend: int = BLEND) -> Axis:
    """Return the rows or columns of regions along a side: patches of `size` pixels at even distances.

    Args:
        side: length of the side in pixels.
        size: height and width of a patch.
        blend: as `RegionBatch` takes it.

    Example:
        >>> axis_of(150, 60)
        Axis(side=150, size=60, blend=30, starts=[0, 90], edges=[0, 75, 150])
    """
    count = max(1, round(side / size))
    starts = [round(number * (side - size) / (count - 1)) if number else 0 for number in range(count)]
    inner = [(first + second + size) // 2 for first, second in pairwise(starts)]
    return Axis(side, size, min(blend, size // 2), starts, [0, *inner, side])


def rectangles(mask: Tensor, image: int = 0) -> Iterator[Part]:
    """Cut the regions where a mask holds into rectangles.

    Args:
        mask: bool (rows, columns).
        image: number of the photo.

    Example:
        >>> [part[1:] for part in rectangles(torch.tensor([[True, True, False], [True, True, True]]))]
        [((0, 2), (0, 2)), ((1, 2), (2, 3))]
    """
    left = mask.clone()
    for row, column in mask.nonzero().tolist():
        if not left[row, column]:
            continue
        right = column + 1
        while right < mask.shape[1] and left[row, right]:
            right += 1
        below = row + 1
        while below < mask.shape[0] and left[below, column:right].all():
            below += 1
        left[row:below, column:right] = False
        yield Part(image, (row, below), (column, right))


def _surroundings(tool: Tool, span: slice, side: int) -> slice:
    """Return the pixels that a tool must see for its result in a span."""
    if tool.radius is None:
        return slice(0, side)
    first = max(0, span.start - tool.radius)
    return slice(first - first % tool.multiple, min(span.stop + tool.radius, side))

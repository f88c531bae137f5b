"""Blocks of a photo that are restored one after the other, so that a large photo takes little memory."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Final, NamedTuple

from restore_env.restoration.regions import Axis

BLOCK_PIXELS: Final = 2**21
"""Largest number of pixels of a block, without its surroundings."""

AROUND: Final = 1
"""Rows and columns of regions around a block that are restored with it: its outer regions pass into them."""

MARGIN: Final = 16
"""Pixels around these that tools also see."""


class Stretch(NamedTuple):
    """The rows or columns of a block.

    Attributes:
        own: the rows or columns of the photo that the block fills, in pixels.
        regions: the rows or columns of regions that the block decides for.
        begin: the first row or column of the photo that the block sees.
        axis: the rows or columns of regions of all that the block sees.
        around: how many of them lie before those that the block decides for.
    """

    own: slice
    regions: slice
    begin: int
    axis: Axis
    around: int

    @property
    def inner(self) -> slice:
        """Where in what the block sees the rows or columns that it fills are."""
        return slice(self.own.start - self.begin, self.own.stop - self.begin)

    @property
    def decided(self) -> slice:
        """Where in the regions that the block sees those that it decides for are."""
        return slice(self.around, self.around + self.regions.stop - self.regions.start)

    def as_one(self) -> "Stretch":
        """Return the same pixels as one row or column of regions."""
        side = self.axis.side
        return Stretch(self.own, slice(0, 1), self.begin, Axis(side, side, 0, [0], [0, side]), 0)


class Block(NamedTuple):
    """A rectangle of a photo."""

    rows: Stretch
    columns: Stretch

    def as_one(self) -> "Block":
        """Return the same pixels as one region, for what decides for the whole photo."""
        return Block(self.rows.as_one(), self.columns.as_one())


def blocks_of(rows: Axis, columns: Axis, most: float = BLOCK_PIXELS) -> Iterator[Block]:
    """Cut a photo into blocks of whole regions.

    Args:
        rows: the rows of regions of the photo.
        columns: its columns.
        most: largest number of pixels of a block, without its surroundings. A block has at least one region.

    Yields:
        The blocks, row by row.

    Example:
        >>> from restore_env.restoration.regions import axis_of
        >>> blocks = blocks_of(axis_of(120, 60), axis_of(300, 60), most=120 * 180)
        >>> [(block.rows.own, block.columns.own) for block in blocks]
        [(slice(0, 120, None), slice(0, 120, None)), (slice(0, 120, None), slice(120, 300, None))]
    """
    down, across = 1, 1
    while rows.side * columns.side > most * down * across and (down, across) != (len(rows), len(columns)):
        if across == len(columns) or (down < len(rows) and rows.side * across > columns.side * down):
            down += 1
        else:
            across += 1
    for vertical in _stretches(rows, down):
        for horizontal in _stretches(columns, across):
            yield Block(vertical, horizontal)


def _stretches(axis: Axis, count: int) -> Iterator[Stretch]:
    """Cut the rows or columns of regions into stretches of about one length."""
    places = [round(number * len(axis) / count) for number in range(count + 1)]
    for first, last in pairwise(places):
        before, after = max(0, first - AROUND), min(len(axis), last + AROUND)
        begin = max(0, min(axis.starts[before], axis.edges[before]) - MARGIN)
        end = min(axis.side, max(axis.starts[after - 1] + axis.size, axis.edges[after]) + MARGIN)
        starts = [start - begin for start in axis.starts[before:after]]
        edges = [0, *(edge - begin for edge in axis.edges[before + 1 : after]), end - begin]
        seen = Axis(end - begin, axis.size, axis.blend, starts, edges)
        yield Stretch(slice(axis.edges[first], axis.edges[last]), slice(first, last), begin, seen, first - before)

"""The plots of the published results."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from restore_env.utils.files import replacing


def save_figure(path: Path, size: tuple[float, float], *draws: Callable[[Axes], None]) -> None:
    """Draw on new axes, one below the other, and write the picture.

    Args:
        path: the file to write, .png.
        size: width and height in inches.
        draws: each draws on axes of its own.
    """
    figure = Figure(figsize=size, layout="constrained")
    for number, draw in enumerate(draws, start=1):
        draw(figure.add_subplot(len(draws), 1, number))
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=120)


def bars(axes: Axes, labels: Sequence[str], values: Mapping[str, Sequence[float]], title: str) -> None:
    """Draw a group of bars for each label, with one bar for each key of `values`."""
    places, width = np.arange(len(labels)), 0.8 / len(values)
    for number, (name, heights) in enumerate(values.items()):
        axes.bar(places + (number - (len(values) - 1) / 2) * width, heights, width, label=name)
    axes.set_xticks(places, labels, rotation=45, ha="right")
    axes.set_ylabel(title)
    _finish(axes, "y")


def curves(
    axes: Axes, lines: Mapping[str, tuple[Sequence[float], Sequence[float]]], x_label: str, y_label: str
) -> None:
    """Draw one line for each key of `lines`, through its (x, y)."""
    for name, (x, y) in lines.items():
        axes.plot(x, y, marker=".", label=name)
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    _finish(axes, "both")


def throughput_bars(axes: Axes, rates: Mapping[str, float]) -> None:
    """Draw a horizontal bar for each key, with its value beside it; the key "bound" becomes a line."""
    shown = {name: value for name, value in rates.items() if name != "bound"}
    places = axes.barh(list(shown), list(shown.values()))
    axes.bar_label(places, fmt="{:,.0f}", padding=3)
    axes.axvline(rates["bound"], color="black", linestyle="--", label="bound (float32)")
    axes.invert_yaxis()
    axes.set_xlim(right=1.3 * max(rates.values()))  # room for the legend
    axes.set_xlabel("steps per second")
    _finish(axes, "x")
    axes.legend(frameon=False, loc="lower right")


def _finish(axes: Axes, lines: Literal["x", "y", "both"]) -> None:
    """Add faint grid lines and a legend, and remove the frame."""
    axes.grid(axis=lines, alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)


def heat_map(axes: Axes, values: Mapping[str, Mapping[str, float]], labels: tuple[str, str, str]) -> None:
    """Draw a grid of numbers on colours that are white at zero.

    Args:
        axes: what to draw on.
        values: for each row, the number of each column.
        labels: of the columns, of the rows, and of the numbers.
    """
    columns = list(next(iter(values.values())))
    grid = np.array([list(row.values()) for row in values.values()])
    largest = max(grid.max(), 1e-6)
    # Losses can be far larger than gains; with colours for all of them, gains would all look alike.
    image = axes.imshow(grid, cmap="RdBu", vmin=-largest, vmax=largest)
    for row, column in np.ndindex(grid.shape):
        value = round(float(grid[row, column]), 1) + 0.0  # no "-0.0"
        colour = "white" if abs(value) > 0.7 * largest else "black"
        axes.text(column, row, f"{value:.1f}", ha="center", va="center", size=7, color=colour)
    axes.set_xticks(range(len(columns)), columns, rotation=45, ha="right")
    axes.set_yticks(range(len(values)), list(values))
    axes.set_xlabel(labels[0])
    axes.set_ylabel(labels[1])
    axes.figure.colorbar(image, ax=axes, label=labels[2], shrink=0.8)

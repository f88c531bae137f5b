"""The plots of the published results."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from restore_env.utils.files import replacing


def save_figure(path: Path, draw: Callable[[Axes], None], size: tuple[float, float]) -> None:
    """Draw on new axes and write the picture; `size` is width and height in inches."""
    save_panels(path, [draw], size)


def save_panels(path: Path, draws: Sequence[Callable[[Axes], None]], size: tuple[float, float]) -> None:
    """The same with several axes, one below the other."""
    figure = Figure(figsize=size, layout="constrained")
    for number, draw in enumerate(draws, start=1):
        draw(figure.add_subplot(len(draws), 1, number))
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=120)


def bars(axes: Axes, labels: Sequence[str], values: Mapping[str, Sequence[float]], title: str) -> None:
    """Groups of bars, one bar for each key of `values`."""
    places, width = np.arange(len(labels)), 0.8 / len(values)
    for number, (name, heights) in enumerate(values.items()):
        axes.bar(places + (number - (len(values) - 1) / 2) * width, heights, width, label=name)
    axes.set_xticks(places, labels, rotation=45, ha="right")
    axes.set_ylabel(title)
    _finish(axes, "y")


def curves(
    axes: Axes, lines: Mapping[str, tuple[Sequence[float], Sequence[float]]], x_label: str, y_label: str
) -> None:
    """One line for each key of `lines`, through its (x, y)."""
    for name, (x, y) in lines.items():
        axes.plot(x, y, marker=".", label=name)
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    _finish(axes, "both")


def throughput_bars(axes: Axes, rates: Mapping[str, float]) -> None:
    """A horizontal bar for each key, its value beside it; the key "bound" is a line."""
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
    """Faint grid lines, no frame, and a legend."""
    axes.grid(axis=lines, alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)


def heat_map(
    axes: Axes,
    values: Sequence[Sequence[float]],
    columns: Sequence[str],
    rows: Sequence[str],
    x_label: str,
    y_label: str,
    title: str,
) -> None:
    """A grid of numbers on colours that are white at zero."""
    grid = np.asarray(values)
    largest = max(grid.max(), 1e-6)
    # Losses can be far larger than gains; with colours for all of them, gains would all look alike.
    image = axes.imshow(grid, cmap="RdBu", vmin=-largest, vmax=largest)
    for row, column in np.ndindex(grid.shape):
        value = round(float(grid[row, column]), 1) + 0.0  # no "-0.0"
        colour = "white" if abs(value) > 0.7 * largest else "black"
        axes.text(column, row, f"{value:.1f}", ha="center", va="center", size=7, color=colour)
    axes.set_xticks(range(len(columns)), columns, rotation=45, ha="right")
    axes.set_yticks(range(len(rows)), rows)
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.figure.colorbar(image, ax=axes, label=title, shrink=0.8)

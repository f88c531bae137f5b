"""A page that shows what each tool would do to a photo: `restore-env restore --compare page.html`."""

import html
from collections.abc import Iterator, Sequence
from importlib.resources import files
from string import Template
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from restore_env.cli.report import MIXTURES, embedded
from restore_env.data.image_io import AnyImage, as_rgb_bytes
from restore_env.inference import restore
from restore_env.policies import Policy
from restore_env.restoration.niqe import BLOCK, niqe
from restore_env.toolbox import STOP, Toolbox, load_toolbox
from restore_env.utils.progress import Progress
from restore_env.utils.tensors import images_to_tensor

SIDE: Final = 512
"""Height and width in pixels of the part from the middle of the photo that is shown; making it smaller would hide the
damage."""


class Result(NamedTuple):
    """What one toolchain does to the photo.

    Attributes:
        title: names of the tools.
        image: uint8 (h, w, 3).
        niqe: how unnatural it looks; None if it is too small to tell.
    """

    title: str
    image: NDArray[np.uint8]
    niqe: float | None


def compare_page(name: str, photo: AnyImage, policy: Policy, toolbox: Toolbox, progress: Progress) -> str:
    """Return a page of HTML that needs no other file.

    Args:
        name: what the photo is called.
        photo: the photo, as `restore` takes it.
        policy: chooses the toolchain whose variations are shown.
        toolbox: the tools; those of the toolbox `classical` are shown too.
        progress: called with the share of the work that is done.
    """
    part = middle_of(as_rgb_bytes(photo))
    chosen = chosen_toolchain(part, policy, toolbox)
    groups: dict[str, list[tuple[str, ...]]] = {
        "The photo": [()],
        f"What {policy.name} chooses by a vote, and variations": [chosen, *variations(chosen, toolbox)],
        f"Each tool of {toolbox.name}": [(tool,) for tool in toolbox.names],
    }
    filters = load_toolbox("classical")
    work = [(title, chain, toolbox) for title, chains in groups.items() for chain in chains]
    if toolbox.name != filters.name:
        work += [("Each classical filter", (tool,), filters) for tool in filters.names]
    found: dict[str, list[Result]] = {}
    for number, (title, chain, tools) in enumerate(work, start=1):
        found.setdefault(title, []).append(result_of(part, chain, tools))
        progress(number / len(work))
    best = min(
        (result.niqe for results in found.values() for result in results if result.niqe is not None), default=None
    )
    sections = "\n".join(_section(title, results, best) for title, results in found.items())
    template = files("restore_env.cli").joinpath("compare.html").read_text(encoding="utf-8")
    size = f"{part.shape[1]} x {part.shape[0]} pixels from the middle of the photo"
    return Template(template).substitute(title=html.escape(name), size=size, sections=sections)


def middle_of(photo: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the part of at most 512x512 pixels from the middle of a photo."""
    top, left = (max(0, side - SIDE) // 2 for side in photo.shape[:2])
    return photo[top : top + SIDE, left : left + SIDE]


def chosen_toolchain(part: NDArray[np.uint8], policy: Policy, toolbox: Toolbox) -> tuple[str, ...]:
    """Return the tools that a policy chooses by a vote."""
    steps = restore(part, policy, toolbox, decide="vote").steps
    return tuple(step["action"] for step in steps if step["action"] != STOP)


def variations(chain: Sequence[str], toolbox: Toolbox) -> Iterator[tuple[str, ...]]:
    """Yield toolchains that differ from one in order, in length, or in the level of a tool (paper, Figure 2).

    Example:
        >>> from restore_env import load_toolbox
        >>> list(variations(["noise-4", "blur-1"], load_toolbox("rl-restore-12")))
        [('blur-1', 'noise-4'), ('noise-4',), ('noise-3', 'blur-1'), ('noise-4', 'blur-2')]
    """
    chain = tuple(chain)
    seen = {chain, ()}
    found = [chain[::-1], *(chain[:length] for length in range(len(chain) - 1, 0, -1))]
    for place, name in enumerate(chain):
        found += [(*chain[:place], other, *chain[place + 1 :]) for other in _other_levels(name, toolbox)]
    for other in found:
        if other not in seen:
            seen.add(other)
            yield other


def _other_levels(name: str, toolbox: Toolbox) -> list[str]:
    """Return the tools for the next weaker and the next stronger level of the same distortion or mixture."""
    removes = toolbox[toolbox.index(name)].removes
    alike = MIXTURES if removes in MIXTURES else (removes,)
    levels = [tool.name for tool in toolbox if tool.removes and tool.removes in alike]
    place = levels.index(name) if name in levels else 0
    return [levels[other] for other in (place - 1, place + 1) if 0 <= other < len(levels) and levels[other] != name]


def result_of(part: NDArray[np.uint8], chain: Sequence[str], toolbox: Toolbox) -> Result:
    """Return what a toolchain does to an image."""
    image = part
    if chain:
        restored = restore(part, f"fixed:{','.join(chain)}", toolbox, max_steps=len(chain))
        image = as_rgb_bytes(restored.image)
    large = min(image.shape[:2]) >= BLOCK
    value = float(niqe(images_to_tensor([image]))) if large else None
    return Result(", ".join(chain) or "as it is", image, value)


def _section(title: str, results: Sequence[Result], best: float | None) -> str:
    """Return the part of the page for a group of results."""
    figures = []
    for result in results:
        score = "" if result.niqe is None else f"NIQE {result.niqe:.2f}"
        mark = " (lowest)" if result.niqe is not None and result.niqe == best else ""
        figures.append(
            f'<figure><img alt="{html.escape(result.title)}" src="{embedded(result.image)}">'
            f"<figcaption><b>{html.escape(result.title)}</b> {score}{mark}</figcaption></figure>"
        )
    return f'<h2>{html.escape(title)}</h2><div class="grid">{"".join(figures)}</div>'

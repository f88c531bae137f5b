"""A page that shows what was done to a photo: `restore-env restore --report page.html`."""

import base64
import html
import json
from collections import Counter
from collections.abc import Sequence
from importlib.resources import files
from io import BytesIO
from math import isnan
from string import Template
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from restore_env.cli.likeness import Likeness
from restore_env.constants import BLUR_EDGES, NOISE_EDGES
from restore_env.data.image_io import AnyImage, as_rgb_bytes
from restore_env.inference import Restored
from restore_env.toolbox import STOP, Tool, Toolbox

LARGEST: Final = 1600
"""Width and height in pixels of the largest image on the page; larger ones are shown smaller."""

COLOURS: Final = (
    *("#4e79a7", "#f28e2b", "#59a14f", "#e15759", "#76b7b2", "#edc948", "#b07aa1", "#ff9da7", "#9c755f", "#1b9e77"),
    *("#d95f02", "#7570b3", "#e7298a", "#66a61e", "#a6761d", "#1f78b4", "#b2df8a", "#fb9a99", "#cab2d6", "#ffff99"),
)
"""Colours of the tools on the map of choices, again from the first after the last; *stop* has none."""

WORTH_TELLING: Final = 0.1
"""Share of a photo from which on the summary tells what was done there."""

NOUNS: Final = {"blur": "blur", "noise": "noise", "jpeg": "JPEG artefacts"}
"""What tools for the paper's distortions remove."""

MIXTURES: Final = ("light", "mild", "moderate", "severe")
"""Mixtures of these distortions that tools are made for, from the weakest."""

STRONGEST: Final = {"blur": BLUR_EDGES[-1], "noise": NOISE_EDGES[-1], "jpeg": 90.0}
"""The strongest of these distortions: as a standard deviation, and as 100 less the JPEG quality."""


def report_page(
    name: str,
    photo: AnyImage,
    restored: Restored,
    toolbox: Toolbox,
    seconds: float,
    likeness: Sequence[Likeness] = (),
) -> str:
    """Return a page of HTML that needs no other file.

    Args:
        name: what the photo is called.
        photo: the photo before, as `restore` took it.
        restored: the result of `restore` with `record=True`.
        toolbox: the tools.
        seconds: how long it took.
        likeness: how like the reference the photo is before and after each step, if there is one (`likeness_of`).

    Raises:
        ValueError: if the result holds no images.
    """
    if not restored.images:
        raise ValueError("restored holds no images; call restore with record=True")
    before = as_rgb_bytes(photo)
    values = {
        "title": html.escape(name),
        "summary": html.escape(summary(restored, toolbox)),
        "size": f"{before.shape[1]} x {before.shape[0]} pixels, {seconds:.1f} s",
        "likeness": f"<p>{likeness[0]} before; {likeness[-1]} after.</p>" if likeness else "",
        "before": embedded(before),
        "after": embedded(as_rgb_bytes(restored.image)),
        "style": steps_style(),
        "steps": steps_html(restored, toolbox, likeness),
        "json": html.escape(json.dumps(report_values(name, restored, toolbox, seconds, likeness), indent=1)),
    }
    template = files("restore_env.cli").joinpath("report.html").read_text(encoding="utf-8")
    return Template(template).substitute(values)


def steps_html(restored: Restored, toolbox: Toolbox, likeness: Sequence[Likeness] = ()) -> str:
    """Return the part of the page that shows each step and the legend of the maps; it needs `steps_style`.

    Args:
        restored: the result of `restore` with `record=True`.
        toolbox: the tools.
        likeness: as `report_page` takes it.
    """
    steps = [_step(number, restored, toolbox, likeness) for number in range(len(restored.steps))]
    legend = f'<h2>Tools on the maps</h2><ul class="legend">{_legend(restored, toolbox)}</ul>'
    return "\n".join([*steps, legend])


def steps_style() -> str:
    """Return the CSS of `steps_html`."""
    return files("restore_env.cli").joinpath("steps.css").read_text(encoding="utf-8")


def report_values(
    name: str, restored: Restored, toolbox: Toolbox, seconds: float, likeness: Sequence[Likeness] = ()
) -> dict[str, Any]:
    """Return what the page says, as plain JSON values."""
    gain = restored.expected_gain
    return {
        "name": name,
        "toolbox": toolbox.name,
        "seconds": round(seconds, 3),
        "expected_gain": None if isnan(gain) else round(gain, 3),
        "steps": restored.steps,
        "choices": [[[toolbox.action_names[action] for action in row] for row in each] for each in restored.choices],
        "words": summary(restored, toolbox),
        **({"likeness": [each._asdict() for each in likeness]} if likeness else {}),
    }


def summary(restored: Restored, toolbox: Toolbox) -> str:
    """Return in words what was done to a photo.

    Example:
        >>> from restore_env import load_toolbox, restore
        >>> photo = np.full((80, 100, 3), 128, np.uint8)
        >>> summary(restore(photo, "fixed:median-3", "classical", max_steps=1), load_toolbox("classical"))
        'Applied median-3 everywhere.'
    """
    steps = (step_in_words(choices, toolbox, WORTH_TELLING) for choices in restored.choices)
    done = [" and ".join(words) for words in steps if words]
    if not done:
        return "Nothing was changed: nothing was expected to be gained."
    expected = "" if isnan(restored.expected_gain) else f" Expected gain: {restored.expected_gain:+.1f} dB."
    return f"{_first_upper('; then '.join(done))}.{expected}"


def step_in_words(choices: NDArray[np.int64], toolbox: Toolbox, least: float = 0.0) -> list[str]:
    """Return what was done in one step, the most frequent first; tools that do the same count together.

    Args:
        choices: int64 (rows, columns), the action of each region.
        toolbox: the tools.
        least: share of the regions under which something is not told.

    Example:
        >>> from restore_env import load_toolbox
        >>> step_in_words(np.array([[7, 7, 12, 12]]), load_toolbox("rl-restore-12"))
        ['removed strong noise in 50% of the picture']
    """
    actions = [int(action) for action in choices.flat if action < toolbox.stop]
    shares = Counter(tool_in_words(toolbox[action]) for action in actions)
    return [
        f"{words} {'everywhere' if count == choices.size else f'in {count / choices.size:.0%} of the picture'}"
        for words, count in shares.most_common()
        if count >= least * choices.size
    ]


def tool_in_words(tool: Tool) -> str:
    """Return what a tool does, such as "removed strong noise".

    Example:
        >>> tool_in_words(Tool("noise-1", lambda images: images, "noise", (0.0, 12.5)))
        'removed slight noise'
        >>> tool_in_words(Tool("severe", lambda images: images, "severe"))
        'removed severe blur, noise and JPEG artefacts'
        >>> tool_in_words(Tool("sepia", lambda images: images))
        'applied sepia'
    """
    if not tool.removes:
        return f"applied {tool.name}"
    noun, mixtures = NOUNS.get(tool.removes), tool.removes.split("+")
    if set(mixtures) <= set(MIXTURES):
        return f"removed {' or '.join(mixtures)} blur, noise and JPEG artefacts"
    if noun is None:
        return f"removed {tool.removes.replace('+', ' or ')} damage"
    if tool.interval is None:
        return f"removed {noun}"
    middle = sum(tool.interval) / 2
    share = (100 - middle if tool.removes == "jpeg" else middle) / STRONGEST[tool.removes]
    return f"removed {('slight', 'moderate', 'strong')[min(2, int(3 * share))]} {noun}"


def _first_upper(text: str) -> str:
    return text[:1].upper() + text[1:]


def _step(number: int, restored: Restored, toolbox: Toolbox, likeness: Sequence[Likeness]) -> str:
    """Return the part of the page for one step: what was done, the photo after it, and the map of choices."""
    words = step_in_words(restored.choices[number], toolbox) or ["nothing more was changed"]
    image = embedded(as_rgb_bytes(restored.images[number]))
    height, width = restored.image.shape[:2]
    chart = _map(restored.choices[number], width, height, toolbox)
    reached = f" {likeness[number + 1]}." if likeness else ""
    return (
        f"<section><h2>Step {number + 1}</h2><p>{html.escape(_first_upper('; '.join(words)))}.{reached}</p>"
        f'<div class="pair"><img alt="the photo after step {number + 1}" src="{image}">'
        f'<div class="over"><img alt="" src="{image}">{chart}</div></div></section>'
    )


def _map(choices: NDArray[np.int64], width: int, height: int, toolbox: Toolbox) -> str:
    """Return the map of choices as SVG: a coloured rectangle for each region that gets a tool."""
    rows, columns = choices.shape
    parts = []
    for row, column in np.ndindex(rows, columns):
        action = int(choices[row, column])
        if action < toolbox.stop:
            parts.append(
                f'<rect x="{column * width / columns:.1f}" y="{row * height / rows:.1f}" '
                f'width="{width / columns:.1f}" height="{height / rows:.1f}" fill="{_colour(action)}">'
                f"<title>{html.escape(toolbox.names[action])}</title></rect>"
            )
    return f'<svg viewBox="0 0 {width} {height}" preserveAspectRatio="none">{"".join(parts)}</svg>'


def _legend(restored: Restored, toolbox: Toolbox) -> str:
    """Return the legend of the maps."""
    used = sorted({int(action) for action in np.unique(restored.choices)} - {toolbox.stop})
    entries = [
        f'<li><span style="background:{_colour(action)}"></span>{html.escape(toolbox.names[action])}</li>'
        for action in used
    ]
    return "".join([*entries, f"<li><span></span>{STOP}</li>"])


def _colour(action: int) -> str:
    return COLOURS[action % len(COLOURS)]


def embedded(image: NDArray[np.uint8]) -> str:
    """Return an image as a data URL, smaller if it is very large."""
    return f"data:image/webp;base64,{base64.b64encode(as_webp(image)).decode()}"


def as_webp(image: NDArray[np.uint8]) -> bytes:
    """Return an image as the content of a WebP file for a page, smaller if it is very large."""
    picture = Image.fromarray(image)
    picture.thumbnail((LARGEST, LARGEST), Image.Resampling.LANCZOS)
    content = BytesIO()
    picture.save(content, "WEBP", quality=92)
    return content.getvalue()

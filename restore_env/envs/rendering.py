"""Pictures of episodes: the distorted image, the image after each step with its tool and PSNR, and the reference."""

from collections.abc import Sequence
from math import isnan
from typing import Final, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from restore_env.restoration.batch import RestorationBatch
from restore_env.utils.tensors import ByteImage, tensor_to_images

PANEL: Final = 256
"""Height and width in pixels of the image in a panel."""

MARGIN: Final = 8
"""Pixels between panels."""

CAPTION: Final = 44
"""Height in pixels of the two lines of text above an image."""

BACKGROUND: Final = (24, 26, 30)
TITLE_COLOUR: Final = (235, 235, 235)
DETAIL_COLOUR: Final = (150, 190, 235)


class Panel(NamedTuple):
    """An image in a picture, with two lines of text above it.

    Attributes:
        title: first line.
        detail: second line.
        image: uint8 (h, w, 3); None leaves the panel empty.
    """

    title: str = ""
    detail: str = ""
    image: ByteImage | None = None


def draw_episode(batch: RestorationBatch, row: int) -> ByteImage:
    """Draw one episode of a batch.

    Args:
        batch: a started batch that was made with `record=True`.
        row: number of the episode.

    Returns:
        uint8 (h, w, 3); the size stays the same during an episode.

    Raises:
        ValueError: if the batch keeps no history.
    """
    return draw_panels([episode_panels(batch, row)])


def episode_panels(batch: RestorationBatch, row: int) -> list[Panel]:
    """Return the panels of one episode of a batch; see `draw_episode`.

    Returns:
        A panel for the distorted image, for each of `max_steps` steps, and for the reference if there is one. The
        panels of steps that were not taken are empty.
    """
    if batch.history is None:
        raise ValueError("the batch keeps no history; make it with record=True")
    names = ["distorted", *batch.toolchain(row)]
    names += ["stop"] if bool(batch.ended[row]) and int(batch.steps[row]) == len(names) else []
    images = batch.history[row].cpu().numpy()
    values = batch.psnr_history[row].tolist()
    panels = [Panel(name, _decibels(value), image) for name, value, image in zip(names, values, images, strict=False)]
    panels += [Panel()] * (batch.max_steps + 1 - len(panels))
    if batch.reference is not None:
        panels.append(Panel("reference", "", tensor_to_images(batch.reference[row : row + 1])[0].cpu().numpy()))
    return panels


def draw_panels(rows: Sequence[Sequence[Panel]]) -> ByteImage:
    """Draw rows of panels.

    Args:
        rows: the panels of each row.

    Returns:
        The picture, uint8 (h, w, 3).

    Example:
        >>> draw_panels([[Panel("black", "0 dB", np.zeros((63, 63, 3), np.uint8)), Panel()]]).shape
        (316, 536, 3)
    """
    width = max(len(row) for row in rows) * (PANEL + MARGIN) + MARGIN
    height = len(rows) * (CAPTION + PANEL + MARGIN) + MARGIN
    canvas = Image.new("RGB", (width, height), BACKGROUND)
    draw = ImageDraw.Draw(canvas)
    title_font, detail_font = ImageFont.load_default(18), ImageFont.load_default(15)
    for i, row in enumerate(rows):
        for j, panel in enumerate(row):
            left, top = MARGIN + j * (PANEL + MARGIN), MARGIN + i * (CAPTION + PANEL + MARGIN)
            draw.text((left, top), panel.title, TITLE_COLOUR, title_font)
            draw.text((left, top + 22), panel.detail, DETAIL_COLOUR, detail_font)
            if panel.image is not None:
                canvas.paste(Image.fromarray(_fitted(panel.image)), (left, top + CAPTION))
    return np.asarray(canvas)


def _decibels(value: float) -> str:
    """Return a PSNR as text; an empty text for NaN."""
    return "" if isnan(value) else f"{value:.2f} dB"


def _fitted(image: ByteImage) -> NDArray[np.uint8]:
    """Scale the longer side of an image to `PANEL`; small patches by repeating pixels, so that no value changes."""
    factor = PANEL / max(image.shape[:2])
    size = (max(1, round(image.shape[1] * factor)), max(1, round(image.shape[0] * factor)))
    method = cv2.INTER_AREA if factor < 1 else cv2.INTER_NEAREST
    return np.asarray(cv2.resize(image, size, interpolation=method), dtype=np.uint8)

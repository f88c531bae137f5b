"""The picture of an episode: the distorted image, the image after each step with its tool and PSNR, the reference."""

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
CAPTION: Final = 44
BACKGROUND: Final = (24, 26, 30)
TITLE_COLOUR: Final = (235, 235, 235)
DETAIL_COLOUR: Final = (150, 190, 235)


class Panel(NamedTuple):
    """One image of a picture, with a title and a line of detail above it; without an image it stays empty."""

    title: str = ""
    detail: str = ""
    image: ByteImage | None = None


def draw_episode(batch: RestorationBatch, row: int) -> ByteImage:
    """Draw one episode of a batch that records its history.

    Returns:
        uint8 (h, w, 3), of the same size throughout the episode.
    """
    return draw_panels([episode_panels(batch, row)])


def episode_panels(batch: RestorationBatch, row: int) -> list[Panel]:
    """The panels of one episode, always `max_steps + 2` of them; those of steps not taken are empty."""
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


def draw_panels(rows: Sequence[Sequence[Panel]], side: int = PANEL) -> ByteImage:
    """Draw rows of panels.

    Args:
        rows: the panels.
        side: height and width in pixels of the images drawn.

    Returns:
        uint8 (h, w, 3).
    """
    width = max(len(row) for row in rows) * (side + MARGIN) + MARGIN
    height = len(rows) * (CAPTION + side + MARGIN) + MARGIN
    canvas = Image.new("RGB", (width, height), BACKGROUND)
    draw = ImageDraw.Draw(canvas)
    title_font, detail_font = ImageFont.load_default(18), ImageFont.load_default(15)
    for i, row in enumerate(rows):
        for j, panel in enumerate(row):
            left, top = MARGIN + j * (side + MARGIN), MARGIN + i * (CAPTION + side + MARGIN)
            draw.text((left, top), panel.title, TITLE_COLOUR, title_font)
            draw.text((left, top + 22), panel.detail, DETAIL_COLOUR, detail_font)
            if panel.image is not None:
                canvas.paste(Image.fromarray(_fitted(panel.image, side)), (left, top + CAPTION))
    return np.asarray(canvas)


def _decibels(value: float) -> str:
    return "" if isnan(value) else f"{value:.2f} dB"


def _fitted(image: ByteImage, side: int) -> NDArray[np.uint8]:
    """Scale the longer side to `side`: small patches by repeating pixels, so that what is seen is what was computed."""
    factor = side / max(image.shape[:2])
    size = (max(1, round(image.shape[1] * factor)), max(1, round(image.shape[0] * factor)))
    method = cv2.INTER_AREA if factor < 1 else cv2.INTER_NEAREST
    return np.asarray(cv2.resize(image, size, interpolation=method), dtype=np.uint8)

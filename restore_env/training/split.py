"""Which photos of a collection are kept aside, to measure on what was not trained on."""

import re
from collections.abc import Sequence
from typing import Final

EVERY: Final = 10
_SCALE: Final = re.compile(r"[-_]?x\d$")


def kept_aside(names: Sequence[str]) -> tuple[list[int], list[int]]:
    """Numbers of the photos to train on, and of every tenth photo, which is kept aside.

    Files of one photo in several sizes, whose names differ in a last "x2", "x3" or the like as DIV2K's do, stay
    together.

    Args:
        names: the files' names without their endings, sorted.
    """
    photos = [_SCALE.sub("", name) for name in names]
    chosen = set(list(dict.fromkeys(photos))[::EVERY])
    rest = [number for number, photo in enumerate(photos) if photo not in chosen]
    return rest, [number for number, photo in enumerate(photos) if photo in chosen]

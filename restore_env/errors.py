"""The errors that the package raises besides plain `TypeError` and `ValueError`."""


class ImageError(ValueError):
    """An image, a folder of images or a pairs file cannot be used; the message names it and says why."""


class FormatError(ValueError):
    """A toolbox, policy or log on disk does not fit its format; the message names it and says why."""


class ToolError(RuntimeError):
    """A tool failed: it raised, changed the image's shape, or returned NaN or infinity."""

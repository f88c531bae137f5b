"""Errors that the package raises besides `TypeError`, `ValueError` and `OSError`."""


class ImageError(ValueError):
    """An image, a folder of images or a pairs file cannot be used; the message names it and says why.

    Example:
        >>> from restore_env import read_image
        >>> read_image("nowhere.png")
        Traceback (most recent call last):
        restore_env.errors.ImageError: nowhere.png: no such file
    """


class FormatError(ValueError):
    """A toolbox, policy or log on the disk is damaged or has another format; the message names it and says why.

    Example:
        >>> from restore_env import load_toolchain_log
        >>> load_toolchain_log("nowhere")
        Traceback (most recent call last):
        restore_env.errors.FormatError: nowhere: no toolchain log; a folder with toolchains.json is needed
    """


class DiskFullError(OSError):
    """A file could not be written because its disk is full; the message names both."""


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that there is not enough memory; PyTorch raises a `RuntimeError` then.

    Example:
        >>> is_out_of_memory(MemoryError()), is_out_of_memory(RuntimeError("shapes differ"))
        (True, False)
    """
    words = ("DefaultCPUAllocator", "out of memory", "Storage size calculation overflowed")
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(word in str(error) for word in words)
    )


class ToolError(RuntimeError):
    """A tool failed: it raised an error, changed the image's shape, or returned NaN, infinity or huge values.

    Example:
        >>> import torch
        >>> from restore_env import Tool
        >>> Tool("bad", lambda images: images / 0)(torch.zeros(1, 3, 8, 8))
        Traceback (most recent call last):
        restore_env.errors.ToolError: tool 'bad' returned NaN or infinity
    """

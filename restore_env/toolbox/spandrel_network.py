"""Networks of the library spandrel, which knows about 40 architectures and finds that of a file by its weights.

Spandrel is optional, and imported when the first of its networks is opened.
"""

import os
from contextlib import nullcontext
from hashlib import file_digest
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from restore_env.utils.checks import one_line
from restore_env.utils.files import check_regular

SUFFIXES: Final = (".safetensors", ".pth", ".ckpt")
"""Suffixes of the files that are accepted. Spandrel reads them without running code that they may hold."""

OVERLAP: Final = 32
"""Pixels by which the tiles of a large image overlap. Nobody knows how far each network sees."""


class SpandrelNetwork(nn.Module):
    """A network of spandrel that takes and returns images of the same size; it cannot be trained.

    Args:
        descriptor: a `spandrel.ImageModelDescriptor`. It is not copied.
        file: the file of weights that it was made of, None if unknown.
        digest: SHA-256 of the file in hexadecimal.

    Attributes:
        name: name of the file without its suffix, or of the architecture.
        trainable: False: no gradient passes it.

    Raises:
        ValueError: if it changes the size of images, or does not have three channels.
    """

    trainable = False

    def __init__(self, descriptor: Any, file: Path | None = None, digest: str = "") -> None:
        super().__init__()
        self.descriptor, self.file, self.digest = descriptor, file and file.absolute(), digest
        self.name: str = file.stem if file else descriptor.architecture.name
        who, channels = file or self.name, (descriptor.input_channels, descriptor.output_channels)
        if descriptor.scale != 1:
            raise ValueError(f"{who}: makes images {descriptor.scale} times as large; a tool keeps their size")
        if channels != (3, 3):
            raise ValueError(f"{who}: takes {channels[0]} channels and returns {channels[1]}; a tool has 3 and 3")
        self.model: nn.Module = descriptor.model.requires_grad_(False)

    @property
    def radius(self) -> int | None:
        """Overlap of the tiles of a large image in pixels, None if spandrel advises against tiles."""
        return OVERLAP if self.descriptor.tiling.name == "SUPPORTED" else None

    @property
    def multiple(self) -> int:
        """Number that divides the sides of the images that the network gets."""
        return int(self.descriptor.size_requirements.multiple_of)

    def forward(self, images: Tensor) -> Tensor:
        """Apply the network to images, float (n, 3, h, w); they are padded to the sizes that it takes, and cut again.

        It gets one image at once, as spandrel promises no more: some networks refuse several.
        """
        can_round = self.descriptor.supports_bfloat16
        with nullcontext() if can_round else torch.autocast(images.device.type, enabled=False):
            seen = images.clamp(0, 1).to(self.descriptor.dtype).split(1)
            results = [self.descriptor(image) for image in seen]
        return torch.cat(results).to(images.dtype)


def open_spandrel(model: Any, digest: Any = None) -> SpandrelNetwork:
    """Open a file with spandrel, or take what spandrel made of one.

    Args:
        model: path of the file, or a `spandrel.ImageModelDescriptor`.
        digest: SHA-256 that the file must have in hexadecimal; None accepts any.

    Raises:
        TypeError: if `model` is neither.
        ValueError: if spandrel is not installed, the file is missing, damaged or another one, spandrel cannot load it,
            or no tool can be made of the network.
    """
    if not isinstance(model, str | os.PathLike):
        return SpandrelNetwork(_check_descriptor(model, model))
    file = Path(model)
    if file.suffix.lower() not in SUFFIXES:
        raise ValueError(f"{file}: the name of a file for spandrel ends with {', '.join(SUFFIXES)}")
    found = digest_of_file(file)
    if digest not in (None, found):
        raise ValueError(f"{file}: damaged or another file, its SHA-256 is {found} instead of {digest}")
    spandrel = _import_spandrel(file)
    try:
        descriptor = spandrel.ModelLoader().load_from_file(file)
    except Exception as error:  # each architecture fails in its own way
        reason = f"{type(error).__name__}: {one_line(error)}".removesuffix(": ")  # some say nothing
        raise ValueError(f"{file}: spandrel cannot load it ({reason})") from error
    return SpandrelNetwork(_check_descriptor(descriptor, file), file, found)


def digest_of_file(file: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal, or raise a `ValueError` if it cannot be read."""
    try:
        check_regular(file)
        with file.open("rb") as opened:
            return file_digest(opened, "sha256").hexdigest()
    except OSError as error:
        raise ValueError(f"{file}: cannot be read ({error.strerror or error})") from error


def _import_spandrel(who: Any) -> Any:
    """Return the library, or raise a `ValueError` if it cannot be imported."""
    try:
        import spandrel  # noqa: PLC0415 - optional, and slow to import
    except (ImportError, RuntimeError) as error:  # torchvision raises a RuntimeError if it does not fit torch
        raise ValueError(f"{who}: needs spandrel, which cannot be imported ({one_line(error)})") from error
    return spandrel


def _check_descriptor(descriptor: Any, who: Any) -> Any:
    """Return what spandrel made of a file, or raise an error if it is no network for images alone."""
    spandrel = _import_spandrel(who)
    if isinstance(descriptor, spandrel.MaskedImageModelDescriptor):
        raise ValueError(f"{who}: fills in what a mask hides; a tool gets no mask")
    if not isinstance(descriptor, spandrel.ImageModelDescriptor):
        raise TypeError(f"{descriptor!r} is neither a path nor a network of spandrel; Tool.from_module takes networks")
    return descriptor

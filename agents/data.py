"""What agents train and are measured on."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from restore_env.constants import PATCH_SIZE
from restore_env.data.distortions import DistortionModel, OneOf, as_distortion
from restore_env.data.pairs import Pairs
from restore_env.data.photos import FolderPhotos
from restore_env.data.sampling import PatchSampler
from restore_env.data.sources import PairSource, as_source, draw_pairs
from restore_env.training.fingerprints import digest_of_pairs, digest_of_photos
from restore_env.training.split import kept_aside
from tools.specs import load_spec

VALIDATION_SEED: Final = 2**31


def sources(photos: str, validation: str, severity: str, singles: float) -> tuple[PairSource, PairSource]:
    """Where episodes begin, and where the pairs to measure on come from.

    Args:
        photos: a folder of photos, a pairs file, or "embedded".
        validation: another one; if it is empty, every tenth of the photos is kept aside.
        severity: of both.
        singles: share of training patches with a single distortion.

    Raises:
        ValueError: if no photo can be kept aside.
    """
    plain = as_distortion(severity)
    source = as_source(photos, mixture(plain, singles), PATCH_SIZE, "photos")
    if singles and isinstance(source, Pairs):
        raise ValueError(f"singles={singles}: the pairs in {photos!r} are distorted already; give singles=0")
    if isinstance(source, PatchSampler):
        source = replace(source, colours=True)
    if validation:
        return source, as_source(validation, plain, PATCH_SIZE, "validation")
    if not isinstance(source, PatchSampler):
        raise ValueError(f"photos={photos!r} are fixed pairs; --validation with others is needed")
    files = source.photos.paths if isinstance(source.photos, FolderPhotos) else None
    names = [str(number) for number in range(len(source.photos))] if files is None else [file.stem for file in files]
    rest, aside = kept_aside(names)
    if not rest:
        raise ValueError(f"photos={photos!r} has one photo; two are needed, or --validation with others")
    training = replace(source, photos=_subset(source.photos, rest))
    return training, PatchSampler(_subset(source.photos, aside), plain)


def digest_of_source(source: PairSource) -> str:
    """Letters that stand for a source's pairs or photos; "" if it has neither in files."""
    if isinstance(source, Pairs):
        return digest_of_pairs(source)
    photos = getattr(source, "photos", None)
    return digest_of_photos(photos) if isinstance(photos, FolderPhotos) else ""


def draw_validation(source: PairSource, n: int) -> Pairs:
    """The pairs to measure on: of patches that are there already the first n, else n that are drawn."""
    if isinstance(source, Pairs) and all(image.shape[:2] == (PATCH_SIZE, PATCH_SIZE) for image in source.distorted):
        return source.first(n)
    return draw_pairs(source, n, VALIDATION_SEED)


def mixture(distortion: DistortionModel, singles: float) -> DistortionModel:
    """A distortion, but for a share of the patches one of those that the twelve tools are made for, alone."""
    if not singles:
        return distortion
    alone = OneOf([tool.distortion(robust=False) for tool in load_spec("rl-restore-12").tools])
    return OneOf([distortion, alone], [1 - singles, singles]) if singles < 1 else alone


def _subset(photos: Sequence[Any], numbers: list[int]) -> Sequence[Any]:
    return photos.subset(numbers) if isinstance(photos, FolderPhotos) else [photos[number] for number in numbers]

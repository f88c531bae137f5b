"""Fit the model of natural images, from which NIQE measures the distance, to clean photos.

    python -m tools.fit_niqe --photos photos/ --output niqe/ --licence "CID22 (CC BY-SA 4.0)"

Blocks of 96x96 pixels are taken from each photo and from its half-size copy. Those that are less sharp than three
quarters of the sharpest one are left out, as Mittal et al. (2013) do.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from restore_env.data.photos import FolderPhotos
from restore_env.restoration.niqe import (
    BLOCK,
    FEATURES,
    MODEL,
    NaturalImages,
    block_features,
    block_sharpness,
    fit_natural_images,
    niqe,
    save_natural_images,
)
from restore_env.training.model_card import made_with, write_model_card
from restore_env.training.program import check_paths, run_program
from restore_env.training.split import split_photos
from restore_env.utils.checks import Options, Text
from restore_env.utils.files import make_folders
from restore_env.utils.progress import progress_bar
from restore_env.utils.tensors import images_to_tensor

SHARPNESS: Final = 0.75
"""Blocks less sharp than this share of the photo's sharpest one are left out."""


@dataclass(kw_only=True)
class Args(Options):
    """Fit the model of natural images to clean photos.

    Raises:
        ValueError: if an option is outside its range.
    """

    photos: Path
    """Folder of clean photos; every tenth is held out to measure on."""
    output: Path
    """Folder to write."""
    licence: Text = "not stated"
    """Source and licence of the photos, for the model card."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The photos that the model is fitted to, and those that are held out."""

    args: Args
    photos: FolderPhotos
    held_out: FolderPhotos


def main(args: Args) -> NaturalImages:
    """Fit, write the folder with its model card, and return the model.

    Raises:
        ValueError: if there is no photo to fit to.
    """
    return run(plan(args))


def plan(args: Args) -> Plan:
    """Open the photos."""
    check_paths({"--photos": args.photos}, folders={"--output": args.output})
    photos, held_out = split_photos(FolderPhotos(args.photos), f"photos={str(args.photos)!r}")
    return Plan(args=args, photos=photos, held_out=held_out)


def run(plan: Plan) -> NaturalImages:
    """Fit and write, as `main` does."""
    features = torch.cat([sharp_features(image) for image in _images(plan.photos)] or [torch.empty(0, FEATURES)])
    if len(features) <= FEATURES:
        photos = str(plan.args.photos)
        raise ValueError(f"photos={photos!r} hold {len(features)} sharp blocks; over {FEATURES} are needed")
    model = fit_natural_images(features)
    values = torch.cat([niqe(image, model) for image in _images(plan.held_out)] or [torch.empty(0)])
    make_folders(plan.args.output)
    save_natural_images(plan.args.output / MODEL.name, model)
    record = {
        "blocks": len(features),
        "photos": len(plan.photos),
        "licence": plan.args.licence,
        "held_out": {"images": len(values), "mean": round(float(values.mean()), 3)},
        **made_with("cpu"),
    }
    write_model_card(
        plan.args.output,
        record,
        [
            "# What natural images are like",
            f"Mean and covariance of the features of NIQE, on {len(features):,} sharp blocks of {BLOCK}x{BLOCK} pixels "
            f"from {len(plan.photos)} clean photos, fitted with `python -m tools.fit_niqe`. On {len(values)} held-out "
            f"images the mean NIQE is {record['held_out']['mean']:.2f}.",
            f"Photos: {plan.args.licence}.",
        ],
    )
    return model


def sharp_features(image: Tensor) -> Tensor:
    """Return the features of the sharp blocks of an image.

    Args:
        image: float32 (1, 3, h, w), at least 96 pixels high and wide.

    Returns:
        float64 (k, 36).
    """
    sharpness = block_sharpness(image)[0]
    return block_features(image)[0, sharpness > SHARPNESS * sharpness.max()]


def _images(photos: FolderPhotos) -> Iterator[Tensor]:
    """Yield each photo and its half-size copy, float32 (1, 3, h, w), where they are large enough."""
    with progress_bar("photos") as report:
        for number in range(len(photos)):
            photo = images_to_tensor([photos[number]])
            half = interpolate(photo, scale_factor=0.5, mode="area")
            yield from (image for image in (photo, half) if min(image.shape[2:]) >= BLOCK)
            report((number + 1) / len(photos))


if __name__ == "__main__":
    run_program(main, Args)

"""The data that an agent trains and is measured on."""

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Final, Literal, NamedTuple

from restore_env.constants import DEFAULT_TOOLBOX, MAX_STEPS, PATCH_SIZE
from restore_env.data.distortions import DistortionModel, OneOf, as_distortion, single_distortions
from restore_env.data.pairs import Pairs
from restore_env.data.photos import FolderPhotos
from restore_env.data.sampling import PatchSampler
from restore_env.data.sources import PairSource, as_source, draw_pairs
from restore_env.restoration.metrics import SMALLEST_SIDE
from restore_env.restoration.rewards import as_reward, check_size
from restore_env.training.fingerprints import digest_of_pairs, digest_of_photos
from restore_env.training.split import VALIDATION_SEED, split_photos
from restore_env.utils.checks import Checked, Count, Device, Natural, Options, Steps, Text, check_whole
from restore_env.utils.files import Paths

LARGEST_PATCH: Final = 1024
"""Largest patch in pixels that a program can be asked for; the memory for 64 of them is 0.8 GB."""

PatchSize = Annotated[int, Checked(partial(check_whole, least=SMALLEST_SIDE, most=LARGEST_PATCH))]
"""Height and width of patches in pixels; SSIM, with which policies are measured, needs at least 11."""


@dataclass(kw_only=True)
class AgentArgs(Options):
    """The options of every program that trains an agent."""

    photos: Text
    """Folder of clean photos to train on, a pairs file (.npz), or "embedded"."""
    output: Path
    """Policy folder or file to write."""
    validation: str = ""
    """Other photos or a pairs file for validation. By default every tenth training photo is held out."""
    toolbox: Text = DEFAULT_TOOLBOX
    """Name or folder of a toolbox."""
    trust: bool = False
    """Import the network classes that the toolbox folder names. This runs their code: trust only your own folders."""
    severity: str = "moderate"
    """Distortion of clean photos: the name of a severity, such as moderate or web, or several joined by +."""
    patch_size: PatchSize = PATCH_SIZE
    """Height and width in pixels of the patches that the agent sees, 11 to 1024."""
    max_steps: Steps = MAX_STEPS
    """Largest number of tools in a toolchain."""
    reward: Literal["step_psnr", "step_ssim", "final_psnr", "final_mse", "step_niqe"] = "step_psnr"
    """Reward of a step. step_niqe needs patches of at least 96 pixels."""
    patches: Count = 256
    """Number of validation patches."""
    oracle: Natural = 0
    """Validation patches on which the oracle also runs, once, to report the share; 12 tools have 1,885 toolchains."""
    device: Device = "cpu"
    """Device of the agent and the tools: cpu or cuda."""
    seed: Natural = 0
    """Seed of the initial weights and all random numbers."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_size(as_reward(self.reward), self.patch_size)

    @property
    def inputs(self) -> dict[str, Paths]:
        """What the training reads, by the names of the options."""
        return {"--photos": self.photos, "--validation": self.validation, "--toolbox": self.toolbox}


class AgentData(NamedTuple):
    """The data of an agent's training.

    Attributes:
        source: where training episodes begin.
        validation: pairs to measure on.
        identity: the same text means the same training photos or pairs.
    """

    source: PairSource
    validation: Pairs
    identity: str


def open_data(
    photos: str,
    validation: str,
    severity: str,
    patches: int,
    single_distortion_fraction: float = 0.0,
    patch_size: int = PATCH_SIZE,
) -> AgentData:
    """Open the data of a training.

    Args:
        photos: a folder of clean photos, a pairs file, or "embedded".
        validation: other photos or pairs to measure on; "" holds out every tenth of the training photos.
        severity: distortion of clean photos.
        patches: number of pairs to measure on.
        single_distortion_fraction: fraction of the training patches that have a single distortion.
        patch_size: height and width of the patches in pixels.

    Raises:
        ValueError: if no photo can be held out, or pairs cannot be distorted further.

    Example:
        >>> data = open_data("embedded", "", "moderate", patches=2)
        >>> len(data.source.photos), len(data.validation)
        (4, 2)
    """
    plain = as_distortion(severity)
    source = as_source(photos, with_single_distortions(plain, single_distortion_fraction), patch_size, "photos")
    if single_distortion_fraction and isinstance(source, Pairs):
        raise ValueError(
            f"single_distortion_fraction={single_distortion_fraction}: the pairs in {photos!r} are distorted already; "
            "give single_distortion_fraction=0"
        )
    if isinstance(source, PatchSampler):
        source = source.for_training()
    if validation:
        held_out = as_source(validation, plain, patch_size, "validation")
    elif isinstance(source, PatchSampler):
        training, others = split_photos(source.photos, f"photos={photos!r}")
        source, held_out = replace(source, photos=training), PatchSampler(others, plain, patch_size)
    else:
        raise ValueError(f"photos={photos!r} are fixed pairs; --validation with others is needed")
    return AgentData(source, draw_validation(held_out, patches), digest_of_source(source) or photos)


def draw_validation(source: PairSource, n: int) -> Pairs:
    """Return the pairs to measure on: the first n if the source holds patches, else n patches that are drawn."""
    if isinstance(source, Pairs) and all(set(image.shape[:2]) == {source.patch_size} for image in source.distorted):
        return source.first(n)
    return draw_pairs(source, n, VALIDATION_SEED)


def digest_of_source(source: PairSource) -> str:
    """Return the digest of a source's pairs or photos; "" if it has neither in files."""
    if isinstance(source, Pairs):
        return digest_of_pairs(source)
    photos = getattr(source, "photos", None)
    return digest_of_photos(photos) if isinstance(photos, FolderPhotos) else ""


def with_single_distortions(distortion: DistortionModel, fraction: float) -> DistortionModel:
    """Return a distortion that is replaced, in a fraction of the patches, by one of the single distortions."""
    if not fraction:
        return distortion
    single = single_distortions()
    return OneOf([distortion, single], [1 - fraction, fraction]) if fraction < 1 else single

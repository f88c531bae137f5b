"""Mixtures of distortions: those of the paper by severity, and others by name."""

from collections.abc import Callable, Mapping
from itertools import combinations, pairwise, permutations, product
from typing import Final, get_args

import numpy as np

from restore_env.constants import (
    BLUR_EDGES,
    EVERYDAY,
    SEVERITIES,
    TOOL_BLUR_EDGES,
    TOOL_JPEG_EDGES,
    TOOL_NOISE_EDGES,
    Severity,
)
from restore_env.data.distortions.base import (
    AnyOrder,
    Distortion,
    DistortionModel,
    MixedDistortion,
    OneOf,
    Parameters,
)
from restore_env.data.distortions.blur import DefocusBlur, GaussianBlur, MotionBlur
from restore_env.data.distortions.compression import JPEGCompression, Resampling, WebPCompression
from restore_env.data.distortions.noise import GaussianNoise, PoissonNoise, SaltAndPepperNoise
from restore_env.utils.checks import check_choice
from restore_env.utils.tensors import ByteImage

_CAMERA: Final = (GaussianNoise(1, 5), JPEGCompression(75, 95))
"""What a camera adds to any photo: slight noise and JPEG."""

_KINDS: Final[tuple[type[Distortion], ...]] = (
    *(GaussianBlur, MotionBlur, DefocusBlur),
    *(GaussianNoise, PoissonNoise, SaltAndPepperNoise),
    *(JPEGCompression, WebPCompression, Resampling),
)
"""All kinds of damage."""


class SeverityDistortion:
    """Apply blur, noise and JPEG compression, in that order, with levels that add up to a severity.

    Three levels are drawn uniformly among the triples whose sum minus two lies in the severity's range
    (`restore_env.constants.SEVERITIES`). Inside a level the parameter is uniform.

    Args:
        severity: "mild", "moderate" (what the paper trains on), "severe" or "any" (every triple).

    Raises:
        ValueError: if the severity is unknown.

    Example:
        >>> distortion = SeverityDistortion("moderate")
        >>> distorted, parameters = distortion(np.zeros((8, 8, 3), np.uint8), np.random.default_rng(0))
        >>> list(parameters)
        ['blur_sigma', 'noise_sigma', 'jpeg_quality']
    """

    def __init__(self, severity: str) -> None:
        check_choice("severity", severity, SEVERITIES)
        self.severity = severity
        first, last = SEVERITIES[severity]
        levels = range(1, len(BLUR_EDGES))
        self.triples = [triple for triple in product(levels, repeat=3) if first <= sum(triple) - 2 <= last]

    def __repr__(self) -> str:
        return f"SeverityDistortion({self.severity!r})"

    def __call__(self, image: ByteImage, rng: np.random.Generator) -> tuple[ByteImage, Parameters]:
        """Distort a uint8 (h, w, 3) image with the three levels that are drawn."""
        blur, noise, jpeg = self.triples[rng.integers(len(self.triples))]
        chain = [GaussianBlur.level(blur), GaussianNoise.level(noise), JPEGCompression.level(jpeg)]
        return MixedDistortion(chain)(image, rng)


def everyday() -> OneOf:
    """Return a mixture of distortions that resembles photos with unknown distortions.

    One third of the images gets the paper's mixture at any severity, one third a single distortion. One sixth gets two
    or three distortions in another order. One sixth is nearly clean: its noise leaves about 48 to 50 dB.

    Example:
        >>> distorted, parameters = everyday()(np.zeros((8, 8, 3), np.uint8), np.random.default_rng(0))
        >>> list(parameters)
        ['blur_sigma']
    """
    parts = (GaussianBlur(), GaussianNoise(), JPEGCompression())
    in_order = {*combinations(parts, 2), parts}
    chains = (chain for length in (2, 3) for chain in permutations(parts, length) if chain not in in_order)
    orders = [MixedDistortion(chain) for chain in chains]
    singles = [MixedDistortion([part]) for part in parts]
    clean = MixedDistortion([GaussianNoise(0.75, 1.0)])
    return OneOf([SeverityDistortion("any"), OneOf(singles), OneOf(orders), clean], weights=(2, 2, 1, 1))


def light() -> OneOf:
    """Return the light damage that most photos of cameras and the web have: noise, JPEG, blur, or all three.

    Example:
        >>> light().distortions[0]
        GaussianNoise(low=1, high=12.5)
    """
    blur, jpeg = GaussianBlur(0.3, 1.5), JPEGCompression(75, 95)
    return OneOf([GaussianNoise(1, 12.5), jpeg, blur, MixedDistortion([blur, GaussianNoise(1, 8), jpeg])])


def single_distortions() -> OneOf:
    """Return the distortions that the paper's twelve tools are made for (Table 1), each alone and equally often.

    Example:
        >>> single_distortions().distortions[8]
        JPEGCompression(low=60.0, high=100.0)
    """
    kinds: tuple[tuple[type[Distortion], tuple[float, ...]], ...] = (
        (GaussianBlur, TOOL_BLUR_EDGES),
        (GaussianNoise, TOOL_NOISE_EDGES),
        (JPEGCompression, TOOL_JPEG_EDGES),
    )
    return OneOf([kind(*sorted(interval)) for kind, edges in kinds for interval in pairwise(edges)])


def motion() -> MixedDistortion:
    """Return the damage of a moving camera or subject: a line of 3 to 15 pixels, then slight noise and JPEG.

    Example:
        >>> motion().distortions[0]
        MotionBlur(low=3, high=15, angles=(0.0, 180.0))
    """
    return MixedDistortion([MotionBlur(3, 15), *_CAMERA])


def defocus() -> MixedDistortion:
    """Return the damage of a lens out of focus: a disk with a radius of 1 to 6 pixels, then slight noise and JPEG.

    Example:
        >>> defocus().distortions[0]
        DefocusBlur(low=1, high=6)
    """
    return MixedDistortion([DefocusBlur(1, 6), *_CAMERA])


def low_light() -> MixedDistortion:
    """Return the damage of a photo taken in little light: few photons, the sensor's own noise, then JPEG.

    Example:
        >>> low_light().distortions[0]
        PoissonNoise(low=15, high=50)
    """
    return MixedDistortion([PoissonNoise(15, 50), GaussianNoise(2, 10), JPEGCompression(60, 95)])


def salt_and_pepper() -> SaltAndPepperNoise:
    """Return the damage of dead sensor cells and faulty transmissions: 1% to 15% of the pixels, nothing else.

    Example:
        >>> salt_and_pepper()
        SaltAndPepperNoise(low=0.01, high=0.15)
    """
    return SaltAndPepperNoise(0.01, 0.15)


def web() -> OneOf:
    """Return the damage of photos that web sites have made smaller, compressed, and passed on.

    A photo is shrunk and enlarged, then compressed as JPEG or WebP. A third of them were JPEG files before.

    Example:
        >>> [len(chain.distortions) for chain in web().distortions]
        [2, 2, 3]
    """
    resampling, jpeg, webp = Resampling(1.25, 3), JPEGCompression(30, 80), WebPCompression(30, 80)
    chains = [resampling, jpeg], [resampling, webp], [JPEGCompression(60, 95), resampling, webp]
    return OneOf([MixedDistortion(chain) for chain in chains])


def wild() -> AnyOrder:
    """Return one to three of all nine kinds of damage, in any order, each on one of its five mildest levels.

    Example:
        >>> distorted, parameters = wild()(np.zeros((8, 8, 3), np.uint8), np.random.default_rng(1))
        >>> list(parameters)
        ['webp_quality', 'blur_sigma']
    """
    return AnyOrder([kind(*sorted((kind.edges[0], kind.edges[5]))) for kind in _KINDS], most=3)


_MIXTURES: Final[Mapping[str, Callable[[], DistortionModel]]] = {
    EVERYDAY: everyday,
    "light": light,
    "motion": motion,
    "defocus": defocus,
    "low-light": low_light,
    "salt-and-pepper": salt_and_pepper,
    "web": web,
    "wild": wild,
}
"""The mixtures that are not those of `SEVERITIES`, by name."""


def as_distortion(severity: str | DistortionModel) -> DistortionModel:
    """Return the distortion that an environment's `severity` argument names.

    Args:
        severity: one of the names in `restore_env.constants.Severity`, such as "moderate" or "low-light"; several of
            them joined by "+", each as often as it shall weigh, such as "everyday+everyday+light"; or a distortion,
            which is returned as it is.

    Raises:
        ValueError: if the name is unknown.
        TypeError: if it is neither a name nor a distortion.

    Example:
        >>> as_distortion("severe")
        SeverityDistortion('severe')
        >>> as_distortion(GaussianNoise(10, 20))
        GaussianNoise(low=10, high=20)
        >>> as_distortion("mild+light").weights
        (1.0, 1.0)
    """
    if isinstance(severity, str):
        parts = [_named(name) for name in severity.split("+")]
        return OneOf(parts) if len(parts) > 1 else parts[0]
    if callable(severity) and not isinstance(severity, type):
        return severity
    names = ", ".join(map(repr, get_args(Severity)))
    raise TypeError(f"severity={severity!r} is neither one of {names} nor a distortion")


def _named(severity: str) -> DistortionModel:
    """Return the distortion of one name."""
    check_choice("severity", severity, Severity)
    return SeverityDistortion(severity) if severity in SEVERITIES else _MIXTURES[severity]()

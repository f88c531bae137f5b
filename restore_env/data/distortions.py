"""Gaussian blur, Gaussian noise and JPEG compression, alone, chained, or mixed by severity.

Follows the data generator of the authors' released program (paper, section 4.1). A distortion works on one whole
image, float32 (h, w, 3) RGB in [0, 1], with every random number from the caller's `numpy.random.Generator`.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, permutations, product
from typing import ClassVar, Protocol

import cv2
import numpy as np

from restore_env.constants import BLUR_EDGES, BLUR_KERNEL_SIZE, EVERYDAY, JPEG_EDGES, NOISE_EDGES, SEVERITIES
from restore_env.utils.checks import check_choice
from restore_env.utils.tensors import ByteImage, FloatImage, to_bytes, to_float

Parameters = dict[str, float]


class DistortionModel(Protocol):
    """Anything that distorts an image and says with which parameters."""

    def __call__(self, image: ByteImage, rng: np.random.Generator) -> tuple[ByteImage, Parameters]:
        """Distort a uint8 (h, w, 3) RGB image; return a new one of the same shape, and the parameters drawn."""


@dataclass(frozen=True)
class Distortion(ABC):
    """One kind of distortion, its strength drawn uniformly between `low` and `high`.

    Args:
        low: smallest value of the parameter, by default that of the mildest level.
        high: largest value, by default that of the strongest level.

    Raises:
        ValueError: if `low` and `high` are not an interval inside the parameter's range.
    """

    low: float
    high: float

    parameter: ClassVar[str]
    """Name of the parameter in `info["distortion"]`."""
    edges: ClassVar[tuple[float, ...]]
    """Edges of the ten levels, mildest first."""
    bounds: ClassVar[tuple[float, float]]
    """Smallest and largest value that makes sense."""

    def __post_init__(self) -> None:
        smallest, largest = self.bounds
        if not smallest <= self.low <= self.high <= largest:
            raise ValueError(
                f"{type(self).__name__}: {self.parameter} from low={self.low} to high={self.high} is not an interval "
                f"within [{smallest:g}, {largest:g}]"
            )

    @classmethod
    def level(cls, level: int) -> "Distortion":
        """The distortion limited to one of the ten levels, 1 the mildest."""
        if level not in range(1, len(cls.edges)):
            raise ValueError(f"level={level!r} is not one of 1 to {len(cls.edges) - 1}")
        low, high = sorted(cls.edges[level - 1 : level + 1])
        return cls(low, high)

    def draw(self, rng: np.random.Generator) -> float:
        """Draw the parameter."""
        return float(rng.uniform(self.low, self.high))

    def __call__(self, image: ByteImage, rng: np.random.Generator) -> tuple[ByteImage, Parameters]:
        """Distort a uint8 (h, w, 3) image by this distortion alone."""
        return MixedDistortion([self])(image, rng)

    @abstractmethod
    def apply(self, image: FloatImage, value: float, rng: np.random.Generator) -> FloatImage:
        """Return the distorted image, float32 (h, w, 3); `image` stays as it is."""


@dataclass(frozen=True)
class GaussianBlur(Distortion):
    """Blur with a 21x21 Gaussian kernel; the parameter is its standard deviation in pixels; edges are replicated."""

    low: float = min(BLUR_EDGES)
    high: float = max(BLUR_EDGES)
    parameter = "blur_sigma"
    edges = BLUR_EDGES
    bounds = (0.0, 50.0)

    def apply(self, image: FloatImage, value: float, rng: np.random.Generator) -> FloatImage:  # noqa: D102
        if value < 0.05:  # the kernel is a single one, and OpenCV would take 0 for "choose by yourself"
            return image.copy()
        size = (BLUR_KERNEL_SIZE, BLUR_KERNEL_SIZE)
        blurred = cv2.GaussianBlur(image, size, value, sigmaY=value, borderType=cv2.BORDER_REPLICATE)
        return np.asarray(blurred, dtype=np.float32)


@dataclass(frozen=True)
class GaussianNoise(Distortion):
    """Add white Gaussian noise and clip; the parameter is its standard deviation in levels of 0-255."""

    low: float = min(NOISE_EDGES)
    high: float = max(NOISE_EDGES)
    parameter = "noise_sigma"
    edges = NOISE_EDGES
    bounds = (0.0, 255.0)

    def apply(self, image: FloatImage, value: float, rng: np.random.Generator) -> FloatImage:  # noqa: D102
        noise = rng.standard_normal(image.shape, dtype=np.float32)
        return np.clip(image + noise * np.float32(value / 255), 0, 1)


@dataclass(frozen=True)
class JPEGCompression(Distortion):
    """Write as JPEG (libjpeg, chroma 4:2:0) and read again; the parameter is the quality, rounded to an integer."""

    low: float = min(JPEG_EDGES)
    high: float = max(JPEG_EDGES)
    parameter = "jpeg_quality"
    edges = JPEG_EDGES
    bounds = (1.0, 100.0)

    def draw(self, rng: np.random.Generator) -> float:
        """Draw the quality, an integer."""
        return float(round(super().draw(rng)))

    def apply(self, image: FloatImage, value: float, rng: np.random.Generator) -> FloatImage:  # noqa: D102
        options = [cv2.IMWRITE_JPEG_QUALITY, round(value)]
        options += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420]
        _, data = cv2.imencode(".jpg", to_bytes(image)[..., ::-1], options)
        decoded = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR))[..., ::-1]
        return to_float(decoded)


@dataclass(frozen=True)
class MixedDistortion:
    """Several distortions, one after the other, in any order, each any number of times.

    The result is rounded to 8 bits once, at the end; inside a chain only JPEG rounds.

    Args:
        distortions: the distortions in the order in which they happen.
    """

    distortions: tuple[Distortion, ...]

    def __init__(self, distortions: Sequence[Distortion]) -> None:
        wrong = [item for item in distortions if not isinstance(item, Distortion)]
        if wrong:
            raise TypeError(f"distortions: {wrong[0]!r} is not a Distortion such as GaussianBlur(0, 5)")
        object.__setattr__(self, "distortions", tuple(distortions))

    def __call__(self, image: ByteImage, rng: np.random.Generator) -> tuple[ByteImage, Parameters]:
        """Distort a uint8 (h, w, 3) image; the second `noise_sigma` of a chain is reported as `noise_sigma_2`."""
        result = to_float(image)
        parameters: Parameters = {}
        for distortion in self.distortions:
            value = distortion.draw(rng)
            result = distortion.apply(result, value, rng)
            parameters[_unused(distortion.parameter, parameters)] = value
        return to_bytes(result), parameters


class OneOf:
    """One of several distortions, drawn anew for each image.

    Args:
        distortions: what is drawn from.
        weights: how often each comes, relative to the others; by default all equally often.

    Raises:
        ValueError: if there are none, or the weights are not as many positive numbers.
    """

    def __init__(self, distortions: Sequence[DistortionModel], weights: Sequence[float] | None = None) -> None:
        self.distortions = tuple(distortions)
        self.weights = tuple(weights) if weights is not None else (1.0,) * len(self.distortions)
        if (
            not self.distortions
            or len(self.weights) != len(self.distortions)
            or not all(weight > 0 for weight in self.weights)
        ):
            raise ValueError(f"weights={weights!r} are not {len(self.distortions)} positive numbers")
        self._shares = np.divide(self.weights, sum(self.weights))

    def __repr__(self) -> str:
        return f"OneOf({list(self.distortions)!r}, weights={list(self.weights)!r})"

    def __call__(self, image: ByteImage, rng: np.random.Generator) -> tuple[ByteImage, Parameters]:
        """Distort a uint8 (h, w, 3) image."""
        return self.distortions[rng.choice(len(self.distortions), p=self._shares)](image, rng)


class SeverityDistortion:
    """Blur, noise and JPEG, in that order, whose levels together make one severity.

    A triple of levels is drawn uniformly among those whose sum minus two lies in the severity's range
    (`restore_env.constants.SEVERITIES`); inside a level the parameter is uniform.

    Args:
        severity: "mild", "moderate" (what the paper trains on), "severe" or "any" (every triple).
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
        """Distort a uint8 (h, w, 3) image."""
        blur, noise, jpeg = self.triples[rng.integers(len(self.triples))]
        chain = [GaussianBlur.level(blur), GaussianNoise.level(noise), JPEGCompression.level(jpeg)]
        return MixedDistortion(chain)(image, rng)


def everyday() -> OneOf:
    """What photos at large may have suffered, for agents that shall be used on them.

    A third each of the paper's mixture at every severity and of single distortions; a sixth each of two or three
    distortions in another order, and of photos that are as good as clean: noise that leaves about 48 to 50 dB.
    """
    parts = (GaussianBlur(), GaussianNoise(), JPEGCompression())
    in_order = {*combinations(parts, 2), parts}
    chains = (chain for length in (2, 3) for chain in permutations(parts, length) if chain not in in_order)
    orders = [MixedDistortion(chain) for chain in chains]
    singles = [MixedDistortion([part]) for part in parts]
    clean = MixedDistortion([GaussianNoise(0.75, 1.0)])
    return OneOf([SeverityDistortion("any"), OneOf(singles), OneOf(orders), clean], weights=(2, 2, 1, 1))


def as_distortion(severity: str | DistortionModel) -> DistortionModel:
    """Return the distortion that an environment's `severity` argument stands for."""
    names = (*SEVERITIES, EVERYDAY)
    if isinstance(severity, str):
        check_choice("severity", severity, names)
        return everyday() if severity == EVERYDAY else SeverityDistortion(severity)
    if callable(severity) and not isinstance(severity, type):
        return severity
    raise TypeError(f"severity={severity!r} is neither one of {', '.join(map(repr, names))} nor a distortion")


def _unused(name: str, taken: Parameters) -> str:
    number = sum(key == name or key.startswith(f"{name}_") for key in taken) + 1
    return name if number == 1 else f"{name}_{number}"

"""Gaussian blur, Gaussian noise and JPEG compression: alone, chained, or mixed by severity.

They follow the data generator of the authors' released program (paper, section 4.1). Every random number comes from
the caller's `numpy.random.Generator`.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise, permutations, product
from typing import ClassVar, Protocol, get_args

import cv2
import numpy as np

from restore_env.constants import (
    BLUR_EDGES,
    BLUR_KERNEL_SIZE,
    EVERYDAY,
    JPEG_EDGES,
    NOISE_EDGES,
    SEVERITIES,
    TOOL_BLUR_EDGES,
    TOOL_JPEG_EDGES,
    TOOL_NOISE_EDGES,
    Severity,
)
from restore_env.utils.checks import check_choice
from restore_env.utils.tensors import ByteImage, FloatImage, to_bytes, to_float

Parameters = dict[str, float]
"""The drawn parameters of a distortion, by name."""


class DistortionModel(Protocol):
    """Any callable that distorts an image and returns the parameters that it drew.

    Example:
        >>> def darken(image, rng):
        ...     factor = rng.uniform(0.5, 1)
        ...     return np.uint8(factor * image), {"factor": factor}
        >>> model: DistortionModel = darken
    """

    def __call__(self, image: ByteImage, rng: np.random.Generator) -> tuple[ByteImage, Parameters]:
        """Distort an image.

        Args:
            image: uint8 (h, w, 3) RGB; it stays as it is.
            rng: the source of all randomness.

        Returns:
            A new image of the same shape, and the parameters drawn.
        """


@dataclass(frozen=True)
class Distortion(ABC):
    """Base class of distortions whose one parameter is drawn uniformly between `low` and `high`.

    A distortion of your own sets `parameter`, `edges` and `bounds` and defines `apply`.

    Args:
        low: smallest value of the parameter. The default is the smallest of all levels.
        high: largest value of the parameter. The default is the largest of all levels.

    Raises:
        ValueError: if `low` and `high` are not an interval within `bounds`.

    Example:
        >>> class Fading(Distortion):
        ...     parameter, edges, bounds = "contrast", (1.0, 0.5), (0.0, 1.0)
        ...     def apply(self, image, value, rng):
        ...         return image * np.float32(value)
        >>> image = np.full((2, 2, 3), 200, np.uint8)
        >>> faded, parameters = Fading(0.5, 0.5)(image, np.random.default_rng(0))
        >>> int(faded[0, 0, 0]), parameters
        (100, {'contrast': 0.5})
    """

    low: float
    high: float

    parameter: ClassVar[str]
    """Name of the parameter in `Pair.distortion`."""
    edges: ClassVar[tuple[float, ...]]
    """Edges of the levels, mildest first."""
    bounds: ClassVar[tuple[float, float]]
    """Smallest and largest possible value of the parameter."""

    def __post_init__(self) -> None:
        smallest, largest = self.bounds
        if not smallest <= self.low <= self.high <= largest:
            raise ValueError(
                f"{type(self).__name__}: {self.parameter} from low={self.low} to high={self.high} is not an interval "
                f"within [{smallest:g}, {largest:g}]"
            )

    @classmethod
    def level(cls, level: int) -> "Distortion":
        """Return the distortion limited to one level.

        Args:
            level: 1 is the mildest, 10 the strongest.

        Raises:
            ValueError: if there is no such level.

        Example:
            >>> GaussianNoise.level(2)
            GaussianNoise(low=5.0, high=10.0)
        """
        if level not in range(1, len(cls.edges)):
            raise ValueError(f"level={level!r} is not one of 1 to {len(cls.edges) - 1}")
        low, high = sorted(cls.edges[level - 1 : level + 1])
        return cls(low, high)

    def draw(self, rng: np.random.Generator) -> float:
        """Draw the parameter."""
        return float(rng.uniform(self.low, self.high))

    def __call__(self, image: ByteImage, rng: np.random.Generator) -> tuple[ByteImage, Parameters]:
        """Distort a uint8 (h, w, 3) image with this distortion alone."""
        return MixedDistortion([self])(image, rng)

    @abstractmethod
    def apply(self, image: FloatImage, value: float, rng: np.random.Generator) -> FloatImage:
        """Distort an image with a given parameter.

        Args:
            image: float32 (h, w, 3) RGB in [0, 1]; it stays as it is.
            value: the parameter.
            rng: the source of all randomness.

        Returns:
            The distorted image, float32 (h, w, 3).
        """


@dataclass(frozen=True)
class GaussianBlur(Distortion):
    """Blur with a 21x21 Gaussian kernel; the image's edges are replicated.

    The parameter `blur_sigma` is the kernel's standard deviation in pixels.

    Args:
        low: smallest standard deviation, at least 0.
        high: largest standard deviation, at most 50.

    Example:
        >>> image = np.zeros((5, 5, 3), np.uint8)
        >>> image[2, 2] = 255
        >>> blurred, parameters = GaussianBlur(1, 1)(image, np.random.default_rng(0))
        >>> int(blurred[2, 2, 0]), parameters
        (41, {'blur_sigma': 1.0})
    """

    low: float = min(BLUR_EDGES)
    high: float = max(BLUR_EDGES)
    parameter = "blur_sigma"
    edges = BLUR_EDGES
    bounds = (0.0, 50.0)

    def apply(self, image: FloatImage, value: float, rng: np.random.Generator) -> FloatImage:
        """Blur an image; see `Distortion.apply`."""
        if value < 0.05:  # the kernel is a single 1, and OpenCV takes 0 for "choose by yourself"
            return image.copy()
        size = (BLUR_KERNEL_SIZE, BLUR_KERNEL_SIZE)
        blurred = cv2.GaussianBlur(image, size, value, sigmaY=value, borderType=cv2.BORDER_REPLICATE)
        return np.asarray(blurred, dtype=np.float32)


@dataclass(frozen=True)
class GaussianNoise(Distortion):
    """Add white Gaussian noise and clip to [0, 255].

    The parameter `noise_sigma` is the noise's standard deviation on the 0-255 scale.

    Args:
        low: smallest standard deviation, at least 0.
        high: largest standard deviation, at most 255.

    Example:
        >>> image = np.full((64, 64, 3), 128, np.uint8)
        >>> noisy, parameters = GaussianNoise(20, 20)(image, np.random.default_rng(0))
        >>> round(float(noisy.std())), parameters
        (20, {'noise_sigma': 20.0})
    """

    low: float = min(NOISE_EDGES)
    high: float = max(NOISE_EDGES)
    parameter = "noise_sigma"
    edges = NOISE_EDGES
    bounds = (0.0, 255.0)

    def apply(self, image: FloatImage, value: float, rng: np.random.Generator) -> FloatImage:
        """Add noise to an image; see `Distortion.apply`."""
        noise = rng.standard_normal(image.shape, dtype=np.float32)
        return np.clip(image + noise * np.float32(value / 255), 0, 1)


@dataclass(frozen=True)
class JPEGCompression(Distortion):
    """Write as JPEG and read again, with libjpeg and chroma 4:2:0.

    The parameter `jpeg_quality` is libjpeg's quality, an integer.

    Args:
        low: smallest quality, at least 1.
        high: largest quality, at most 100, which is the best.

    Example:
        >>> image = np.full((16, 16, 3), 128, np.uint8)
        >>> compressed, parameters = JPEGCompression(10, 10)(image, np.random.default_rng(0))
        >>> compressed.shape, parameters
        ((16, 16, 3), {'jpeg_quality': 10.0})
    """

    low: float = min(JPEG_EDGES)
    high: float = max(JPEG_EDGES)
    parameter = "jpeg_quality"
    edges = JPEG_EDGES
    bounds = (1.0, 100.0)

    def draw(self, rng: np.random.Generator) -> float:
        """Draw the quality, rounded to an integer."""
        return float(round(super().draw(rng)))

    def apply(self, image: FloatImage, value: float, rng: np.random.Generator) -> FloatImage:
        """Compress an image; see `Distortion.apply`."""
        options = [cv2.IMWRITE_JPEG_QUALITY, round(value)]
        options += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420]
        _, data = cv2.imencode(".jpg", to_bytes(image)[..., ::-1], options)
        decoded = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR))[..., ::-1]
        return to_float(decoded)


@dataclass(frozen=True)
class MixedDistortion:
    """Apply several distortions, one after the other.

    The result is rounded to 8 bits once, at the end. Inside the chain only JPEG compression rounds.

    Args:
        distortions: the distortions in the order in which they happen. A kind may come more than once.

    Raises:
        TypeError: if one of them is not a `Distortion`.

    Example:
        >>> distortion = MixedDistortion([GaussianNoise(5, 5), GaussianBlur(1, 1), GaussianNoise(9, 9)])
        >>> distorted, parameters = distortion(np.zeros((8, 8, 3), np.uint8), np.random.default_rng(0))
        >>> parameters
        {'noise_sigma': 5.0, 'blur_sigma': 1.0, 'noise_sigma_2': 9.0}
    """

    distortions: tuple[Distortion, ...]

    def __init__(self, distortions: Sequence[Distortion]) -> None:
        wrong = [item for item in distortions if not isinstance(item, Distortion)]
        if wrong:
            raise TypeError(f"distortions: {wrong[0]!r} is not a Distortion such as GaussianBlur(0, 5)")
        object.__setattr__(self, "distortions", tuple(distortions))

    def __call__(self, image: ByteImage, rng: np.random.Generator) -> tuple[ByteImage, Parameters]:
        """Distort a uint8 (h, w, 3) image; the second parameter of a name gets the ending `_2`."""
        result = to_float(image)
        parameters: Parameters = {}
        for distortion in self.distortions:
            value = distortion.draw(rng)
            result = distortion.apply(result, value, rng)
            parameters[_unused(distortion.parameter, parameters)] = value
        return to_bytes(result), parameters


class OneOf:
    """Apply one of several distortions, drawn anew for each image.

    Args:
        distortions: the distortions to draw from.
        weights: how often each is drawn, relative to the others. By default all are drawn equally often.

    Raises:
        ValueError: if there are no distortions, or not as many positive weights.

    Example:
        >>> distortion = OneOf([GaussianNoise(5, 5), GaussianBlur(1, 1)], weights=[3, 1])
        >>> rng, image = np.random.default_rng(0), np.zeros((8, 8, 3), np.uint8)
        >>> [distortion(image, rng)[1] for _ in range(2)]
        [{'noise_sigma': 5.0}, {'blur_sigma': 1.0}]
    """

    def __init__(self, distortions: Sequence[DistortionModel], weights: Sequence[float] | None = None) -> None:
        self.distortions = tuple(distortions)
        self.weights = tuple(weights) if weights is not None else (1.0,) * len(self.distortions)
        usable = len(self.weights) == len(self.distortions) and all(weight > 0 for weight in self.weights)
        if not (self.distortions and usable):
            raise ValueError(f"weights={weights!r} are not {len(self.distortions)} positive numbers")
        self._shares = np.divide(self.weights, sum(self.weights))

    def __repr__(self) -> str:
        return f"OneOf({list(self.distortions)!r}, weights={list(self.weights)!r})"

    def __call__(self, image: ByteImage, rng: np.random.Generator) -> tuple[ByteImage, Parameters]:
        """Distort a uint8 (h, w, 3) image with the distortion that is drawn."""
        return self.distortions[rng.choice(len(self.distortions), p=self._shares)](image, rng)


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


def as_distortion(severity: str | DistortionModel) -> DistortionModel:
    """Return the distortion that an environment's `severity` argument names.

    Args:
        severity: "mild", "moderate", "severe", "any", "everyday" or "light"; several of these joined by "+", each as
            often as it shall weigh, such as "everyday+everyday+light"; or a distortion, which is returned as it is.

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
    if severity in SEVERITIES:
        return SeverityDistortion(severity)
    return everyday() if severity == EVERYDAY else light()


def _unused(name: str, taken: Parameters) -> str:
    """Return `name`, numbered if the chain has drawn parameters of that name before."""
    number = sum(key == name or key.startswith(f"{name}_") for key in taken) + 1
    return name if number == 1 else f"{name}_{number}"

"""The contract of a distortion, and how distortions are chained and mixed.

Every random number comes from the caller's `numpy.random.Generator`.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np

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
            >>> from restore_env import GaussianNoise
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

    def distort(self, image: FloatImage, rng: np.random.Generator) -> tuple[FloatImage, Parameters]:
        """Draw the parameter and distort an image. A distortion that draws more than `parameter` overrides this.

        Args:
            image: float32 (h, w, 3) RGB in [0, 1]; it stays as it is.
            rng: the source of all randomness.

        Returns:
            The distorted image, float32 (h, w, 3), and all that was drawn.
        """
        value = self.draw(rng)
        return self.apply(image, value, rng), {self.parameter: value}


@dataclass(frozen=True)
class MixedDistortion:
    """Apply several distortions, one after the other.

    The result is rounded to 8 bits once, at the end. Inside the chain only JPEG and WebP compression round.

    Args:
        distortions: the distortions in the order in which they happen. A kind may come more than once.

    Raises:
        TypeError: if one of them is not a `Distortion`.

    Example:
        >>> from restore_env import GaussianBlur, GaussianNoise
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
            result, drawn = distortion.distort(result, rng)
            parameters |= {_unused(name, parameters): value for name, value in drawn.items()}
        return to_bytes(result), parameters


class OneOf:
    """Apply one of several distortions, drawn anew for each image.

    Args:
        distortions: the distortions to draw from.
        weights: how often each is drawn, relative to the others. By default all are drawn equally often.

    Raises:
        ValueError: if there are no distortions, or not as many positive weights.

    Example:
        >>> from restore_env import GaussianBlur, GaussianNoise
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


class AnyOrder:
    """Apply some of several distortions, drawn anew for each image, in an order that is drawn, too.

    How many are applied is drawn uniformly from 1 to `most`.

    Args:
        distortions: the distortions to draw from.
        most: how many are applied at most; None stands for all of them.

    Raises:
        TypeError: if one of them is not a `Distortion`.
        ValueError: if there are fewer than `most` distortions, or none.

    Example:
        >>> from restore_env import GaussianBlur, GaussianNoise, JPEGCompression
        >>> distortion = AnyOrder([GaussianNoise(5, 5), GaussianBlur(1, 1), JPEGCompression(50, 50)], most=2)
        >>> rng, image = np.random.default_rng(0), np.zeros((8, 8, 3), np.uint8)
        >>> [list(distortion(image, rng)[1]) for _ in range(2)]
        [['jpeg_quality', 'noise_sigma'], ['noise_sigma', 'jpeg_quality']]
    """

    def __init__(self, distortions: Sequence[Distortion], most: int | None = None) -> None:
        self.distortions = MixedDistortion(distortions).distortions
        self.most = len(self.distortions) if most is None else most
        if self.most not in range(1, len(self.distortions) + 1):
            raise ValueError(
                f"most={most!r} is not a number from 1 to that of the distortions, {len(self.distortions)}"
            )

    def __repr__(self) -> str:
        return f"AnyOrder({list(self.distortions)!r}, most={self.most})"

    def __call__(self, image: ByteImage, rng: np.random.Generator) -> tuple[ByteImage, Parameters]:
        """Distort a uint8 (h, w, 3) image with the distortions that are drawn."""
        n = rng.integers(1, self.most, endpoint=True)
        chosen = rng.permutation(len(self.distortions))[:n]
        return MixedDistortion([self.distortions[number] for number in chosen])(image, rng)


def _unused(name: str, taken: Parameters) -> str:
    """Return `name`, numbered if the chain has drawn parameters of that name before."""
    number = sum(key == name or key.startswith(f"{name}_") for key in taken) + 1
    return name if number == 1 else f"{name}_{number}"

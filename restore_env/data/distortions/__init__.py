"""Damage to photos: blur, noise, compression and resampling, alone, chained, or mixed by name.

Gaussian blur, Gaussian noise and JPEG follow the data generator of the authors' released program (paper, section 4.1).
Every random number comes from the caller's `numpy.random.Generator`.
"""

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
from restore_env.data.distortions.mixtures import (
    SeverityDistortion,
    as_distortion,
    defocus,
    everyday,
    light,
    low_light,
    motion,
    salt_and_pepper,
    single_distortions,
    web,
    wild,
)
from restore_env.data.distortions.noise import GaussianNoise, PoissonNoise, SaltAndPepperNoise

__all__ = [
    "AnyOrder",
    "DefocusBlur",
    "Distortion",
    "DistortionModel",
    "GaussianBlur",
    "GaussianNoise",
    "JPEGCompression",
    "MixedDistortion",
    "MotionBlur",
    "OneOf",
    "Parameters",
    "PoissonNoise",
    "Resampling",
    "SaltAndPepperNoise",
    "SeverityDistortion",
    "WebPCompression",
    "as_distortion",
    "defocus",
    "everyday",
    "light",
    "low_light",
    "motion",
    "salt_and_pepper",
    "single_distortions",
    "web",
    "wild",
]

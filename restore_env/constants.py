"""The constants of the task (Yu et al., CVPR 2018, and the authors' released program)."""

from typing import Final, Literal

ENV_ID: Final = "ImageRestore-v1"
DEFAULT_TOOLBOX: Final = "restore-12"

PAPER_ENV_ID: Final = "ImageRestore-v0"
"""The environment with the paper's toolbox."""

PAPER_TOOLBOX: Final = "rl-restore-12"
"""The toolbox of networks as the paper has them."""

DEFAULT_POLICY: Final = "drqn"
"""Default policy for evaluation; it was trained on moderate distortion, as in the paper."""

RESTORING_POLICY: Final = "drqn-any"
"""Default policy for photos with unknown distortions; it was trained on `EVERYDAY` and leaves good photos alone."""

PATCH_SIZE: Final = 63
"""Height and width in pixels of the patches that an agent sees (section 4.1)."""

MAX_STEPS: Final = 3
"""Largest number of tools in a toolchain, the paper's T_max (section 4.1)."""

MOST_STEPS: Final = 1000
"""Largest number of tools in a toolchain that a program can be asked for; arrays and files grow with it."""

LARGEST: Final = 2**31 - 1
"""Largest number that an option of a program may have: it fits in 32 bits, and the product of two fits in 64."""

BLUR_EDGES: Final = (0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0)
"""Edges of the ten levels of Gaussian blur: standard deviation in pixels."""

NOISE_EDGES: Final = (0.0, 5.0, 10.0, 15.0, 20.0, 25.0, 30.0, 35.0, 40.0, 45.0, 50.0)
"""Edges of the ten levels of Gaussian noise: standard deviation in levels of 0-255."""

JPEG_EDGES: Final = (100.0, 80.0, 60.0, 50.0, 40.0, 35.0, 30.0, 25.0, 20.0, 15.0, 10.0)
"""Edges of the ten levels of JPEG compression: libjpeg quality, where 100 is best."""

TOOL_BLUR_EDGES: Final = (0.0, 1.25, 2.5, 3.75, 5.0)
"""Edges of the intervals of the paper's four tools against blur (Table 1), in the unit of `BLUR_EDGES`."""

TOOL_NOISE_EDGES: Final = (0.0, 12.5, 25.0, 37.5, 50.0)
"""Edges of the intervals of the paper's four tools against noise (Table 1), in the unit of `NOISE_EDGES`."""

TOOL_JPEG_EDGES: Final = (100.0, 60.0, 35.0, 20.0, 10.0)
"""Edges of the intervals of the paper's four tools against JPEG (Table 1), in the unit of `JPEG_EDGES`."""

MOTION_EDGES: Final = (1.0, 3.0, 5.0, 7.0, 9.0, 11.0, 13.0, 15.0, 17.0, 19.0, 21.0)
"""Edges of ten levels of motion blur: length in pixels. The longest fills the kernel of the paper's blur."""

DEFOCUS_EDGES: Final = (0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0)
"""Edges of ten levels of defocus: radius in pixels. The largest disk fills the kernel of the paper's blur."""

SALT_AND_PEPPER_EDGES: Final = (0.0, 0.02, 0.04, 0.06, 0.08, 0.1, 0.12, 0.14, 0.16, 0.18, 0.2)
"""Edges of ten levels of salt-and-pepper noise: fraction of the pixels."""

RESAMPLING_EDGES: Final = (1.0, 1.25, 1.5, 1.75, 2.0, 2.25, 2.5, 2.75, 3.0, 3.5, 4.0)
"""Edges of ten levels of down-and-up sampling: the factor."""

WEBP_EDGES: Final = JPEG_EDGES
"""Edges of ten levels of WebP compression: libwebp quality, where 100 is best."""

SEVERITIES: Final = {"mild": (9, 11), "moderate": (12, 17), "severe": (18, 20), "any": (1, 28)}
"""For each severity the smallest and largest sum of the three levels (1 to 10 each), minus two."""

Decide = Literal["regions", "vote"]
"""Who chooses the tools for a photo: each of its regions, or all patches by a vote."""

Severity = Literal[
    "mild",
    "moderate",
    "severe",
    "any",
    "everyday",
    "light",
    "motion",
    "defocus",
    "low-light",
    "salt-and-pepper",
    "web",
    "wild",
]
"""Names that a `severity` argument accepts: those of `SEVERITIES`, and of the other mixtures of distortions."""

EVERYDAY: Final = "everyday"
"""Name of the mixture of distortions that resembles photos with unknown distortions (see `everyday`)."""

BLUR_KERNEL_SIZE: Final = 21
"""Height and width in pixels of the blur kernel of the authors' generator."""

MAX_INPUT_PSNR: Final = 50.0
"""Patches with a higher PSNR in dB are drawn again, because there is nothing to restore in them."""

MSE_FLOOR: Final = 1e-10
"""Added to every mean squared error, so that identical images have a PSNR of 100 dB."""

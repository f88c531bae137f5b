"""The constants of the task, in one place (Yu et al., CVPR 2018, and the authors' released program)."""

from typing import Final

ENV_ID: Final = "ImageRestore-v0"
DEFAULT_TOOLBOX: Final = "rl-restore-12"
DEFAULT_POLICY: Final = "drqn"
"""For measuring and showing: trained on moderate mixtures, as in the paper."""

RESTORING_POLICY: Final = "drqn-any"
"""For photos of unknown history: trained on all that a photo may have suffered, so that it leaves good ones alone."""

PATCH_SIZE: Final = 63
"""Height and width in pixels of what an agent looks at (section 4.1)."""

MAX_STEPS: Final = 3
"""Tools in a toolchain, the paper's T_max (section 4.1)."""

BLUR_EDGES: Final = (0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0)
"""Edges of the ten levels of Gaussian blur: standard deviation in pixels."""

NOISE_EDGES: Final = (0.0, 5.0, 10.0, 15.0, 20.0, 25.0, 30.0, 35.0, 40.0, 45.0, 50.0)
"""Edges of the ten levels of Gaussian noise: standard deviation in levels of 0-255."""

JPEG_EDGES: Final = (100.0, 80.0, 60.0, 50.0, 40.0, 35.0, 30.0, 25.0, 20.0, 15.0, 10.0)
"""Edges of the ten levels of JPEG compression: libjpeg quality, 100 is best."""

SEVERITIES: Final = {"mild": (9, 11), "moderate": (12, 17), "severe": (18, 20), "any": (1, 28)}
"""For each severity, the first and last allowed sum of the three levels (1 to 10 each) minus two."""

EVERYDAY: Final = "everyday"
"""Name of the mixture of all that a photo may have suffered (`restore_env.data.distortions.everyday`)."""

BLUR_KERNEL_SIZE: Final = 21
"""Height and width in pixels of the blur kernel of the authors' generator."""

MAX_INPUT_PSNR: Final = 50.0
"""Patches less distorted than this many dB are drawn again: there is nothing to restore in them."""

MSE_FLOOR: Final = 1e-10
"""Added to every mean squared error, so that identical images have a PSNR of 100 dB."""

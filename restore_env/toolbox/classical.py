"""A toolbox without training: well-known filters of OpenCV and scikit-image."""

from functools import partial

import cv2
import numpy as np

from restore_env.toolbox.tool import Tool
from restore_env.toolbox.toolbox import Toolbox
from restore_env.utils.kernels import convolve, disk_kernel, motion_kernel
from restore_env.utils.tensors import ByteImage, FloatImage


def classical_toolbox() -> Toolbox:
    """Return seventeen filters, which `benchmarks.classical` measures on the damage that each is made for.

    - Against noise of about 10 to 40 on the 0-255 scale: bilateral, non-local means and total variation.
    - Against salt-and-pepper noise: two medians; `despeckle` changes only pixels that are black or white.
    - Against Gaussian blur and few pixels: unsharp masks, and Richardson-Lucy with a kernel of 1.5 pixels (`deblur`).
    - Against defocus and motion: Richardson-Lucy with disks of 2 and 4 pixels, and with lines of 7 pixels in four
      directions, in degrees.
    - Against light JPEG and WebP: `bilateral-mild`.

    Example:
        >>> classical_toolbox().names[:3]
        ('median-3', 'bilateral', 'nl-means-mild')
    """
    gaussian = cv2.getGaussianKernel(11, 1.5, cv2.CV_32F)
    on_bytes, on_floats = Tool.from_function, partial(Tool.from_function, dtype="float32")
    tools = [
        on_bytes("median-3", partial(_median, size=3)),
        on_bytes("bilateral", partial(_bilateral, size=7, sigma_colour=40, sigma_space=3)),
        on_bytes("nl-means-mild", partial(_non_local_means, strength=6)),
        on_bytes("nl-means-strong", partial(_non_local_means, strength=15)),
        on_bytes("unsharp-mild", partial(_unsharp_mask, sigma=1.0, amount=0.5)),
        on_bytes("unsharp-strong", partial(_unsharp_mask, sigma=2.0, amount=1.0)),
        on_floats("tv-mild", partial(_total_variation, weight=0.05)),
        on_floats("tv-strong", partial(_total_variation, weight=0.12)),
        on_floats("deblur", partial(_richardson_lucy, kernel=gaussian @ gaussian.T, rounds=10)),
        on_bytes("despeckle", _despeckle),
        on_bytes("bilateral-mild", partial(_bilateral, size=5, sigma_colour=20, sigma_space=3)),
        on_floats("defocus-mild", partial(_richardson_lucy, kernel=disk_kernel(2), rounds=8)),
        on_floats("defocus-strong", partial(_richardson_lucy, kernel=disk_kernel(4), rounds=8)),
    ]
    for angle in (0, 45, 90, 135):
        against = partial(_richardson_lucy, kernel=motion_kernel(7, angle), rounds=5)
        tools.append(on_floats(f"motion-{angle}", against))
    return Toolbox(tools, "classical")


# Functions of the module, because neither lambdas nor functions of OpenCV can be pickled by their names.
def _median(image: ByteImage, size: int) -> ByteImage:
    return np.asarray(cv2.medianBlur(image, size), dtype=np.uint8)


def _despeckle(image: ByteImage) -> ByteImage:
    """Replace pixels that are black or white by the median around them, and leave all others alone."""
    extreme = (image == image[..., :1]).all(2) & np.isin(image[..., 0], (0, 255))
    return np.where(extreme[..., None], _median(image, size=3), image)


def _bilateral(image: ByteImage, size: int, sigma_colour: float, sigma_space: float) -> ByteImage:
    return np.asarray(cv2.bilateralFilter(image, size, sigma_colour, sigma_space), dtype=np.uint8)


def _non_local_means(image: ByteImage, strength: float) -> ByteImage:
    return np.asarray(cv2.fastNlMeansDenoisingColored(image, None, strength, strength, 5, 15), dtype=np.uint8)


def _unsharp_mask(image: ByteImage, sigma: float, amount: float) -> ByteImage:
    soft = cv2.GaussianBlur(image, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(cv2.addWeighted(image, 1 + amount, soft, -amount, 0), dtype=np.uint8)


def _richardson_lucy(image: FloatImage, kernel: FloatImage, rounds: int) -> FloatImage:
    """Deblur with Richardson-Lucy: each round sharpens more, and raises noise more.

    scikit-image's function sees zeros beyond the edges, and so darkens them; it also takes far longer.
    """
    estimate = image
    for _ in range(rounds):
        expected = np.maximum(convolve(estimate, kernel), 1e-3)
        estimate = np.multiply(estimate, convolve(np.divide(image, expected, dtype=np.float32), kernel))
    return estimate


# scikit-image imports SciPy, which takes longer than PyTorch, so it is imported when it is used.
def _total_variation(image: FloatImage, weight: float) -> FloatImage:
    from skimage.restoration import denoise_tv_chambolle  # noqa: PLC0415

    return np.asarray(denoise_tv_chambolle(image, weight=weight, channel_axis=2), dtype=np.float32)

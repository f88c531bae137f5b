"""Means over patches, with intervals that know which patches were cut from one photo."""

from collections import defaultdict
from collections.abc import Hashable, Sequence
from math import fsum, nan, sqrt
from statistics import fmean

from restore_env.evaluation import Evaluation


def half_interval(values: Sequence[float], photos: Sequence[Hashable] = ()) -> float:
    """Return half the width of the 95% interval of a mean.

    Args:
        values: one number for each patch.
        photos: the photo that each patch was cut from. Patches of one photo are alike, so they tell less than as many
            patches of different photos (cluster-robust variance: Liang and Zeger, 1986). Without `photos`, each patch
            counts as a photo of its own.

    Returns:
        NaN if there is one photo only.

    Example:
        >>> round(half_interval([1.0, 2.0, 3.0, 4.0]), 3)
        1.265
    """
    mean, sums = fmean(values), defaultdict[Hashable, float](float)
    for photo, value in zip(photos or range(len(values)), values, strict=True):
        sums[photo] += value - mean
    count = len(sums)
    if count < 2:
        return nan
    return 1.96 * sqrt(count / (count - 1) * fsum(item**2 for item in sums.values())) / len(values)


def mean_difference(
    before: Sequence[float], after: Sequence[float], photos: Sequence[Hashable] = ()
) -> tuple[float, float]:
    """Return the mean of `after - before`, paired by patch, and half the width of its 95% interval.

    Args:
        before: one number for each patch.
        after: another number for each patch.
        photos: as for `half_interval`.

    Example:
        >>> mean, half = mean_difference([20.0, 30.0], [21.0, 33.0])
        >>> (mean, round(half, 2))
        (2.0, 1.96)
    """
    differences = [one - other for one, other in zip(after, before, strict=True)]
    return fmean(differences), half_interval(differences, photos)


def share_interval(gains: Sequence[float], best: Sequence[float], photos: Sequence[Hashable]) -> float:
    """Return half the width of the 95% interval of `fmean(gains) / fmean(best)`, by the delta method.

    Args:
        gains: a policy's gain in dB on each patch; those beyond `len(best)` are ignored.
        best: the oracle's gain in dB on the first patches.
        photos: the photo of each patch.

    Returns:
        NaN if the oracle gains nothing.
    """
    if not fmean(best):
        return nan
    own = gains[: len(best)]
    share = fmean(own) / fmean(best)
    residuals = [gain - share * most for gain, most in zip(own, best, strict=True)]
    return half_interval(residuals, photos[: len(best)]) / fmean(best)


def gains_of(evaluation: Evaluation) -> list[float]:
    """Return the PSNR gain of each patch in dB."""
    return [image.psnr_out - image.psnr_in for image in evaluation.images]

"""A bank of OpenCV filters as a toolbox: each filter at each strength is one action.

    python examples/opencv_filter_bank.py

The program prints what each filter gains on each distortion, and on mixtures what the best toolchains gain.
"""

from functools import partial

import cv2
import numpy as np

from restore_env import (
    GaussianBlur,
    GaussianNoise,
    JPEGCompression,
    Pairs,
    Tool,
    Toolbox,
    as_source,
    draw_pairs,
    evaluate,
)

DAMAGE = {"blur": GaussianBlur(1, 2), "noise": GaussianNoise(10, 30), "jpeg": JPEGCompression(10, 40), "mild": "mild"}


# Functions of a module, not lambdas, because environments in other processes pickle them.
def median(image: np.ndarray, size: int) -> np.ndarray:
    """Return the median of size x size pixels."""
    return cv2.medianBlur(image, size)


def bilateral(image: np.ndarray, sigma: float) -> np.ndarray:
    """Return a mean of 7x7 pixels that leaves edges sharp."""
    return cv2.bilateralFilter(image, 7, sigma, 3)


def non_local_means(image: np.ndarray, strength: float) -> np.ndarray:
    """Return a mean of similar patches."""
    return cv2.fastNlMeansDenoisingColored(image, None, strength, strength, 5, 15)


def sharpen(image: np.ndarray, amount: float) -> np.ndarray:
    """Return the image plus what a blur with a standard deviation of 1.5 pixels takes away."""
    return cv2.addWeighted(image, 1 + amount, cv2.GaussianBlur(image, (0, 0), 1.5), -amount, 0)


def filter_bank() -> Toolbox:
    """Return the toolbox. Costs are multiplications a pixel, roughly: nobody can count those of a function."""
    tools = [
        Tool.from_function(f"median-{n}", partial(median, size=n), removes="noise", cost=3 * n * n) for n in (3, 5)
    ]
    for sigma in (20, 40, 80):
        function = partial(bilateral, sigma=sigma)
        tools.append(Tool.from_function(f"bilateral-{sigma}", function, removes="noise", cost=3 * 7 * 7))
    for strength in (4, 8, 16):
        function = partial(non_local_means, strength=strength)
        tools.append(Tool.from_function(f"nl-means-{strength}", function, removes="noise", cost=15 * 15 * 25))
    for amount in (0.5, 1, 2):
        function = partial(sharpen, amount=amount)
        tools.append(Tool.from_function(f"sharpen-{amount:g}", function, removes="blur", cost=2 * 3 * 13))
    return Toolbox(tools, "opencv-filters")


def gains(toolbox: Toolbox, pairs: Pairs) -> list[float]:
    """Return what each tool alone gains, in dB."""
    return [evaluate(pairs, f"fixed:{name}", toolbox).gain for name in toolbox.names]


def main() -> None:
    """Print the tables."""
    toolbox = filter_bank()
    pairs = {name: draw_pairs(as_source("embedded", damage, 63), 16, seed=0) for name, damage in DAMAGE.items()}
    columns = [gains(toolbox, each) for each in pairs.values()]
    print(f"{'gain in dB':14}" + "".join(f"{name:>8}" for name in pairs))
    for name, *row in zip(toolbox.names, *columns, strict=True):
        print(f"{name:14}" + "".join(f"{gain:>+8.2f}" for gain in row))
    greedy = evaluate(pairs["mild"], "greedy", toolbox)
    print(f"greedy search that knows the original, on mild mixtures: {greedy.gain:+.2f} dB")


if __name__ == "__main__":
    main()

"""A network of spandrel as a tool beside the shipped ones.

    pip install spandrel
    python examples/spandrel_tool.py WEIGHTS

WEIGHTS is a file of weights for a restoration network that spandrel knows, such as NAFNet, SCUNet, DRUNet or FBCNN.
Networks that enlarge images are refused.
"""

import sys
from tempfile import TemporaryDirectory

import gymnasium as gym
import torch

from restore_env import Tool, Toolbox, as_source, draw_pairs, evaluate, load_toolbox, save_toolbox


def main(weights: str) -> None:
    """Make the tool, measure it, save and load its toolbox, and use that in the environment."""
    tool = Tool.from_spandrel(weights, removes="noise")
    print(f"{tool.name}: {tool.cost:,.0f} multiplications a pixel; image sides are multiples of {tool.multiple}")
    toolbox = Toolbox([tool, *load_toolbox()], "with-spandrel")
    pairs = draw_pairs(as_source("embedded", "moderate", 63), 8, seed=0)
    for name in (tool.name, "noise-2"):
        print(f"{name}: {evaluate(pairs, f'fixed:{name}', toolbox).gain:+.2f} dB")
    with TemporaryDirectory() as folder:
        save_toolbox(toolbox, folder)  # copies the file of weights
        loaded = load_toolbox(folder, dtype="bfloat16")  # half precision, if the network can
    photo = torch.rand(1, 3, 300, 400)  # processed in tiles, if the network can
    print(tuple(loaded.apply(photo, [0]).shape))
    env = gym.make("ImageRestore-v1", toolbox=loaded)
    env.reset(seed=0)
    print(env.action_space)


if __name__ == "__main__":
    main(sys.argv[1])

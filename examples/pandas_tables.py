"""Tables of infos, of a policy's results, and of a toolchain log, with pandas.

pip install pandas
python examples/pandas_tables.py
"""

from argparse import ArgumentParser
from tempfile import TemporaryDirectory

import gymnasium as gym
import pandas as pd

from restore_env import RecordToolchains, as_source, draw_pairs, evaluate, load_toolchain_log


def main(steps: int) -> None:
    """Print a table of each."""
    with TemporaryDirectory() as folder:
        with RecordToolchains(gym.make("ImageRestore-v1"), folder, "random") as env:
            env.action_space.seed(0)
            infos = [env.reset(seed=0)[1]]
            for _ in range(steps):
                *_, terminated, truncated, info = env.step(env.action_space.sample())
                infos += [info] if not (terminated or truncated) else [info, env.reset()[1]]
            names = env.unwrapped.toolbox.action_names
        log = load_toolchain_log(folder)[:]
    table = pd.DataFrame(infos).drop(columns="action_mask")
    print(table.groupby("step")["psnr"].agg(["count", "mean"]))
    tools = pd.DataFrame(log.chain).replace({-1: len(names) - 1}).map(names.__getitem__)
    print(tools.join(pd.DataFrame(log.distortions))[[0, "blur_sigma", "noise_sigma", "jpeg_quality"]].groupby(0).mean())

    result = evaluate(draw_pairs(as_source("embedded", "moderate", 63), 16, seed=0), "drqn")
    images = pd.DataFrame(result.images)
    print(images.assign(gain=images.psnr_out - images.psnr_in).describe().loc[["count", "mean", "std"]])


if __name__ == "__main__":
    parser = ArgumentParser()
    parser.add_argument("--steps", type=int, default=500)
    main(parser.parse_args().steps)

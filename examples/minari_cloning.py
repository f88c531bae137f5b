"""Log what a policy does, make a Minari data set of it, and clone the policy from the data set.

    pip install "minari[hdf5]"
    python examples/minari_cloning.py

Run it in a clone of the repository, which has the programs `agents`.
"""

import os
import subprocess
import sys
from argparse import ArgumentParser
from tempfile import TemporaryDirectory

import minari
import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from restore_env.policies.encoder import PatchEncoder


def main(steps: int) -> None:
    """Make a data set of at least so many steps, and learn its actions from its images."""
    with TemporaryDirectory() as folder:
        os.environ["MINARI_DATASETS_PATH"] = f"{folder}/minari"  # by default Minari keeps them in ~/.minari/datasets
        run("agents.log_toolchains", "--images", "embedded", "--output", f"{folder}/log", "--n", steps // 2)
        run("agents.export_minari", f"{folder}/log", "--output", "restore-env/drqn-v0")
        dataset = minari.load_dataset("restore-env/drqn-v0")
        episodes = list(dataset)
    print(f"{dataset.total_episodes} episodes, {dataset.total_steps} steps, infos: {', '.join(episodes[0].infos)}")
    images = torch.from_numpy(np.concatenate([episode.observations["image"][:-1] for episode in episodes]))
    actions = torch.from_numpy(np.concatenate([episode.actions for episode in episodes]))
    images = images.permute(0, 3, 1, 2) / 255  # (n, h, w, 3) -> (n, 3, h, w)
    torch.manual_seed(0)
    network = nn.Sequential(PatchEncoder(centred=True), nn.Linear(32, int(dataset.action_space.n)))
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    for update in range(100):
        rows = torch.randint(len(images), (64,))
        loss = cross_entropy(network(images[rows]), actions[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if update % 33 == 0:
            print(f"update {update}: loss {loss.item():.2f}")


def run(*words: object) -> None:
    """Run a program of this repository."""
    subprocess.run([sys.executable, "-m", *map(str, words)], check=True)


if __name__ == "__main__":
    parser = ArgumentParser()
    parser.add_argument("--steps", type=int, default=500)
    main(parser.parse_args().steps)

"""A reward that comes from what images are for: how sure a classifier is of the digit that a patch shows.

    pip install scikit-learn
    python examples/digits_reward.py

The classifier and the agent both learn here. The program prints how many distorted digits the classifier reads, as they
are, after a DQN of Stable-Baselines3 has restored them, and after the shipped agent has.
"""

import argparse

import cv2
import numpy as np
import torch
from sklearn.datasets import load_digits
from stable_baselines3 import DQN
from torch.nn.functional import avg_pool2d, cross_entropy

from restore_env import Pairs, SB3VecEnv, Transition, as_source, draw_pairs, load_policy, load_toolbox
from restore_env.policies import play
from restore_env.policies.sb3_policy import SB3Policy
from restore_env.restoration.batch import RestorationBatch

SIZE, HELD_OUT = 63, 400


class Classifier(torch.nn.Module):
    """Reads digits from images (n, 3, 63, 63), and returns logits (n, 10)."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(21 * 21, 64), torch.nn.ReLU())
        self.last = torch.nn.Linear(64, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the logits; the network sees the mean of the channels at a third of the resolution."""
        return self.last(self.layers(avg_pool2d(images.mean(1, keepdim=True), 3)))


def digits() -> tuple[list[np.ndarray], np.ndarray]:
    """Return scikit-learn's digits, enlarged to 63x63 and RGB, and their labels."""
    images, labels = load_digits(return_X_y=True)
    small = (images.reshape(-1, 8, 8) * 15.9).astype(np.uint8)
    large = [cv2.resize(image, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC) for image in small]
    return [cv2.cvtColor(image, cv2.COLOR_GRAY2RGB) for image in large], labels


def distorted(images: list[np.ndarray], labels: np.ndarray) -> Pairs:
    """Return each digit with severe distortion, and its label."""
    pairs = [draw_pairs(as_source([image], "severe", SIZE), 1, number)[0] for number, image in enumerate(images)]
    return Pairs(
        [pair.distorted for pair in pairs], [pair.reference for pair in pairs], labels=[int(label) for label in labels]
    )


def main() -> None:
    """Train the classifier on clean digits, the agent on the classifier's confidence, and measure both."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=10_000)
    steps = parser.parse_args().steps
    images, labels = digits()
    train, test = (distorted(images[part], labels[part]) for part in (slice(HELD_OUT, None), slice(HELD_OUT)))

    torch.manual_seed(0)
    classifier = Classifier()
    optimizer = torch.optim.Adam(classifier.parameters(), 3e-3)
    clean, known = train.to_tensors()[1], torch.tensor(train.labels)
    for _ in range(200):
        optimizer.zero_grad()
        cross_entropy(classifier(clean), known).backward()
        optimizer.step()

    def confidence(step: Transition) -> torch.Tensor:
        """Return by how much the probability of the right digit rises."""
        right = torch.tensor(step.label).unsqueeze(1)  # (n,) -> (n, 1)
        after, before = (
            classifier(images).softmax(1).gather(1, right).flatten() for images in (step.after, step.before)
        )
        return after - before

    envs = SB3VecEnv(16, images=train, reward=confidence, time_limit="terminate", include_step=True)
    model = DQN(
        "MultiInputPolicy", envs, buffer_size=10_000, learning_starts=200, train_freq=1, gradient_steps=4, seed=0
    )
    model.learn(steps)
    envs.close()

    batch, known = RestorationBatch(load_toolbox()), torch.tensor(test.labels)
    for policy in ("stop", SB3Policy(model, "dqn"), "drqn"):  # drqn was trained to raise the PSNR
        player = load_policy(policy, batch.toolbox)
        batch.start(*test.to_tensors())
        play(player, batch)
        read = (classifier(batch.images).argmax(1) == known).double().mean()
        print(f"{player.name}: {read:.1%} of the digits are read, PSNR {batch.psnr.mean():.2f} dB")


if __name__ == "__main__":
    main()

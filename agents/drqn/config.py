"""Hyperparameters of a recurrent Q-network's training, and the presets."""

from dataclasses import dataclass, replace
from typing import Final, Literal

from restore_env.training.optimizers import ScheduleWithFinal, learning_rate
from restore_env.utils.checks import (
    Count,
    Fraction,
    Natural,
    NonNegative,
    Options,
    Positive,
    PositiveOrInfinite,
    ProperFraction,
)


@dataclass(frozen=True, kw_only=True)
class DRQNConfig(Options):
    """Hyperparameters of a recurrent Q-network's training; schedules run over the whole budget, whatever its length.

    Raises:
        ValueError: if a value is outside its range.

    Example:
        >>> DRQNConfig(gamma=0.99).batch_size
        32
        >>> DRQNConfig(gamma=1.5)
        Traceback (most recent call last):
        ValueError: gamma=1.5 is not between 0 and 1
    """

    gamma: Fraction = 1.0
    """Discount factor."""
    double_q: bool = True
    """Double Q-learning (van Hasselt et al., 2016): another network values the action that a network chooses."""
    n_networks: Count = 2
    """Q-networks that take turns in playing and learning. Each one's choices are valued by the next one, so that errors
    of its own do not make tools look better than they are. The policy takes the mean of their Q-values."""
    loss: Literal["huber", "squared"] = "huber"
    """Loss of the Q-values; huber is quadratic up to an error of 1."""
    batch_size: Count = 32
    """Episodes in an update. The LSTM runs along each whole episode."""
    buffer_size: Count = 60_000
    """Steps of the environment in the replay buffer, on disk at 12 kB each for patches of 63: 0.7 GB for 60,000."""
    learning_starts: Natural = 500
    """Steps of the environment before the first update."""
    n_envs: Count = 64
    """Episodes that are played in parallel in an iteration."""
    gradient_steps: Count = 16
    """Updates in an iteration."""
    target_update_interval: Count = 250
    """Updates after which the weights of a single network are copied into its target network."""
    exploration_initial_eps: Fraction = 1.0
    """Probability of a random action at the start."""
    exploration_final_eps: Fraction = 0.1
    """Probability of a random action after the exploration fraction."""
    exploration_fraction: Fraction = 0.3
    """Fraction of the training time (minutes or iterations) over which the probability of a random action falls."""
    optimizer: Literal["soap", "adam"] = "soap"
    """soap is Adam in the eigenbasis of Shampoo (arXiv 2409.11321)."""
    learning_rate: Positive = 3e-3
    """Learning rate at the start, after the warm-up."""
    final_learning_rate: Positive = 1e-5
    """Learning rate at the end."""
    lr_schedule: ScheduleWithFinal = "cosine"
    """How the learning rate falls."""
    warmup_updates: Natural = 50
    """Updates over which the learning rate rises linearly from near 0."""
    max_grad_norm: PositiveOrInfinite = 10.0
    """Largest norm of the gradient; larger gradients are scaled down. inf: no limit."""
    ema_decay: ProperFraction = 0.995
    """Decay, per update, of the moving average of the weights, which becomes the policy. 0: the last weights do."""
    scaled: bool = True
    """Centre the network's images and multiply its Q-values by 10, to suit the initial weights."""
    augment: bool = True
    """Mirror and transpose the images of each update at random; training photos are always mirrored and recoloured."""
    random_shift_pad: Natural = 4
    """Largest random shift of an episode's images in pixels; the border is repeated (arXiv 2004.13649). 0: none."""
    single_distortion_fraction: Fraction = 0.0
    """Fraction of training patches with one distortion only (blur, noise or JPEG). Not with a pairs file."""
    stop_if_worse: bool = False
    """End a training episode whose PSNR falls below that of its input, as the authors' program does."""
    degradation_features: bool = True
    """Let the network also see pixel-difference statistics, which show noise and JPEG blocks."""
    n_counterfactual: Natural = 3
    """Tools, besides stop, that are tried at each step without being applied, to learn their values. 0: nothing is.
    Where tools are worth about the same, an agent learns more from trying all of them."""
    regret_coef: NonNegative = 1.0
    """Weight of a second loss: what a softmax choice among the tried actions loses on average, less its entropy. It
    trains preferences of their own, by which the network chooses; trained by it, Q-values would be too high. 0: the
    Q-values choose."""

    def rate(self, progress: float, updates: int) -> float:
        """Return the learning rate of an update, given the used fraction of the budget and the updates so far."""
        return learning_rate(
            self.lr_schedule, self.learning_rate, progress, updates, self.warmup_updates, self.final_learning_rate
        )

    def exploration_rate(self, progress: float) -> float:
        """Return the probability of a random action, given the used fraction of the budget.

        Example:
            >>> DRQNConfig(exploration_fraction=0.5).exploration_rate(0.25)
            0.55
        """
        initial, final, fraction = self.exploration_initial_eps, self.exploration_final_eps, self.exploration_fraction
        return initial + (final - initial) * (min(1.0, progress / fraction) if fraction else 1.0)


_PAPER: Final = DRQNConfig(
    gamma=0.99,
    double_q=False,
    n_networks=1,
    loss="squared",
    buffer_size=500_000,
    learning_starts=5_000,
    n_envs=32,
    gradient_steps=22,
    target_update_interval=2_500,
    exploration_fraction=0.5,
    optimizer="adam",
    learning_rate=2.5e-4,
    final_learning_rate=2.5e-5,
    lr_schedule="exponential",
    warmup_updates=0,
    ema_decay=0.0,
    scaled=False,
    augment=False,
    random_shift_pad=0,
    degradation_features=False,
    n_counterfactual=0,
    regret_coef=0.0,
)

PRESETS: Final = {
    "fast": DRQNConfig(),
    "refresh": DRQNConfig(exploration_initial_eps=0.25, learning_rate=1e-3),
    "paper": _PAPER,
    "released-code": replace(
        _PAPER, loss="huber", learning_rate=1e-4, stop_if_worse=True, single_distortion_fraction=0.5
    ),
}
"""`fast` has the project's best settings; `refresh` continues the training of an agent that is already trained.

`paper` follows the paper (section 4.1). Where the paper is silent, it follows the authors' program: the exploration,
the first updates, and an update every four steps, which is 22 updates after 32 episodes. `released-code` follows that
program; its 10,000 steps between two copies to the target network are 2,500 updates. Both are made for 500,000 updates.
"""

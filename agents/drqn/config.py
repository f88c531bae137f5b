"""Hyperparameters of a recurrent Q-network's training, and the presets."""

from dataclasses import dataclass, replace
from typing import Final, Literal

from restore_env.training.optimizers import learning_rate
from restore_env.utils.checks import check_literals, check_whole


@dataclass(frozen=True, kw_only=True)
class DRQNConfig:
    """Hyperparameters of a recurrent Q-network's training; schedules run over the whole budget, whatever its length.

    Raises:
        ValueError: if a value is outside its range, or two values contradict each other.

    Example:
        >>> DRQNConfig(gamma=0.99).batch_size
        32
        >>> DRQNConfig(gamma=1.5)
        Traceback (most recent call last):
        ValueError: gamma=1.5 is not between 0 and 1
    """

    gamma: float = 1.0
    """Discount factor."""
    double_q: bool = True
    """Double Q-learning (van Hasselt et al., 2016): the network chooses the next action, the target network values
    it."""
    loss: Literal["huber", "squared"] = "huber"
    """Loss of the Q-values; huber is quadratic up to an error of 1."""
    batch_size: int = 32
    """Episodes in an update. The LSTM runs along each whole episode."""
    buffer_size: int = 60_000
    """Steps that the replay buffer holds, in files of 12 kB a step."""
    learning_starts: int = 500
    """Steps before the first update."""
    n_envs: int = 64
    """Episodes that are played side by side in an iteration."""
    gradient_steps: int = 16
    """Updates in an iteration."""
    target_update_interval: int = 250
    """Updates between two copies of the network to the target network."""
    exploration_initial_eps: float = 1.0
    """Probability of a random action at the start."""
    exploration_final_eps: float = 0.1
    """Probability of a random action after the exploration fraction."""
    exploration_fraction: float = 0.3
    """Fraction of the budget over which the probability of a random action falls."""
    optimizer: Literal["soap", "adam"] = "soap"
    """soap is Adam in the eigenbasis of Shampoo (arXiv 2409.11321)."""
    learning_rate: float = 3e-3
    """Learning rate at the start, after the warm-up."""
    final_learning_rate: float = 1e-5
    """Learning rate at the end."""
    lr_schedule: Literal["cosine", "exponential"] = "cosine"
    """How the learning rate falls."""
    warmup_updates: int = 50
    """Updates over which the learning rate rises linearly at first."""
    max_grad_norm: float = 10.0
    """Largest norm of the gradient; larger gradients are scaled down."""
    ema_decay: float = 0.995
    """Decay, at each update, of the exponential moving average of the weights, which becomes the policy. With 0 the
    last weights become the policy."""
    scaled: bool = True
    """Centre the network's images and multiply its Q-values by 10, so that both suit the first weights."""
    augment: bool = True
    """Mirror and transpose the images of each update at random."""
    random_shift_pad: int = 4
    """Largest random shift of the images of an update, in pixels (arXiv 2004.13649)."""
    single_distortion_fraction: float = 0.0
    """Fraction of the training patches with one distortion only, drawn from those that the twelve tools are made
    for."""
    stop_if_worse: bool = False
    """End a training episode whose PSNR falls below that of its input, as the authors' program does."""

    dropout: float = 0.2
    """Fraction of the encoder's features that an update leaves out at random."""
    degradation_features: bool = True
    """Let the network also see statistics of the differences between neighbouring pixels."""
    n_counterfactual: int = 3
    """Tools that are also tried in each visited state, so that the network learns their values too. 0 learns from the
    actions taken only."""
    counterfactual_temperature: float = 1.0
    """Temperature, in units of the reward, of the softmax of the Q-values from which these tools are drawn. 0 draws
    them uniformly."""
    regret_coef: float = 1.0
    """Coefficient of an additional loss: the expected regret of the softmax policy over the tried actions. It needs
    counterfactual tools."""
    regret_temperature: float = 0.3
    """Temperature of that policy, in units of the reward."""
    aux_coef: float = 10.0
    """Coefficient of an auxiliary loss: a linear layer predicts the strengths of blur, noise and JPEG from the
    features of fresh patches. It is left out where the strengths are unknown."""
    aux_batch_size: int = 256
    """Fresh patches for the auxiliary loss in an iteration."""
    pretrain_fraction: float = 0.05
    """Fraction of the budget in which only the auxiliary loss is trained, at the start."""

    def __post_init__(self) -> None:
        check_literals(self)
        sizes = ("batch_size", "buffer_size", "n_envs", "gradient_steps", "target_update_interval", "aux_batch_size")
        for name in sizes:
            check_whole(name, getattr(self, name), 1)
        for name in ("learning_starts", "warmup_updates", "random_shift_pad", "n_counterfactual"):
            check_whole(name, getattr(self, name), 0)
        fractions = ("exploration_initial_eps", "exploration_final_eps", "exploration_fraction", "pretrain_fraction")
        for name in ("gamma", *fractions, "single_distortion_fraction"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}={getattr(self, name)} is not between 0 and 1")
        for name in ("ema_decay", "dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} is not in [0, 1)")
        for name in ("regret_coef", "aux_coef", "counterfactual_temperature"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name}={getattr(self, name)} is less than 0")
        for name in ("learning_rate", "final_learning_rate", "max_grad_norm", "regret_temperature"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}={getattr(self, name)} is not more than 0")
        if self.regret_coef and not self.n_counterfactual:
            raise ValueError(f"regret_coef={self.regret_coef} needs n_counterfactual of at least 1; else give 0")

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
    dropout=0.0,
    degradation_features=False,
    n_counterfactual=0,
    regret_coef=0.0,
    aux_coef=0.0,
)

PRESETS: Final = {
    "fast": DRQNConfig(),
    "refresh": DRQNConfig(exploration_initial_eps=0.25, learning_rate=1e-3, pretrain_fraction=0.0),
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

"""How a recurrent Q-network is trained: every choice as an option, and the presets."""

from dataclasses import dataclass, replace
from math import cos, pi
from typing import Final

from restore_env.utils.checks import check_choice, check_whole

TARGETS: Final = ("taken", "all")
LOSSES: Final = ("huber", "squared")
OPTIMIZERS: Final = ("soap", "adam")
RATES: Final = ("exponential", "cosine")


@dataclass(frozen=True)
class Options:
    """How a recurrent Q-network is trained. Schedules run over the whole budget, whatever its length.

    Raises:
        ValueError, TypeError: for a value that cannot be.
    """

    targets: str = "all"
    """taken: learn from the action that was taken (deep Q-learning); all: try several other tools in every
    state that is visited, and learn the values of all those at once. A restoration tool's outcome can be computed
    without a step."""
    tries: int = 3
    """With targets "all", how many tools are tried in a state, drawn at random, beside the one taken; 0 tries all. With
    fewer, more images are seen for the same work."""
    try_temperature: float = 1.0
    """Temperature, in units of the reward, of the softmax of the Q-values that those are drawn by, so that tools are
    tried which could be the best; 0 draws evenly."""
    gamma: float = 1.0
    """Discount factor."""
    n_step: int = 1
    """Rewards that a target of the action taken sums up before it estimates the rest."""
    double: bool = True
    """Choose the next action by the network itself, value it by the target network (van Hasselt et al., 2016)."""
    scaled: bool = True
    """Begin with a network whose inputs are centred and whose outputs count in tens of dB."""
    statistics: bool = True
    """Begin with a network that also sees statistics of the differences between neighbouring pixels."""
    dropout: float = 0.2
    """Share of what an image's description is made from that an update leaves out (Srivastava et al., 2014): what few
    photos had in common by chance is learnt less."""
    dueling: bool = False
    """Split the network's head into the state's value and the actions' advantages (Wang et al., 2016)."""
    priority: float = 0.0
    """Exponent of prioritised replay of episodes by their largest error (Schaul et al., 2016); 0 draws evenly."""
    decision: float = 1.0
    """Weight of a second loss, with targets "all": the expected regret of acting by the softmax of the Q-values."""
    temperature: float = 0.3
    """Temperature of that softmax, in units of the reward."""
    perception: float = 10.0
    """Weight of a third loss: how well a linear layer reads the strengths of blur, noise and JPEG off the network's
    description of fresh patches. Left out where images come without them."""
    glances: int = 256
    """Fresh patches in an iteration for that."""
    glance_share: float = 0.05
    """Share of the budget in which nothing else is learnt."""
    augment: bool = True
    """Mirror and transpose the images that updates see."""
    shift: int = 4
    """Pixels by which they are moved at most, up, down, left and right."""
    loss: str = "huber"
    """huber (delta 1) or squared."""
    batch_size: int = 32
    """Whole episodes in an update (the paper's sequential updates)."""
    optimizer: str = "soap"
    """soap (Adam in the eigenbasis of Shampoo: arXiv 2409.11321) or adam."""
    learning_rate: float = 3e-3
    """At the start."""
    final_rate: float = 1e-5
    """At the end."""
    rates: str = "cosine"
    """How the learning rate falls: exponential or cosine."""
    warm_up: int = 50
    """Updates over which the learning rate rises first."""
    clip: float = 10.0
    """Largest norm of the gradient."""
    average: float = 0.995
    """Decay, at each update, of the exponential average of the weights, which is what becomes the policy; 0 takes the
    last weights."""
    target_every: int = 250
    """Updates between two copies to the target network."""
    epsilon: float = 1.0
    """Share of random actions at the start."""
    final_epsilon: float = 0.1
    """Share of random actions at the end."""
    epsilon_share: float = 0.3
    """Share of the budget over which it falls."""
    replay_steps: int = 60_000
    """Steps of the environment that are remembered, in files, 12 kB each."""
    learning_starts: int = 500
    """Steps before the first update."""
    episodes: int = 64
    """Episodes played side by side in an iteration."""
    updates: int = 16
    """Updates in an iteration."""
    stop_if_worse: bool = False
    """End an episode that falls below its input while it is played for training, as the authors' program does."""
    singles: float = 0.0
    """Share of training patches with a single distortion, those that the tools are made for."""

    def __post_init__(self) -> None:
        check_choice("targets", self.targets, TARGETS)
        check_choice("loss", self.loss, LOSSES)
        check_choice("rates", self.rates, RATES)
        check_choice("optimizer", self.optimizer, OPTIMIZERS)
        for name in ("n_step", "batch_size", "target_every", "replay_steps", "episodes", "updates", "glances"):
            check_whole(name, getattr(self, name), 1)
        for name in ("learning_starts", "tries", "warm_up", "shift"):
            check_whole(name, getattr(self, name), 0)
        for name in ("gamma", "epsilon", "final_epsilon", "epsilon_share", "singles", "glance_share"):
            _check_share(name, getattr(self, name))
        for name in ("average", "dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} is not in [0, 1)")
        for name in ("priority", "decision", "perception", "try_temperature"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name}={getattr(self, name)} is less than 0")
        for name in ("learning_rate", "final_rate", "clip", "temperature"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}={getattr(self, name)} is not more than 0")
        if self.targets == "taken" and self.tries:
            raise ValueError(f"tries={self.tries} needs targets='all'; with targets='taken' give tries=0")
        if self.targets == "taken" and self.decision:
            raise ValueError(f"decision={self.decision} needs targets='all'; with targets='taken' give decision=0")

    def rate(self, progress: float, updates: int) -> float:
        """The learning rate when this share of the budget is used, after so many updates."""
        progress, rising = min(1.0, progress), min(1.0, (updates + 1) / max(1, self.warm_up))
        if self.rates == "exponential":
            return float(rising * self.learning_rate * (self.final_rate / self.learning_rate) ** progress)
        falling = (1 + cos(pi * progress)) / 2
        return rising * (self.final_rate + (self.learning_rate - self.final_rate) * falling)

    def exploration(self, progress: float) -> float:
        """The share of random actions when this share of the budget is used."""
        fallen = min(1.0, progress / self.epsilon_share) if self.epsilon_share else 1.0
        return self.epsilon + (self.final_epsilon - self.epsilon) * fallen


def _check_share(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise ValueError(f"{name}={value} is not between 0 and 1")


_PAPER: Final = Options(
    targets="taken",
    tries=0,
    decision=0.0,
    perception=0.0,
    gamma=0.99,
    double=False,
    scaled=False,
    statistics=False,
    dropout=0.0,
    augment=False,
    shift=0,
    loss="squared",
    optimizer="adam",
    average=0.0,
    warm_up=0,
    learning_rate=2.5e-4,
    final_rate=2.5e-5,
    rates="exponential",
    target_every=2_500,
    epsilon_share=0.5,
    replay_steps=500_000,
    learning_starts=5_000,
    episodes=32,
    updates=22,
)

PRESETS: Final = {
    "fast": Options(),
    "refresh": Options(epsilon=0.25, learning_rate=1e-3, glance_share=0.0),
    "paper": _PAPER,
    "released-code": replace(_PAPER, loss="huber", learning_rate=1e-4, stop_if_worse=True, singles=0.5),
}
"""`fast` is our best, and `refresh` is how it goes on with an agent that knows most already. `paper` follows the paper
(section 4.1) and, where it is silent (epsilon, the first updates, an update every four steps: 22 in an iteration of 32
episodes), the authors' program, which `released-code` follows; its 10,000 steps of the environment between two copies
of the target network are 2,500 updates. Both were made for 500,000 updates."""

"""Deep recurrent Q-learning (paper, section 3.2), with everything it needs to stop and go on."""

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import asdict, dataclass
from functools import cached_property
from math import isinf
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from agents.drqn.config import Options
from agents.drqn.losses import losses, shifted, targets, turned, unrolled
from agents.drqn.perception import BATCH, Glances, Perception, draw_glances
from agents.drqn.replay_buffer import Replay
from agents.drqn.rollout import collect
from restore_env.data.pairs import Pairs
from restore_env.data.sources import PairSource, draw_pairs
from restore_env.evaluation import Evaluation, evaluate, share_of_best
from restore_env.policies.recurrent_q import RecurrentQNetwork, RecurrentQPolicy
from restore_env.restoration.batch import RestorationBatch
from restore_env.training.ema import update_average
from restore_env.training.fingerprints import digest_of_pairs
from restore_env.training.logging import scalars_of
from restore_env.training.optimizers import new_optimizer
from restore_env.training.trainer import Budget, Training

SYMMETRIES = 8
CHOICES = 20
"""Times that a training with a budget in iterations is measured to find out which of its networks is best."""
MARGIN = 16
"""Iterations whose episodes the memory has room for beyond what is drawn from; a checkpoint comes before it is full."""


@dataclass(frozen=True)
class AgentStatus:
    """How the training of an agent stands.

    Args:
        iteration: rounds of playing and learning so far.
        updates: of the network so far.
        steps: of the environment so far.
        loss: mean of the last iteration's updates, None before the first since the start or the resume.
        evaluation: on the validation pairs.
        share: of the oracle's gain, None if the oracle's is not known.
        kept: the gain of the network that is kept, in dB; minus infinity before the first was.
        epsilon: share of random actions.
        rate: the learning rate.
        seconds: of training so far.
        left: seconds of training that are left, None if unknown.
    """

    iteration: int
    updates: int
    steps: int
    loss: float | None
    evaluation: Evaluation
    share: float | None
    kept: float
    epsilon: float
    rate: float
    seconds: float
    left: float | None

    def __str__(self) -> str:
        share = "" if self.share is None else f" ({self.share:.1%} of the oracle's gain)"
        loss = "" if self.loss is None else f"loss {self.loss:.3g}, "
        left = "" if self.left is None else f", {self.left / 60:.1f} min left"
        kept = "" if isinf(self.kept) else f"kept {self.kept:.3f}, "
        return (
            f"{self.updates} updates, {self.steps} steps, {loss}gain {self.evaluation.gain:.3f} dB{share}, "
            f"{kept}{self.evaluation.steps:.2f} tools, {self.seconds / 60:.1f} min{left}"
        )

    def scalars(self) -> dict[str, float]:
        """What is logged."""
        found = scalars_of(self.evaluation) | {
            "training/updates": self.updates,
            "training/steps": self.steps,
            "training/epsilon": self.epsilon,
            "training/learning_rate": self.rate,
            "training/minutes": self.seconds / 60,
        }
        if self.share is not None:
            found["validation/share_of_oracle"] = self.share
        if self.loss is not None:
            found["training/loss"] = self.loss
        return found


class DRQNTraining(Training):
    """Trains a recurrent Q-network by playing episodes and learning from those remembered.

    The policy is the best of the networks measured: with a budget in minutes at every report, with one in iterations at
    fixed iterations, so that the same command ends with the same policy, however often it was stopped.

    Args:
        network: with its first weights; it is trained in place.
        new_batch: makes an environment's batch, on the device that trains.
        source: where episodes begin; their pairs depend on the seed and the episode's number alone.
        data: what that is; a training goes on with the same only.
        validation: pairs that it is measured on.
        options: how it is trained.
        budget: when it ends.
        folder: where checkpoint and memory are kept.
        name: of the policy.
        seed: of all that is drawn.
        oracle: what the best toolchains reach on the first of the validation pairs, None if it is not known.
        keep_last: whether the policy is the last one measured instead of the best: where the validation pairs are what
            is reported, nothing may be chosen by them.
    """

    def __init__(
        self,
        network: RecurrentQNetwork,
        new_batch: Callable[[], RestorationBatch],
        source: PairSource,
        data: str,
        validation: Pairs,
        options: Options,
        budget: Budget,
        folder: Path,
        name: str = "drqn",
        seed: int = 0,
        oracle: Evaluation | None = None,
        keep_last: bool = False,
    ) -> None:
        self.network = network.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.new_batch, self.source = new_batch, source
        self.data, self.validation, self.options = data, validation, options
        self.budget, self.checkpoint = budget, folder / "training.pt"
        self.name, self.seed, self.oracle, self.keep_last = name, seed, oracle, keep_last
        self.network.dropout.p = options.dropout
        self.target = deepcopy(network)
        self.average = deepcopy(network)
        self.kept_network = deepcopy(network)
        self.kept_gain = float("-inf")
        self.kept_share: float | None = None
        self._measured: tuple[int, Evaluation] | None = None
        self.device = next(network.parameters()).device
        self.perception = Perception(network, seed).to(self.device)
        learnt = [*network.parameters(), *(self.perception.parameters() if options.perception else ())]
        self.optimizer = new_optimizer(options.optimizer, learnt, options.learning_rate)
        self.updates = self.steps = 0
        self.loss: float | None = None
        batch = new_batch()
        self.toolbox, self.max_steps = batch.toolbox, batch.max_steps
        self._folder, self._saved = folder, 0
        self.restore()

    @cached_property
    def replay(self) -> Replay:
        """What is remembered; opened only once it is known that the checkpoint belongs to this training."""
        capacity = max(1, self.options.replay_steps // self.max_steps)
        margin = MARGIN * self.options.episodes
        side, actions = self.network.patch_size, self.network.n_tools + 1
        return Replay(self._folder / "replay", capacity, margin, self.max_steps, side, actions)

    @property
    def policy(self) -> RecurrentQPolicy:
        """The policy that was best on the validation pairs, or the last."""
        return RecurrentQPolicy(deepcopy(self.kept_network), self.toolbox.action_names, self.name)

    def advance(self) -> None:
        """Play episodes, then update the network."""
        margin = self.replay.slots - self.replay.capacity
        if self.replay.count + self.options.episodes - self._saved > margin:
            self.save()  # what is written now would else replace what the last checkpoint may draw from
        glances = self._glance()
        if glances is None or self.progress >= self.options.glance_share:
            self._play()
        plays = bool(self.steps) and self.steps >= self.options.learning_starts
        if plays or glances is not None:
            rng = np.random.default_rng([self.seed, 1, self.iteration])
            with torch.random.fork_rng():  # dropout draws from the global generator
                torch.manual_seed(int(rng.integers(2**63)))
                self.network.train()
                found = [self._update(rng, plays, glances) for _ in range(self.options.updates)]
                self.network.eval()
            self.loss = float(torch.stack(found).mean())
        self.iteration += 1
        total = self.budget.iterations
        if total is not None and (self.iteration % max(1, total // CHOICES) == 0 or self.iteration == total):
            self.choose()

    def save(self) -> None:
        """Write the checkpoint."""
        self.replay.flush()
        super().save()
        self._saved = self.replay.count

    def measure(self) -> Evaluation:
        """What the network reaches on the validation pairs, found once an iteration."""
        if self._measured is None or self._measured[0] != self.iteration:
            policy = RecurrentQPolicy(self.average, self.toolbox.action_names, self.name)
            device = str(self.device)
            found = evaluate(self.validation, policy, self.toolbox, max_steps=self.max_steps, device=device)
            self._measured = self.iteration, found
        return self._measured[1]

    def choose(self) -> None:
        """Keep the network if it is the best so far, or the last is wanted."""
        evaluation = self.measure()
        if self.keep_last or evaluation.gain > self.kept_gain:
            self.kept_gain, self.kept_network = evaluation.gain, deepcopy(self.average)
            self.kept_share = self._share(evaluation)

    def status(self) -> AgentStatus:
        """Measure how the training stands."""
        if self.budget.iterations is None:
            self.choose()  # in minutes nothing comes out the same twice anyway
        evaluation = self.measure()
        return AgentStatus(
            self.iteration,
            self.updates,
            self.steps,
            self.loss,
            evaluation,
            self._share(evaluation),
            self.kept_gain,
            self.options.exploration(self.progress),
            self.options.rate(self.progress, self.updates),
            self.seconds,
            self.budget.left(self.iteration, self.seconds),
        )

    def settings(self) -> dict[str, Any]:
        """Network, options, data, validation pairs, seed, actions and which policy is kept."""
        return {
            "network": self.network.arguments,
            "options": asdict(self.options),
            "data": self.data,
            "validation": digest_of_pairs(self.validation),
            "seed": self.seed,
            "actions": list(self.toolbox.action_names),
            "kept": "last" if self.keep_last else "best",
        }

    def state(self) -> dict[str, Any]:
        """Networks, optimizer, counts and the memory's state."""
        return {
            "network_weights": self.network.state_dict(),
            "target_weights": self.target.state_dict(),
            "average_weights": self.average.state_dict(),
            "perception_weights": self.perception.state_dict(),
            "kept_weights": self.kept_network.state_dict(),
            "kept_gain": self.kept_gain,
            "kept_share": self.kept_share,
            "optimizer": self.optimizer.state_dict(),
            "replay": self.replay.state(),
            "updates": self.updates,
            "steps": self.steps,
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on from those."""
        self.network.load_state_dict(state["network_weights"])
        self.target.load_state_dict(state["target_weights"])
        self.average.load_state_dict(state["average_weights"])
        self.perception.load_state_dict(state["perception_weights"])
        self.kept_network.load_state_dict(state["kept_weights"])
        self.kept_gain, self.kept_share = state["kept_gain"], state["kept_share"]
        self.optimizer.load_state_dict(state["optimizer"])
        if state["replay"]["count"] and not self.replay.found:
            raise ValueError(
                f"{self._folder / 'replay'}: what belongs to {self.checkpoint} is missing; delete that to start afresh"
            )
        self.replay.load_state(state["replay"])
        self.updates, self.steps = state["updates"], state["steps"]
        self._saved = self.replay.count

    def _play(self) -> None:
        count = self.options.episodes
        numbers = range(self.iteration * count, (self.iteration + 1) * count)
        batch = self.new_batch()
        batch.start(*draw_pairs(self.source, numbers, self.seed).to_tensors(self.device))
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.iteration)
        epsilon = self.options.exploration(self.progress)
        episodes = collect(self.network, batch, self.options, epsilon, generator)
        self.steps += int((episodes.action >= 0).sum())
        self.replay.add(episodes)

    def _glance(self) -> Glances | None:
        if not self.options.perception:
            return None
        count = self.options.glances
        numbers = range(self.iteration * count, (self.iteration + 1) * count)
        return draw_glances(self.source, numbers, self.seed, self.device)

    def _update(self, rng: np.random.Generator, plays: bool, glances: Glances | None) -> Tensor:
        loss = torch.zeros((), device=self.device)
        if plays:
            loss = loss + self._loss_of_play(rng)
        if glances is not None:
            chosen = torch.from_numpy(rng.integers(len(glances.image), size=BATCH)).to(self.device)
            some = Glances(*(values[chosen] for values in glances))
            loss = loss + self.options.perception * self.perception.loss(self.network, some)
        for group in self.optimizer.param_groups:
            group["lr"] = self.options.rate(self.progress, self.updates)
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), self.options.clip)
        self.optimizer.step()
        self.updates += 1
        update_average(self.average, self.network, self.options.average, self.updates)
        if self.updates % self.options.target_every == 0:
            self.target.load_state_dict(self.network.state_dict())
        return loss.detach()

    def _loss_of_play(self, rng: np.random.Generator) -> Tensor:
        options = self.options
        places, weights = self.replay.draw(options.batch_size, rng, options.priority)
        episodes = self.replay[places].to(self.device)
        if options.augment:
            episodes = turned(episodes, int(rng.integers(SYMMETRIES)))
        if options.shift:
            moves = rng.integers(-options.shift, options.shift + 1, size=(len(episodes), 2))
            episodes = shifted(episodes, torch.from_numpy(moves).to(self.device))
        values = unrolled(self.network, episodes)
        with torch.no_grad():
            later = unrolled(self.target, episodes)
        single, errors = losses(values, targets(episodes, values, later, options), episodes, options)
        if options.priority:
            self.replay.priority[places] = errors.detach().cpu().numpy() + 1e-3
        loss: Tensor = (weights.to(self.device) * single).mean()
        return loss

    def _share(self, evaluation: Evaluation) -> float | None:
        return share_of_best(evaluation, self.oracle) if self.oracle and self.oracle.gain else None

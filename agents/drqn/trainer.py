"""Deep recurrent Q-learning (Yu et al., CVPR 2018, section 3.2)."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import KW_ONLY, asdict, dataclass, replace
from functools import cached_property
from math import inf, isinf
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
import torch
from torch import Tensor

from agents.data import AgentData
from agents.drqn.config import DRQNConfig
from agents.drqn.losses import q_targets, random_shift, soft_regret, targets_of_actions, td_loss, unroll
from agents.drqn.new_actions import weights_of_tools
from agents.drqn.replay_buffer import Episodes, ReplayBuffer
from agents.drqn.rollout import collect_episodes
from restore_env.data.sources import draw_pairs
from restore_env.errors import FormatError
from restore_env.evaluation import Evaluation, evaluate, share_of_best
from restore_env.policies.ensemble import EnsembleQPolicy
from restore_env.policies.recurrent_q import RecurrentQNetwork, RecurrentQPolicy
from restore_env.restoration.batch import RestorationBatch
from restore_env.training.ema import averaged
from restore_env.training.fingerprints import digest_of_pairs
from restore_env.training.logging import scalars_of
from restore_env.training.optimizers import new_optimizer, take_step
from restore_env.training.trainer import Budget, Status, Training
from restore_env.utils.checks import check_whole
from restore_env.utils.tensors import SYMMETRIES, augment_dihedral

EVALUATIONS: Final = 20
"""Number of evaluations that choose the best network, in a training with a budget in iterations."""
PESSIMISM: Final = 0.9
"""How much values that are too high count where only those of new tools are learnt. Where all tools are worth about the
same, the tool whose value is the most uncertain would be taken, and that is the new one."""

MARGIN: Final = 16
"""Iterations of episodes that the replay buffer has room for between two checkpoints."""


@dataclass(eq=False)
class DRQNTraining(Training):
    """Trains one or several recurrent Q-networks; call `run`.

    An iteration plays episodes side by side, adds them to the replay buffer, and updates the network. The policy is
    the best of the networks that were evaluated. With a budget in minutes each report evaluates, with one in iterations
    fixed iterations do: the same command then ends with the same policy, however often it was stopped.

    Args:
        networks: the networks with their first weights; they are trained in place. Of several, each learns from the
            values that the next one gives to its choices, and the policy takes the mean of their Q-values.
        batch: plays the episodes, on the device that trains.
        data: where episodes begin, the pairs to measure on, and what the training was given.
        config: hyperparameters.
        budget: when the training ends.
        folder: folder of the checkpoint and the replay buffer.
        name: name of the policy.
        seed: seed of all that is drawn.
        oracle: results of the best toolchains on the first validation pairs; None if unknown.
        keep_last: whether the policy is the last network evaluated instead of the best. Choose this where the gain on
            the validation pairs is reported.
        only_tools: numbers of the tools to learn about; the weights that concern others stay as they are. None: all.

    Raises:
        ValueError: if the checkpoint in the folder belongs to another training.
    """

    networks: list[RecurrentQNetwork]
    batch: RestorationBatch
    data: AgentData
    config: DRQNConfig
    budget: Budget
    folder: Path
    _: KW_ONLY
    name: str = "drqn"
    seed: int = 0
    oracle: Evaluation | None = None
    keep_last: bool = False
    only_tools: Sequence[int] | None = None
    saved = (
        *("networks", "target", "averages", "kept_networks", "optimizers"),
        *("kept_score", "kept_gain", "kept_share", "updates", "steps"),
    )

    def __post_init__(self) -> None:
        config = self.config
        for network in self.networks:
            network.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.toolbox, self.checkpoint = self.batch.toolbox, self.folder / "training.pt"
        self.device = next(self.network.parameters()).device
        self.target = deepcopy(self.network)  # of several networks, another one takes its place
        self.averages = [averaged(network, config.ema_decay) for network in self.networks]
        self.kept_networks, self.kept_score, self.kept_gain = deepcopy(self.networks), -inf, -inf
        self.kept_share: float | None = None
        self.optimizers = [
            new_optimizer(config.optimizer, network.parameters(), config.learning_rate) for network in self.networks
        ]
        self.updates = self.steps = self._saved = 0
        self._measured: tuple[int, Evaluation] | None = None
        self.restore()

    @cached_property
    def replay_buffer(self) -> ReplayBuffer:
        """The replay buffer; it opens its files only once the checkpoint is known to belong to this training."""
        max_steps, n_envs = self.batch.max_steps, self.config.n_envs
        capacity = max(1, self.config.buffer_size // max_steps)
        patch_size, actions = self.network.patch_size, self.network.n_tools + 1
        return ReplayBuffer(
            self.folder / "replay", capacity, MARGIN * n_envs, max_steps, patch_size, actions, self._saved
        )

    @property
    def network(self) -> RecurrentQNetwork:
        """The first network; all have the same sizes."""
        return self.networks[0]

    @property
    def policy(self) -> RecurrentQPolicy | EnsembleQPolicy:
        """The policy of the networks that are kept."""
        return self._policy_of(deepcopy(self.kept_networks))

    @property
    def averaged_networks(self) -> list[RecurrentQNetwork]:
        """The networks with the averaged weights."""
        return [cast(RecurrentQNetwork, average.module) for average in self.averages]

    def valuer(self, number: int) -> RecurrentQNetwork:
        """Return the network that values what a network chooses: the next one, or else an older copy of itself."""
        if len(self.networks) == 1:
            return self.target
        return self.averaged_networks[(number + 1) % len(self.networks)]

    @property
    def rate(self) -> float:
        """Learning rate of the next update."""
        return self.config.rate(self.progress, self.updates)

    def advance(self) -> None:
        """Play episodes, then update the network."""
        config, buffer = self.config, self.replay_buffer
        if buffer.count + config.n_envs - self._saved > buffer.slots - buffer.capacity:
            self.save()  # else these episodes would replace some that the last checkpoint samples
        self.collect_rollouts()
        if self.steps >= max(1, config.learning_starts):
            self.train()
        self.iteration += 1
        total = self.budget.iterations
        if total is not None and (self.iteration % max(1, total // EVALUATIONS) == 0 or self.iteration == total):
            self.choose()

    def collect_rollouts(self) -> None:
        """Play episodes with exploration and add them to the replay buffer."""
        n = self.config.n_envs
        numbers = range(self.iteration * n, (self.iteration + 1) * n)
        self.batch.start(*draw_pairs(self.data.source, numbers, self.seed).to_tensors(self.device))
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.iteration)
        exploration_rate = self.config.exploration_rate(self.progress)
        n_tried, gamma = self.config.n_counterfactual, self.config.gamma
        number = self.iteration % len(self.networks)  # the networks take turns
        network = self.networks[number]
        target = self.valuer(number) if self.config.double_q else network
        episodes = collect_episodes(network, target, self.batch, exploration_rate, n_tried, gamma, generator)
        self.steps += int((episodes.action >= 0).sum())
        self.replay_buffer.add(episodes)

    def train(self) -> None:
        """Update the network by whole toolchains from the replay buffer (Yu et al., CVPR 2018, section 3.2)."""
        config, losses = self.config, []
        rng = np.random.default_rng([self.seed, 1, self.iteration])
        for _ in range(config.gradient_steps):
            # Whole toolchains, so that the LSTM's state at each step is that of the present weights
            episodes = self._sample(rng)
            number = self.updates % len(self.networks)
            network, optimizer = self.networks[number], self.optimizers[number]
            q_values, preferences = unroll(network, episodes)  # twice (n, t, actions)
            with torch.no_grad():
                target_q_values = unroll(self.valuer(number), episodes).q_values  # (n, t, actions)
                taken = q_targets(episodes, preferences, target_q_values, config.gamma, config.double_q)  # (n, t)
                targets = targets_of_actions(episodes, taken)  # (n, t) -> (n, t, actions)
            loss = td_loss(q_values, targets, config.loss, 0.5 if self.only_tools is None else PESSIMISM).mean()
            if config.regret_coef:
                loss = loss + config.regret_coef * soft_regret(preferences, targets).mean()
            optimizer.zero_grad()
            loss.backward()
            with self._others_kept(network):
                take_step(optimizer, network, self.rate, config.max_grad_norm)
            self.averages[number].update_parameters(network)
            self.updates += 1
            if self.updates % config.target_update_interval == 0:
                self.target.load_state_dict(self.network.state_dict())
            losses.append(loss.detach())
        self.loss = float(torch.stack(losses).mean())

    @cached_property
    def _learnt_weights(self) -> Mapping[str, Tensor]:
        """Which weights concern the tools to learn about; empty if all tools are."""
        return {} if self.only_tools is None else weights_of_tools(self.network, self.only_tools)

    @contextmanager
    def _others_kept(self, network: RecurrentQNetwork) -> Iterator[None]:
        """Let an update change only the weights that concern the tools to learn about."""
        masks, before = self._learnt_weights, deepcopy(network.state_dict()) if self._learnt_weights else {}
        for name, mask in masks.items():
            weight = network.get_parameter(name)
            if weight.grad is not None:
                weight.grad *= mask
        yield
        with torch.no_grad():  # an optimizer may change weights whose gradient is 0
            for name, mask in masks.items():
                weight = network.get_parameter(name)
                weight.copy_(torch.where(mask, weight, before[name]))

    def choose(self) -> None:
        """Keep the averaged networks if they are the best so far, or the last are wanted."""
        evaluation = self.measure()
        if self.keep_last or evaluation.reward > self.kept_score:
            self.kept_score, self.kept_gain = evaluation.reward, evaluation.gain
            self.kept_networks = deepcopy(self.averaged_networks)
            self.kept_share = self._share(evaluation)

    def measure(self) -> Evaluation:
        """Return the averaged networks' results on the validation pairs, measured once an iteration."""
        if self._measured is None or self._measured[0] != self.iteration:
            policy = self._policy_of(self.averaged_networks)
            steps, device = self.batch.max_steps, str(self.device)
            options: dict[str, Any] = {"max_steps": steps, "reward": self.batch.reward, "device": device}
            found = evaluate(self.data.validation, policy, self.toolbox, **options)
            self._measured = self.iteration, found
        return self._measured[1]

    @torch.no_grad()
    def expected_return(self) -> float:
        """Return the averaged networks' highest Q-value at the start of an episode, mean over the validation pairs."""
        batch, policy = RestorationBatch(self.toolbox), self._policy_of(self.averaged_networks)
        batch.start(self.data.validation.to_tensors(self.device)[0])
        values, _ = policy.q_values(batch.observe(), policy.initial_state(len(batch)))
        return float(values.amax(1).mean())

    def status(self) -> Status:
        """Measure how the training stands."""
        if self.budget.iterations is None:
            self.choose()  # a training in minutes is not reproducible anyway
        evaluation = self.measure()
        share = self._share(evaluation)
        scalars = scalars_of(evaluation) | {
            "training/updates": self.updates,
            "training/steps": self.steps,
            "training/exploration_rate": self.config.exploration_rate(self.progress),
            "validation/expected_return": self.expected_return(),  # far above the reward: tools are overrated
        }
        of_oracle = ""
        if share is not None:
            scalars["validation/share_of_oracle"] = share
            of_oracle = f" ({share:.1%} of the oracle's gain)"
        kept = "" if isinf(self.kept_gain) else f", best {self.kept_gain:.3f}"
        measured = f"gain {evaluation.gain:.3f} dB{of_oracle}{kept}, {evaluation.steps:.2f} tools"
        return self.new_status(f"{self.updates} updates, {self.steps} steps", measured, scalars)

    def settings(self) -> dict[str, Any]:
        """Return the network, config, data, validation pairs, seed, actions, and which policy is kept."""
        only = {} if self.only_tools is None else {"only_tools": list(self.only_tools)}
        return only | {
            "network": self.network.arguments,
            "config": asdict(self.config),
            "data": self.data.identity,
            "validation": digest_of_pairs(self.data.validation),
            "seed": self.seed,
            "actions": list(self.toolbox.action_names),
            "kept": "last" if self.keep_last else "best",
        }

    def state(self) -> dict[str, Any]:
        """Return the networks, the optimizer and the counts."""
        return super().state() | {"episodes": self.replay_buffer.count}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restore what `state` returned."""
        super().load_state(state)
        self._saved = check_whole("episodes", state["episodes"], 0)
        try:
            _ = self.replay_buffer
        except FormatError as error:
            raise FormatError(f"{error}; delete {self.checkpoint} to start afresh") from error

    def save(self) -> None:
        """Write the checkpoint."""
        self.replay_buffer.flush()
        super().save()
        self._saved = self.replay_buffer.count

    def _sample(self, rng: np.random.Generator) -> Episodes:
        """Return a batch of episodes with augmented images, on the device that trains."""
        episodes = self.replay_buffer.sample(self.config.batch_size, rng).to(self.device)
        images, pad = episodes.image, self.config.random_shift_pad
        if self.config.augment:
            images = augment_dihedral(images, int(rng.integers(SYMMETRIES)))
        if pad:
            moves = rng.integers(-pad, pad + 1, size=(len(episodes), 2))
            images = random_shift(images, torch.from_numpy(moves).to(self.device))
        return replace(episodes, image=images)

    def _policy_of(self, networks: list[RecurrentQNetwork]) -> RecurrentQPolicy | EnsembleQPolicy:
        """Return the policy of one network, or of the mean of several."""
        members = [RecurrentQPolicy(network, self.toolbox.action_names, self.name) for network in networks]
        return members[0] if len(members) == 1 else EnsembleQPolicy(members, self.name)

    def _share(self, evaluation: Evaluation) -> float | None:
        return share_of_best(evaluation, self.oracle) if self.oracle and self.oracle.gain else None

"""Counterfactual actions: their outcomes can be computed without taking a step, so the network learns them too."""

import torch
from torch import Tensor

from agents.drqn.config import DRQNConfig
from restore_env.policies.recurrent_q import LSTMState, RecurrentQNetwork
from restore_env.restoration.batch import Outcome, RestorationBatch, Trial
from restore_env.utils.tensors import bytes_to_floats, tensor_to_images


def step_with_trials(
    network: RecurrentQNetwork,
    batch: RestorationBatch,
    state: LSTMState,
    chosen: Tensor,
    values: Tensor,
    config: DRQNConfig,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor, Tensor]:
    """Try the chosen action and some others, then take the step that was chosen.

    Args:
        network: values the states that the actions lead to.
        batch: n started episodes.
        state: the LSTM's state.
        chosen: int64 (n,), the actions to take.
        values: float32 (n, actions), Q-values of the present states.
        config: how many tools are tried.
        generator: draws them.

    Returns:
        For each action float32 (n, actions) rewards, float32 (n, actions) best Q-values of the next state, and bool
        (n, actions), whether it was tried.
    """
    acting = ~batch.ended
    tried = draw_actions(chosen, values, config, generator)  # (k, n)
    trials = [batch.attempt(actions) for actions in tried]
    unknown = torch.zeros_like(values)
    rewards = torch.stack([trial.outcome.reward.float() for trial in trials], dim=1)  # (n, k)
    following = torch.stack([_value_after(network, trial, state) for trial in trials], dim=1)  # (n, k)
    known = (unknown.scatter(1, tried.T, 1.0) > 0) & acting.unsqueeze(1)
    batch.commit(_pick(trials, (tried == chosen).int().argmax(0)))
    return unknown.scatter(1, tried.T, rewards), unknown.scatter(1, tried.T, following), known


def draw_actions(chosen: Tensor, values: Tensor, config: DRQNConfig, generator: torch.Generator) -> Tensor:
    """Return the actions to try, int64 (k, n): the chosen one, *stop*, which costs nothing, and some tools.

    The tools are drawn without replacement by the softmax of the Q-values: they have the largest Q-values after Gumbel
    noise is added (Kool et al., 2019).
    """
    actions = values.shape[1]
    if config.n_counterfactual >= actions - 1:
        return torch.arange(actions, device=chosen.device).unsqueeze(1).expand(-1, len(chosen))
    noise = -torch.empty(values.shape).exponential_(generator=generator).log().to(chosen.device)
    order = noise + (values / config.counterfactual_temperature if config.counterfactual_temperature else 0.0)
    order.scatter_(1, chosen.unsqueeze(1), -torch.inf)  # the chosen action is tried anyway
    drawn = order[:, :-1].argsort(1, descending=True)[:, : config.n_counterfactual].T  # (n, actions) -> (k, n)
    return torch.cat([chosen.unsqueeze(0), torch.full_like(chosen, actions - 1).unsqueeze(0), drawn])


def _value_after(network: RecurrentQNetwork, trial: Trial, state: LSTMState) -> Tensor:
    """Return the best Q-values of the states that a trial leads to, float32 (n,); 0 where it ends the episode."""
    over = trial.outcome.terminated | trial.outcome.truncated | ~trial.acting
    if bool(over.all()):
        return torch.zeros_like(trial.psnr, dtype=torch.float32)
    # An episode that stops has no next state; its row is computed too and not used.
    values, _ = network(bytes_to_floats(tensor_to_images(trial.images)), trial.actions, state)
    return torch.where(over, 0.0, values.amax(1))


def _pick(trials: list[Trial], numbers: Tensor) -> Trial:
    """Return the trial whose row i is that of the trial number `numbers[i]`."""
    rows = torch.arange(len(numbers), device=numbers.device)

    def pick(columns: list[Tensor]) -> Tensor:
        return torch.stack(columns)[numbers, rows]  # (k, n, ...) -> (n, ...)

    outcomes = zip(*(trial.outcome for trial in trials), strict=True)
    return Trial(
        pick([trial.images for trial in trials]).contiguous(memory_format=torch.channels_last),
        pick([trial.psnr for trial in trials]),
        Outcome(*(pick(list(column)) for column in outcomes)),
        trials[0].acting,
        pick([trial.applied for trial in trials]),
        pick([trial.actions for trial in trials]),
        trials[0].taken,
    )

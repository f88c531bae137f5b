"""Playing episodes to learn from."""

import torch
from torch import Tensor

from agents.options import Options
from agents.replay import NO_STEP, Episodes
from restore_env.arrays import bytes_to_floats, tensor_to_images
from restore_env.policies.recurrent_q import LSTMState, RecurrentQNetwork
from restore_env.restoration import Outcome, RestorationBatch, Trial

_Learnt = tuple[Tensor, Tensor, Tensor, Tensor]
"""Of one step: the action (n,), and reward, value and known (n, actions)."""


@torch.no_grad()
def collect(
    network: RecurrentQNetwork,
    batch: RestorationBatch,
    options: Options,
    epsilon: float,
    generator: torch.Generator,
) -> Episodes:
    """Play the episodes of a started batch to their end, and note what every action did or would have done.

    Args:
        network: who acts, and who values the states that an action leads to.
        batch: started episodes; with references, for there are rewards.
        options: whether all tools are tried.
        epsilon: share of random actions.
        generator: what draws those; on the CPU.
    """
    n, actions = len(batch), len(batch.toolbox) + 1
    memory, steps = network.initial_state(n), []
    while not bool(batch.ended.all()):
        seen = batch.observe()
        values, memory = network(bytes_to_floats(seen.image), seen.previous_action, memory)
        explores = torch.rand(n, generator=generator) < epsilon
        at_random = torch.randint(actions, (n,), generator=generator)
        chosen = torch.where(explores, at_random, values.argmax(1).cpu()).to(batch.images.device)
        learnt = _tried(network, batch, memory, chosen) if options.targets == "all" else _taken(batch, chosen)
        steps.append((seen.image, *learnt))
    while len(steps) < batch.max_steps:
        image, action, reward, value, known = steps[-1]
        steps.append((image, torch.full_like(action, NO_STEP), reward, value, torch.zeros_like(known)))
    return Episodes(*(torch.stack(column, dim=1) for column in zip(*steps, strict=True)))


def _taken(batch: RestorationBatch, chosen: Tensor) -> _Learnt:
    """Take a step and note what it brought."""
    acting = ~batch.ended
    outcome = batch.step(chosen)
    known = torch.zeros(len(batch), len(batch.toolbox) + 1, dtype=torch.bool, device=chosen.device)
    known[torch.arange(len(batch)), chosen] = acting
    reward = torch.where(known, outcome.reward.float().unsqueeze(1), 0.0)
    return torch.where(acting, chosen, NO_STEP), reward, torch.zeros_like(reward), known


def _tried(network: RecurrentQNetwork, batch: RestorationBatch, memory: LSTMState, chosen: Tensor) -> _Learnt:
    """Try every action, note what each would bring and what would follow, and take the step that was chosen."""
    acting = ~batch.ended
    everywhere = torch.ones_like(chosen)
    trials = [batch.attempt(everywhere * action) for action in range(len(batch.toolbox) + 1)]
    reward = torch.stack([trial.outcome.reward.float() for trial in trials], dim=1)
    value = torch.stack([_value_after(network, trial, memory) for trial in trials], dim=1)
    batch.commit(_picked(trials, torch.where(acting, chosen, batch.toolbox.stop)))
    known = acting.unsqueeze(1).expand_as(reward)
    return torch.where(acting, chosen, NO_STEP), reward, value, known


def _value_after(network: RecurrentQNetwork, trial: Trial, memory: LSTMState) -> Tensor:
    """The best Q-value of the states that a trial leads to; 0 where it ends the episode."""
    over = trial.outcome.terminated | trial.outcome.truncated | ~trial.acting
    if bool(over.all()):
        return torch.zeros_like(trial.psnr, dtype=torch.float32)
    # An episode that stops has no next state; its row is computed along and not used.
    values, _ = network(bytes_to_floats(tensor_to_images(trial.images)), trial.actions, memory)
    return torch.where(over, 0.0, values.amax(1))


def _picked(trials: list[Trial], chosen: Tensor) -> Trial:
    """Each episode's row of the trial of the action it chose."""
    rows = torch.arange(len(chosen), device=chosen.device)

    def pick(columns: list[Tensor]) -> Tensor:
        return torch.stack(columns)[chosen, rows]

    outcomes = zip(*(trial.outcome for trial in trials), strict=True)
    return Trial(
        pick([trial.images for trial in trials]).contiguous(memory_format=torch.channels_last),
        pick([trial.psnr for trial in trials]),
        Outcome(*(pick(list(column)) for column in outcomes)),
        trials[0].acting,
        pick([trial.applied for trial in trials]),
        chosen,
        trials[0].taken,
    )

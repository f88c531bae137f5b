"""Playing episodes to learn from."""

import torch
from torch import Tensor

from agents.drqn.config import Options
from agents.drqn.replay_buffer import NO_STEP, Episodes
from restore_env.policies.recurrent_q import LSTMState, RecurrentQNetwork
from restore_env.restoration.batch import Outcome, RestorationBatch, Trial
from restore_env.utils.tensors import bytes_to_floats, tensor_to_images

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
        options: whether tools are tried, and how many.
        epsilon: share of random actions.
        generator: what draws those, and the tools to try; on the CPU.
    """
    n, actions = len(batch), len(batch.toolbox) + 1
    memory, steps = network.initial_state(n), []
    while not bool(batch.ended.all()):
        seen = batch.observe()
        values, memory = network(bytes_to_floats(seen.image), seen.previous_action, memory)
        explores = torch.rand(n, generator=generator) < epsilon
        at_random = torch.randint(actions, (n,), generator=generator)
        chosen = torch.where(explores, at_random, values.argmax(1).cpu()).to(batch.images.device)
        if options.targets == "all":
            tried = _candidates(chosen, values, options, generator)
            learnt = _tried(network, batch, memory, chosen, tried)
        else:
            learnt = _taken(batch, chosen)
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


def _tried(
    network: RecurrentQNetwork,
    batch: RestorationBatch,
    memory: LSTMState,
    chosen: Tensor,
    tried: Tensor,
) -> _Learnt:
    """Try actions, int64 (k, n), note what each brings and what would follow, and take the step that was chosen."""
    acting = ~batch.ended
    actions = len(batch.toolbox) + 1
    trials = [batch.attempt(candidate) for candidate in tried]
    unknown = torch.zeros(len(batch), actions, device=chosen.device)
    reward = unknown.scatter(1, tried.T, torch.stack([trial.outcome.reward.float() for trial in trials], dim=1))
    value = unknown.scatter(1, tried.T, torch.stack([_value_after(network, trial, memory) for trial in trials], dim=1))
    known = (unknown.scatter(1, tried.T, 1.0) > 0) & acting.unsqueeze(1)
    batch.commit(_picked(trials, (tried == chosen).int().argmax(0)))
    return torch.where(acting, chosen, NO_STEP), reward, value, known


def _candidates(chosen: Tensor, values: Tensor, options: Options, generator: torch.Generator) -> Tensor:
    """The actions to try, int64 (k, n): all, or the chosen one, *stop*, which costs nothing, and some tools.

    Those are drawn without replacement by the softmax of the Q-values `values`, (n, actions): the largest of the
    values with Gumbel noise (Kool et al., 2019).
    """
    actions = values.shape[1]
    if not options.tries:
        return torch.arange(actions, device=chosen.device).unsqueeze(1).expand(-1, len(chosen))
    noise = -torch.empty(values.shape).exponential_(generator=generator).log().to(chosen.device)
    order = noise + (values / options.try_temperature if options.try_temperature else 0.0)
    order.scatter_(1, chosen.unsqueeze(1), -torch.inf)  # what is chosen is tried anyway, so it comes last
    drawn = order[:, :-1].argsort(1, descending=True)[:, : options.tries].T
    return torch.cat([chosen.unsqueeze(0), torch.full_like(chosen, actions - 1).unsqueeze(0), drawn])


def _value_after(network: RecurrentQNetwork, trial: Trial, memory: LSTMState) -> Tensor:
    """The best Q-value of the states that a trial leads to; 0 where it ends the episode."""
    over = trial.outcome.terminated | trial.outcome.truncated | ~trial.acting
    if bool(over.all()):
        return torch.zeros_like(trial.psnr, dtype=torch.float32)
    # An episode that stops has no next state; its row is computed along and not used.
    values, _ = network(bytes_to_floats(tensor_to_images(trial.images)), trial.actions, memory)
    return torch.where(over, 0.0, values.amax(1))


def _picked(trials: list[Trial], numbers: Tensor) -> Trial:
    """Each episode's row of one of the trials, that with the number given for it."""
    rows = torch.arange(len(numbers), device=numbers.device)

    def pick(columns: list[Tensor]) -> Tensor:
        return torch.stack(columns)[numbers, rows]

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

"""Episodes that are played to learn from."""

import torch
from torch import Tensor

from agents.drqn.config import DRQNConfig
from agents.drqn.counterfactual import step_with_trials
from agents.drqn.replay_buffer import NO_STEP, Episodes
from restore_env.policies.recurrent_q import RecurrentQNetwork
from restore_env.restoration.batch import RestorationBatch
from restore_env.utils.tensors import bytes_to_floats


@torch.no_grad()
def collect_episodes(
    network: RecurrentQNetwork,
    batch: RestorationBatch,
    config: DRQNConfig,
    epsilon: float,
    generator: torch.Generator,
) -> Episodes:
    """Play the started episodes of a batch to their end.

    Args:
        network: the network that acts, and that values the states which tried actions lead to.
        batch: n started episodes with references, which rewards need.
        config: whether other actions are tried, and how many.
        epsilon: probability of a random action.
        generator: draws those actions and the tools to try; on the CPU.

    Returns:
        The n episodes, all of the batch's largest number of steps.
    """
    n, actions = len(batch), len(batch.toolbox) + 1
    state, steps = network.initial_state(n), []
    while not bool(batch.ended.all()):
        seen = batch.observe()
        values, state = network(bytes_to_floats(seen.image), seen.previous_action, state)
        explores = torch.rand(n, generator=generator) < epsilon
        at_random = torch.randint(actions, (n,), generator=generator)
        chosen = torch.where(explores, at_random, values.argmax(1).cpu()).to(batch.images.device)
        action = torch.where(batch.ended, NO_STEP, chosen)
        if config.n_counterfactual:
            learnt = step_with_trials(network, batch, state, chosen, values, config, generator)
        else:
            learnt = _step(batch, chosen)
        steps.append((seen.image, action, *learnt))
    while len(steps) < batch.max_steps:
        image, action, reward, value, known = steps[-1]
        steps.append((image, torch.full_like(action, NO_STEP), reward, value, torch.zeros_like(known)))
    # t times (n, ...) -> (n, t, ...)
    return Episodes(*(torch.stack(column, dim=1) for column in zip(*steps, strict=True)))


def _step(batch: RestorationBatch, chosen: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Take a step; return reward, value and known, (n, actions) each, of which only the action taken is known."""
    acting = ~batch.ended
    outcome = batch.step(chosen)
    known = torch.zeros(len(batch), len(batch.toolbox) + 1, dtype=torch.bool, device=chosen.device)
    known[torch.arange(len(batch)), chosen] = acting
    reward = torch.where(known, outcome.reward.float().unsqueeze(1), 0.0)
    return reward, torch.zeros_like(reward), known

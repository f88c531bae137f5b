"""Episodes that are played to learn from."""

import torch

from agents.drqn.replay_buffer import NO_STEP, Episodes
from restore_env.policies.recurrent_q import RecurrentQNetwork
from restore_env.restoration.batch import RestorationBatch
from restore_env.utils.tensors import bytes_to_floats


@torch.no_grad()
def collect_episodes(
    network: RecurrentQNetwork, batch: RestorationBatch, exploration_rate: float, generator: torch.Generator
) -> Episodes:
    """Play the started episodes of a batch to their end.

    Args:
        network: the network that acts.
        batch: n started episodes with references, which rewards need.
        exploration_rate: probability of a random action.
        generator: draws those actions, on the CPU.

    Returns:
        The n episodes, all of the batch's largest number of steps.
    """
    n, actions = len(batch), len(batch.toolbox) + 1
    state, steps = network.initial_state(n), []
    while not bool(batch.ended.all()):
        seen = batch.observe()
        values, state = network(bytes_to_floats(seen.image), seen.previous_action, state)
        explores = torch.rand(n, generator=generator) < exploration_rate
        at_random = torch.randint(actions, (n,), generator=generator)
        chosen = torch.where(explores, at_random, values.argmax(1).cpu()).to(batch.images.device)
        action = torch.where(batch.ended, NO_STEP, chosen)
        steps.append((seen.image, action, batch.step(chosen).reward.float()))
    while len(steps) < batch.max_steps:
        image, action, reward = steps[-1]
        steps.append((image, torch.full_like(action, NO_STEP), torch.zeros_like(reward)))
    # t times (n, ...) -> (n, t, ...)
    return Episodes(*(torch.stack(column, dim=1) for column in zip(*steps, strict=True)))

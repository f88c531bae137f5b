"""Episodes that are played to learn from."""

import torch

from agents.drqn.counterfactual import Valuer, draw_actions, step_with_trials
from agents.drqn.replay_buffer import NO_STEP, Episodes
from restore_env.policies.recurrent_q import RecurrentQNetwork
from restore_env.restoration.batch import RestorationBatch
from restore_env.utils.tensors import bytes_to_floats


@torch.no_grad()
def collect_episodes(
    network: RecurrentQNetwork,
    target: RecurrentQNetwork,
    batch: RestorationBatch,
    exploration_rate: float,
    n_counterfactual: int,
    gamma: float,
    generator: torch.Generator,
) -> Episodes:
    """Play the started episodes of a batch to their end.

    Args:
        network: the network that acts.
        target: the network that values what `network` would do in the states that tried tools lead to.
        batch: n started episodes with references, which rewards need.
        exploration_rate: probability of a random action.
        n_counterfactual: number of tools that are also tried at each step.
        gamma: discount factor of the values of tried tools.
        generator: draws the random actions and the tools to try, on the CPU.

    Returns:
        The n episodes, all of the batch's largest number of steps.
    """
    n, actions = len(batch), len(batch.toolbox) + 1
    state, target_state, steps = network.initial_state(n), target.initial_state(n), []
    while not bool(batch.ended.all()):
        seen = batch.observe()
        images = bytes_to_floats(seen.image)
        state = network.lstm_step(network.embed(images), seen.previous_action, state)
        preferences = network.preferences(state)
        explores = torch.rand(n, generator=generator) < exploration_rate
        at_random = torch.randint(actions, (n,), generator=generator)
        chosen = torch.where(explores, at_random, preferences.argmax(1).cpu()).to(batch.images.device)
        action = torch.where(batch.ended, NO_STEP, chosen)
        if n_counterfactual:
            tried = draw_actions(chosen, preferences, n_counterfactual, generator)
            if target is network:
                target_state = state
            else:
                target_state = target.lstm_step(target.embed(images), seen.previous_action, target_state)
            valuer = Valuer(network, target, state, target_state, gamma)
            reward, outcomes = step_with_trials(batch, tried, valuer)
        else:
            reward, outcomes = batch.step(chosen).reward.float(), torch.full_like(preferences, torch.nan)
        steps.append((seen.image, action, reward, outcomes))
    while len(steps) < batch.max_steps:
        image, action, reward, outcomes = steps[-1]
        nothing = torch.full_like(action, NO_STEP), torch.zeros_like(reward), torch.full_like(outcomes, torch.nan)
        steps.append((image, *nothing))
    # t times (n, ...) -> (n, t, ...)
    return Episodes(*(torch.stack(column, dim=1) for column in zip(*steps, strict=True)))

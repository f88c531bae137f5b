"""Properties that hold for any batch, any actions and any options (Hypothesis draws them; what it draws is seeded)."""

import numpy as np
import torch
from hypothesis import given, settings, strategies as st

from restore_env import ImageRestoreEnv, Pairs, Tool, Toolbox
from restore_env.envs.vector_env import ImageRestoreVectorEnv
from restore_env.restoration.batch import NO_TOOL, RestorationBatch
from restore_env.restoration.metrics import psnr
from restore_env.toolbox.networks import ContextCNN, EightLayerCNN, ThreeLayerCNN, TwoScaleCNN

SEEDED = settings(derandomize=True, deadline=None, max_examples=50)


def make_toolbox() -> Toolbox:
    """Networks of all kinds and a function of each kind."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        networks = [ThreeLayerCNN(4, 3), EightLayerCNN(4, 3), TwoScaleCNN(4, 4), ContextCNN(4, 4, context=4)]
    tools = [Tool.from_module(type(network).__name__, network) for network in networks]
    darken = Tool("darken", lambda images: images * 0.9)
    return Toolbox([*tools, darken, Tool.from_function("mirror", lambda image: image[:, ::-1])])


TOOLBOX = make_toolbox()
ACTIONS = st.integers(0, len(TOOLBOX))


def images(n: int, height: int, width: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(n, 3, height, width, generator=torch.Generator().manual_seed(seed))


@SEEDED
@given(
    actions=st.lists(ACTIONS, min_size=1, max_size=12),
    height=st.integers(1, 70),
    width=st.integers(1, 70),
    seed=st.integers(0, 9),
)
def test_a_batch_is_its_images_one_by_one(actions, height, width, seed):
    batch = images(len(actions), height, width, seed)
    before = batch.clone()
    result = TOOLBOX.apply(batch, actions)
    assert torch.equal(batch, before) and result.shape == batch.shape and result.dtype == batch.dtype
    for row, action in enumerate(actions):
        alone = TOOLBOX.apply(batch[row : row + 1], [action])[0]
        torch.testing.assert_close(result[row], alone, rtol=0, atol=1e-5)  # order of float32 sums
        if action == TOOLBOX.stop:
            assert torch.equal(result[row], batch[row])


@SEEDED
@given(
    actions=st.lists(st.lists(ACTIONS, min_size=4, max_size=4), min_size=1, max_size=5),
    max_steps=st.integers(1, 4),
    time_limit=st.sampled_from(["truncate", "terminate"]),
    stop_if_worse=st.booleans(),
)
def test_an_episode_is_what_was_done_until_it_ended(actions, max_steps, time_limit, stop_if_worse):
    """The rewards add up to the gain, the toolchain is what was applied, and nothing happens after the end."""
    batch = RestorationBatch(TOOLBOX, max_steps=max_steps, time_limit=time_limit, stop_if_worse=stop_if_worse)
    distorted, reference = images(4, 12, 12, 1), images(4, 12, 12, 2)
    batch.start(distorted, reference)
    paid, expected, ended = (
        torch.zeros(4, dtype=torch.float64),
        [[] for _ in range(4)],
        torch.zeros(4, dtype=torch.bool),
    )
    while not batch.ended.all():
        chosen = actions[int(batch.steps.max()) % len(actions)]
        held = batch.images.clone()
        outcome = batch.step(torch.tensor(chosen))
        for row in range(4):
            if ended[row]:
                assert torch.equal(batch.images[row], held[row]) and outcome.reward[row] == 0
                assert not outcome.terminated[row] and not outcome.truncated[row]
            elif chosen[row] != TOOLBOX.stop:
                expected[row].append(chosen[row])
        assert not (outcome.terminated & outcome.truncated).any()
        paid += outcome.reward
        ended = batch.ended.clone()
    torch.testing.assert_close(paid, batch.psnr - batch.psnr_initial)
    torch.testing.assert_close(batch.psnr, psnr(batch.images, reference))
    for row, chain in enumerate(expected):
        assert batch.toolchains[row].tolist() == chain + [NO_TOOL] * (max_steps - len(chain))
        restored = distorted[row : row + 1]
        for action in chain:
            restored = TOOLBOX.apply(restored, [action])
        torch.testing.assert_close(batch.images[row : row + 1], restored, rtol=0, atol=1e-4)


@settings(SEEDED, max_examples=20)
@given(
    actions=st.lists(st.lists(ACTIONS, min_size=3, max_size=3), min_size=1, max_size=7),
    seed=st.integers(0, 2**31 - 1),
    max_steps=st.integers(1, 3),
)
def test_environments_in_a_batch_do_what_single_ones_do(actions, seed, max_steps):
    rng = np.random.default_rng(seed)
    pairs = Pairs(*(list(rng.integers(0, 256, (4, 16, 16, 3), dtype=np.uint8)) for _ in range(2)))
    options = {"images": pairs, "toolbox": TOOLBOX, "patch_size": 16, "max_steps": max_steps}
    envs = ImageRestoreVectorEnv(3, **options)
    singles = [ImageRestoreEnv(**options) for _ in range(3)]
    observed, _ = envs.reset(seed=seed)
    for number, env in enumerate(singles):
        alone, _ = env.reset(seed=seed + number)
        assert np.array_equal(observed["image"][number], alone["image"])
    over = [False] * 3
    for chosen in actions:
        observed, rewards, terminated, truncated, _ = envs.step(np.array(chosen))
        for number, env in enumerate(singles):
            if over[number]:  # Gymnasium's NEXT_STEP: this step only begins the next episode
                alone, _ = env.reset()
                ended = (0.0, False, False)
            else:
                alone, *ended, _ = env.step(chosen[number])
            assert np.array_equal(observed["image"][number], alone["image"])
            assert int(observed["previous_action"][number]) == int(alone["previous_action"])
            assert abs(rewards[number] - ended[0]) < 1e-3
            assert [bool(terminated[number]), bool(truncated[number])] == list(ended[1:])
            over[number] = ended[1] or ended[2]
    envs.close()

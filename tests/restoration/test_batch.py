"""The transition, on images of one grey value, where every number can be worked out by hand."""

from math import log10

import pytest
import torch

from restore_env import Tool, Toolbox, ToolError
from restore_env.restoration.batch import RestorationBatch

REFERENCE = 0.8
UP, DOWN, OVER, NOTHING, FAIL, STOP = range(6)


def fail(images):
    raise RuntimeError("no paper")


@pytest.fixture
def toolbox() -> Toolbox:
    """Tools that shift every pixel; `over` goes far beyond white, `fail` raises."""
    return Toolbox(
        [
            Tool("up", lambda images: images + 0.125),
            Tool("down", lambda images: images - 0.125),
            Tool("over", lambda images: images + 2),
            Tool("nothing", lambda images: images.clone()),
            Tool("fail", fail),
        ],
        "shifts",
    )


def plain(*values: float) -> torch.Tensor:
    return torch.tensor(values).view(-1, 1, 1, 1).expand(-1, 3, 12, 13).contiguous()


def decibels(value: float) -> float:
    """PSNR of an image of one value."""
    return -10 * log10((value - REFERENCE) ** 2 + 1e-10)


def started(toolbox: Toolbox, *values: float, **arguments) -> RestorationBatch:
    batch = RestorationBatch(toolbox, **arguments)
    batch.start(plain(*values), plain(*[REFERENCE] * len(values)))
    return batch


def steps(batch: RestorationBatch, *actions: list[int]) -> list[list]:
    """Take steps; for each the rewards, terminations and truncations as lists."""
    return [[part.tolist() for part in batch.step(torch.tensor(row))] for row in actions]


def snapshot(batch: RestorationBatch) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in vars(batch).items() if isinstance(value, torch.Tensor)}


def assert_unchanged(batch: RestorationBatch, before: dict[str, torch.Tensor]) -> None:
    after = snapshot(batch)
    assert after.keys() == before.keys()
    for name, value in before.items():
        assert torch.equal(after[name].nan_to_num(-1), value.nan_to_num(-1)), name


# PSNR is measured on float32 images: a relative error of 1e-6 or so in the squared error, 1e-5 dB.
def by_hand(value: float):
    return pytest.approx(value, abs=1e-4)


def test_step_psnr_by_hand(toolbox):
    batch = started(toolbox, 0.5)
    rewards = [reward[0] for reward, _, _ in steps(batch, [UP], [UP], [DOWN])]
    values = [0.5, 0.625, 0.75, 0.625]
    expected = [decibels(after) - decibels(before) for before, after in zip(values, values[1:], strict=False)]
    assert rewards == [by_hand(reward) for reward in expected]
    assert expected[0] > 4 and expected[2] < -9  # so that a sign or a factor would show


def test_step_psnr_adds_up_to_the_total_gain(toolbox):
    generator = torch.Generator().manual_seed(0)
    images, reference = torch.rand(2, 6, 3, 12, 13, generator=generator)
    batch = RestorationBatch(toolbox, max_steps=4)
    batch.start(images, reference)
    total = torch.zeros(6, dtype=torch.float64)
    for actions in torch.randint(0, FAIL, (4, 6), generator=generator):
        total += batch.step(actions).reward
    assert batch.ended.all()
    torch.testing.assert_close(total, batch.psnr - batch.psnr_initial, rtol=0, atol=1e-9)


def test_a_reward_sees_the_actions_the_steps_and_the_tools(toolbox):
    seen = []
    batch = started(toolbox, 0.5, 0.25, reward=lambda step: seen.append(step) or step.cost)
    steps(batch, [UP, STOP], [DOWN, UP])
    assert [step.action[0].item() for step in seen] == [UP, DOWN] and seen[0].action[1].item() == STOP
    assert [step.step.tolist() for step in seen] == [[0, 0], [1, 1]]
    assert all(step.toolbox is toolbox for step in seen)


def test_step_ssim_by_hand(toolbox):
    batch = started(toolbox, 0.5, reward="step_ssim")
    ((reward, _, _),) = steps(batch, [UP])

    def similarity(value):  # no contrast in either image: the luminance term alone
        return (2 * value * REFERENCE + 1e-4) / (value**2 + REFERENCE**2 + 1e-4)

    # the variances are differences of float32 sums: 1e-7 beside the constant 9e-4
    assert reward == [pytest.approx(similarity(0.625) - similarity(0.5), abs=5e-4)]


def test_final_rewards_by_hand_and_only_at_the_end(toolbox):
    actions = [[UP, UP], [UP, STOP], [DOWN, 0]]
    final = steps(started(toolbox, 0.5, 0.5, reward="final_psnr"), *actions)
    gain = decibels(0.625) - decibels(0.5)
    assert [reward for reward, _, _ in final] == [[0, 0], [0, by_hand(gain)], [by_hand(gain), 0]]
    errors = steps(started(toolbox, 0.5, 0.5, reward="final_mse"), *actions)
    fall = 0.3**2 - 0.175**2
    assert [reward for reward, _, _ in errors] == [
        [0, 0],
        [0, pytest.approx(fall, abs=1e-6)],
        [pytest.approx(fall, abs=1e-6), 0],
    ]


def test_own_reward_sees_the_transition(toolbox):
    seen = []

    def bonus(step):
        seen.append(step)
        return torch.where(step.ended, 7.0, step.psnr_after * 0 + 1)

    batch = started(toolbox, 0.5, 0.25, reward=bonus)
    ((rewards, _, _),) = steps(batch, [UP, STOP])
    assert rewards == [1, 7]
    (step,) = seen
    assert torch.equal(step.before, plain(0.5, 0.25)) and torch.equal(step.after, plain(0.625, 0.25))
    assert torch.equal(step.reference, plain(REFERENCE, REFERENCE))
    assert step.psnr_initial.tolist() == step.psnr_before.tolist() == [by_hand(decibels(v)) for v in (0.5, 0.25)]
    assert step.psnr_after.tolist() == [by_hand(decibels(v)) for v in (0.625, 0.25)]
    assert step.ended.tolist() == [False, True]


@pytest.mark.parametrize(
    ("reward", "message"),
    [
        (lambda step: step.psnr_after * torch.nan, "returned NaN or infinity"),
        (lambda step: step.psnr_after[:1], r"returned the shape \(1,\); \(2,\) is needed"),
    ],
)
def test_own_reward_must_return_finite_numbers(toolbox, reward, message):
    with pytest.raises(ValueError, match=f"reward=<lambda> {message}"):
        started(toolbox, 0.5, 0.5, reward=reward).step(torch.tensor([UP, UP]))


def test_identical_images_have_a_finite_psnr(toolbox):
    batch = started(toolbox, REFERENCE)
    assert batch.psnr.tolist() == [100.0]
    assert steps(batch, [NOTHING])[0][0] == [0.0]


def test_the_step_limit_truncates_or_terminates(toolbox):
    truncating = started(toolbox, 0.5)
    ends = [(terminated, truncated) for _, terminated, truncated in steps(truncating, [UP], [UP], [UP])]
    assert ends == [([False], [False])] * 2 + [([False], [True])]
    terminating = started(toolbox, 0.5, time_limit="terminate", max_steps=2)
    ends = [(terminated, truncated) for _, terminated, truncated in steps(terminating, [UP], [UP])]
    assert ends == [([False], [False]), ([True], [False])]
    assert truncating.ended.tolist() == terminating.ended.tolist() == [True]


@pytest.mark.parametrize("time_limit", ["truncate", "terminate"])
def test_stop_terminates_even_at_the_step_limit_and_pays_nothing(toolbox, time_limit):
    batch = started(toolbox, 0.5, 0.5, time_limit=time_limit)
    before = batch.images[1].clone()
    outcomes = steps(batch, [UP, STOP], [UP, UP], [STOP, UP])
    assert outcomes[0] == [[by_hand(decibels(0.625) - decibels(0.5)), 0], [False, True], [False, False]]
    assert outcomes[2] == [[0, 0], [True, False], [False, False]]
    assert torch.equal(batch.images[1], before)
    assert batch.steps.tolist() == [3, 1]
    assert [batch.toolchain(row) for row in (0, 1)] == [("up", "up"), ()]


def test_stop_if_worse_ends_what_fell_below_its_input(toolbox):
    batch = started(toolbox, 0.5, 0.5, 0.5, stop_if_worse=True)
    outcomes = steps(batch, [DOWN, UP, NOTHING], [UP, DOWN, DOWN], [UP, NOTHING, UP])
    assert outcomes[0][1:] == [[True, False, False], [False] * 3]
    # back at the input's PSNR is not worse; below it is; and falling within the gain is not the same as worse
    assert outcomes[1][1:] == [[False, False, True], [False] * 3]
    assert outcomes[2][1:] == [[False] * 3, [False, True, False]]
    assert outcomes[0][0][0] == by_hand(decibels(0.375) - decibels(0.5))


def test_stop_if_worse_wins_over_the_step_limit(toolbox):
    batch = started(toolbox, 0.5, stop_if_worse=True, max_steps=1)
    assert steps(batch, [DOWN])[0][1:] == [[True], [False]]


def test_without_a_stop_action_stop_is_refused(toolbox):
    batch = started(toolbox, 0.5, 0.5, stop_action=False, max_steps=1)
    before = snapshot(batch)
    with pytest.raises(ValueError, match=r"action 5 is not one of 0 to 4 \(up, down, over, nothing, fail\)"):
        batch.step(torch.tensor([UP, STOP]))
    assert_unchanged(batch, before)
    assert steps(batch, [UP, UP])[0][2] == [True, True]
    assert steps(batch, [STOP, STOP])[0][0] == [0, 0]  # ended: not an action any more


@pytest.mark.parametrize("ignored", [UP, FAIL, STOP, -3, 99])
def test_rows_that_have_ended_are_ignored(toolbox, ignored):
    batch = started(toolbox, 0.5, 0.5)
    steps(batch, [STOP, UP])
    ended = {name: value[0].clone() for name, value in snapshot(batch).items()}
    reward, terminated, truncated = steps(batch, [ignored, UP])[0]
    assert (reward[0], terminated[0], truncated[0]) == (0, False, False)
    for name, value in snapshot(batch).items():
        assert torch.equal(value[0].nan_to_num(-1), ended[name].nan_to_num(-1)), name
    assert batch.toolchain(1) == ("up", "up") and batch.steps.tolist() == [1, 2]


def test_episodes_that_have_ended_are_paid_nothing_whatever_the_reward(toolbox):
    batch = RestorationBatch(toolbox, reward=lambda step: torch.ones(len(step.ended)))
    images = plain(0.2, 0.2)
    batch.start(images, images)
    assert batch.step(torch.tensor([toolbox.stop, 0])).reward.tolist() == [1, 1]
    assert batch.step(torch.tensor([0, 0])).reward.tolist() == [0, 1]


def test_the_state_is_neither_clipped_nor_rounded_between_tools(toolbox):
    toolbox = Toolbox([*toolbox[:4], Tool("back", lambda images: images - 2)])
    batch = started(toolbox, 0.5009765625)  # exact in float32, between two bytes
    batch.step(torch.tensor([OVER]))
    assert torch.equal(batch.images, plain(2.5009765625))
    assert batch.observe().image.unique().tolist() == [255]
    assert batch.psnr.tolist() == [by_hand(decibels(2.5009765625))]
    batch.step(torch.tensor([4]))
    assert torch.equal(batch.images, plain(0.5009765625))
    assert batch.observe().image.unique().tolist() == [128]


def test_observation_is_rounded_clipped_and_a_copy(toolbox):
    batch = started(toolbox, 0.499, -0.5, 1.5)
    observed = batch.observe()
    assert observed.image.shape == (3, 12, 13, 3) and observed.image.dtype == torch.uint8
    assert observed.image[:, 0, 0, 0].tolist() == [127, 0, 255]
    assert observed.previous_action.tolist() == [STOP] * 3  # none yet
    before = snapshot(batch)
    for part in observed:
        part.fill_(7)
    assert_unchanged(batch, before)


def test_starting_copies_the_images(toolbox):
    images, reference = plain(0.5), plain(0.75)
    batch = RestorationBatch(toolbox)
    batch.start(images, reference)
    images.zero_()
    reference.zero_()
    assert torch.equal(batch.images, plain(0.5)) and torch.equal(batch.reference, plain(0.75))


def test_books_are_kept(toolbox):
    batch = started(toolbox, 0.5, 0.25, 0.375, record=True)
    assert len(batch) == 3
    steps(batch, [UP, DOWN, STOP], [NOTHING, STOP, UP], [DOWN, UP, UP])
    assert batch.toolchains.tolist() == [[UP, NOTHING, DOWN], [DOWN, -1, -1], [-1, -1, -1]]
    assert [batch.toolchain(row) for row in range(3)] == [("up", "nothing", "down"), ("down",), ()]
    assert batch.previous_action.tolist() == [DOWN, DOWN, STOP]  # stop is never the previous action
    assert batch.steps.tolist() == [3, 2, 1]
    assert batch.history.shape == (3, 4, 12, 13, 3)
    assert batch.history[0, :, 0, 0, 0].tolist() == [128, 159, 159, 128]
    assert batch.history[1, :3, 0, 0, 0].tolist() == [64, 32, 32]
    expected = [decibels(value) for value in (0.25, 0.125, 0.125)]
    assert batch.psnr_history[1, :3].tolist() == [by_hand(value) for value in expected]
    assert batch.psnr_history[1, 3].isnan() and batch.psnr_history[2, 2:].isnan().all()


def test_restarting_some_rows_leaves_the_others(toolbox):
    batch = started(toolbox, 0.5, 0.25, 0.375, record=True)
    steps(batch, [UP, STOP, UP], [UP, UP, STOP])
    kept = {name: value[0].clone() for name, value in snapshot(batch).items()}
    batch.restart(torch.tensor([1, 2]), plain(0.625, 0.5), plain(0.75, REFERENCE))
    for name, value in snapshot(batch).items():
        assert torch.equal(value[0].nan_to_num(-1), kept[name].nan_to_num(-1)), name
    assert torch.equal(batch.images[1:], plain(0.625, 0.5))
    assert torch.equal(batch.psnr, torch.stack([kept["psnr"], *batch.psnr_initial[1:]]))
    assert batch.psnr_initial[1:].tolist() == [by_hand(-10 * log10(0.125**2)), by_hand(decibels(0.5))]
    assert batch.steps.tolist() == [2, 0, 0] and batch.ended.tolist() == [False] * 3
    assert batch.previous_action.tolist() == [UP, STOP, STOP]
    assert [batch.toolchain(row) for row in range(3)] == [("up", "up"), (), ()]
    assert batch.psnr_history[1:, 1:].isnan().all() and not batch.psnr_history[:, 0].isnan().any()
    assert batch.history[1, 0].unique().tolist() == [159]
    outcomes = steps(batch, [UP, UP, UP])
    assert outcomes[0][2] == [True, False, False]  # the first row's third step, the others' first
    assert outcomes[0][0][2] == by_hand(decibels(0.625) - decibels(0.5))


def test_starting_again_forgets_everything(toolbox):
    batch = started(toolbox, 0.5)
    steps(batch, [UP], [STOP])
    batch.start(plain(0.5, 0.25), plain(REFERENCE, REFERENCE))
    fresh = started(toolbox, 0.5, 0.25)
    assert_unchanged(batch, snapshot(fresh))


@pytest.mark.parametrize(
    ("actions", "error", "message"),
    [
        ([UP, FAIL], ToolError, "^tool 'fail' raised RuntimeError: no paper$"),
        ([UP, 6], ValueError, "action 6 is not one of 0 to 5"),
        ([-1, UP], ValueError, "action -1 is not one of 0 to 5"),
        ([UP], ValueError, "2 integers are needed"),
        ([UP, UP, UP], ValueError, "2 integers are needed"),
        ([0.0, 1.0], ValueError, "2 integers are needed"),
    ],
)
def test_a_failing_tool_or_a_bad_action_leaves_everything_as_it_was(toolbox, actions, error, message):
    batch = started(toolbox, 0.5, 0.25, record=True)
    batch.step(torch.tensor([UP, DOWN]))
    before = snapshot(batch)
    with pytest.raises(error, match=message):
        batch.step(torch.tensor(actions))
    assert_unchanged(batch, before)
    assert steps(batch, [UP, UP])[0][1:] == [[False, False]] * 2


def test_without_a_reference_psnr_is_unknown_and_rewards_are_zero(toolbox):
    batch = RestorationBatch(toolbox)
    batch.start(plain(0.5, 0.25))
    assert batch.psnr.isnan().all() and batch.psnr_initial.isnan().all()
    outcomes = steps(batch, [UP, STOP], [DOWN, UP], [UP, UP])
    assert [reward for reward, _, _ in outcomes] == [[0, 0]] * 3
    assert outcomes[0][1] == [False, True] and outcomes[2][2] == [True, False]
    assert torch.equal(batch.images, plain(0.625, 0.25))
    assert batch.psnr.isnan().all()


def test_stop_if_worse_needs_a_reference(toolbox):
    with pytest.raises(ValueError, match="stop_if_worse=True needs reference images"):
        RestorationBatch(toolbox, stop_if_worse=True).start(plain(0.5))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"max_steps": 0}, "max_steps=0 is not a whole number of at least 1"),
        ({"max_steps": 2.5}, "max_steps=2.5 is not a whole number"),
        ({"time_limit": "stop"}, "time_limit='stop' is not one of 'truncate', 'terminate'"),
        ({"reward": "psnr"}, "reward='psnr' is not one of 'step_psnr', 'step_ssim', 'final_psnr', 'final_mse'"),
    ],
)
def test_wrong_arguments_are_named(toolbox, arguments, message):
    with pytest.raises(ValueError, match=message):
        RestorationBatch(toolbox, **arguments)


def test_a_trial_changes_nothing_until_it_is_committed(function_toolbox):
    images, reference = (torch.rand(3, 3, 24, 24, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1))
    tried, stepped = RestorationBatch(function_toolbox), RestorationBatch(function_toolbox)
    for batch in (tried, stepped):
        batch.start(images, reference)
    actions = torch.tensor([0, 3, 2])
    tried.attempt(torch.tensor([1, 1, 1]))
    trial = tried.attempt(actions)
    assert torch.equal(tried.images, images) and tried.steps.tolist() == [0, 0, 0]
    tried.commit(trial)
    outcome = stepped.step(actions)
    assert torch.equal(tried.images, stepped.images) and torch.equal(tried.toolchains, stepped.toolchains)
    assert all(torch.equal(one, other) for one, other in zip(trial.outcome, outcome, strict=True))
    with pytest.raises(ValueError, match="made before the last step"):
        tried.commit(trial)


def test_a_trial_of_an_earlier_episode_is_refused(function_toolbox):
    images = torch.rand(2, 3, 24, 24, generator=torch.Generator().manual_seed(0))
    batch = RestorationBatch(function_toolbox)
    batch.start(images, images)
    for begin in (
        lambda: batch.restart(torch.tensor([1]), images[:1], images[:1]),
        lambda: batch.start(images, images),
    ):
        trial = batch.attempt(torch.tensor([0, 1]))
        begin()
        with pytest.raises(ValueError, match="try again from the present state"):
            batch.commit(trial)


def test_rewards_see_labels_and_add_up_to_returns(toolbox):
    seen = []

    def label_and_step(step):
        seen.append(step.label)
        return torch.tensor([label or 0 for label in step.label]) + 10.0 * step.step

    batch = RestorationBatch(toolbox, reward=label_and_step)
    batch.start(plain(0.5, 0.25), plain(REFERENCE, REFERENCE), [3, None])
    steps(batch, [UP, UP], [UP, STOP])
    assert seen == [(3, None)] * 2 and batch.returns.tolist() == [3 + 13, 10]
    batch.restart(torch.tensor([1]), plain(0.5), plain(REFERENCE), [7])
    steps(batch, [STOP, DOWN])
    assert seen[-1] == (3, 7) and batch.returns.tolist() == [3 + 13 + 23, 7]
    batch.start(plain(0.5), plain(REFERENCE))
    steps(batch, [UP])
    assert seen[-1] == (None,) and batch.returns.tolist() == [0]

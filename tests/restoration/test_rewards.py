"""What a step is worth."""

import dataclasses
import pickle

import numpy as np
import pytest
import torch

from restore_env import Tool, Toolbox
from restore_env.restoration import rewards
from restore_env.restoration.metrics import ssim
from restore_env.restoration.rewards import Transition, Weighted, as_reward, compute_reward
from restore_env.toolbox.networks import TwoScaleCNN

NAMES = ("step_psnr", "step_ssim", "final_psnr", "final_mse", "step_niqe", "cost", "tools")


@pytest.fixture
def step(network_toolbox):
    """Three episodes: one goes on, one ended better than it began, one ended worse."""
    generator = torch.Generator().manual_seed(0)
    before, after, reference = torch.rand(3, 3, 3, 96, 96, generator=generator)
    return Transition(
        before=before,
        after=after,
        reference=reference,
        psnr_initial=torch.tensor([20.0, 20.0, 30.0], dtype=torch.float64),
        psnr_before=torch.tensor([21.0, 25.0, 28.0], dtype=torch.float64),
        psnr_after=torch.tensor([23.5, 30.0, 20.0], dtype=torch.float64),
        ended=torch.tensor([False, True, True]),
        action=torch.tensor([1, 0, 2]),
        step=torch.tensor([0, 2, 1]),
        label=(3, None, 5),
        toolbox=network_toolbox,
    )


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("step_psnr", [2.5, 5.0, -8.0]),
        ("final_psnr", [0.0, 10.0, -10.0]),
        # 20 dB are a mean squared error of 0.01, 30 dB of 0.001.
        ("final_mse", [0.0, 0.009, -0.009]),
        ("tools", [1.0, 1.0, 0.0]),  # the last one stops
    ],
)
def test_named_reward_by_hand(name, expected, step):
    np.testing.assert_allclose(compute_reward(as_reward(name), step), expected, rtol=0, atol=1e-12)


def test_step_ssim(step):
    """An image that becomes its reference gains what it lacked; one that is left alone gains nothing."""
    after = torch.stack([step.reference[0], step.before[1], 1 - step.reference[2]])
    paid = compute_reward(as_reward("step_ssim"), dataclasses.replace(step, after=after))
    lacked = 1 - ssim(step.before, step.reference)
    assert paid[0].item() == pytest.approx(lacked[0].item(), abs=1e-6)
    assert lacked[0] > 0.5
    assert paid[1].item() == 0
    assert paid[2].item() < -0.5


def test_a_tool_costs_its_multiplications_on_a_patch_and_stop_costs_nothing(step, network_toolbox):
    def kernels(tool):
        return sum(weight.numel() for weight in tool.module.parameters() if weight.ndim == 4)

    three, eight = network_toolbox
    np.testing.assert_allclose(step.cost, [kernels(eight) * 63**2 / 1e9, kernels(three) * 63**2 / 1e9, 0], rtol=1e-9)


def test_a_network_that_needs_a_multiple_is_charged_for_what_is_padded():
    network = TwoScaleCNN(4, 4)
    costs = Toolbox([Tool.from_module("two", network)]).costs
    assert costs.tolist() == pytest.approx([Tool.from_module("two", network).cost * 64**2 / 1e9, 0])


def test_weighted_rewards_add_up(step):
    reward = Weighted({"step_psnr": 1.0, "final_psnr": 0.5, "cost": -2.0})
    expected = torch.tensor([2.5, 5.0 + 5.0, -8.0 - 5.0], dtype=torch.float64) - 2 * step.cost
    np.testing.assert_allclose(compute_reward(reward, step), expected)
    assert repr(reward) == "Weighted({'step_psnr': 1.0, 'final_psnr': 0.5, 'cost': -2.0})"
    assert repr(pickle.loads(pickle.dumps(reward))) == repr(reward)
    with pytest.raises(ValueError, match="reward='psnr' is not one of"):
        Weighted({"psnr": 1.0})


@pytest.mark.parametrize("name", NAMES)
def test_rewards_are_one_finite_float64_for_each_episode(name, step):
    paid = compute_reward(as_reward(name), step)
    assert paid.shape == (3,) and paid.dtype == torch.float64


def test_step_rewards_of_an_episode_add_up_to_the_final_reward(step):
    """The reward of each step telescopes: both ways of paying an episode agree on its sum."""
    values = torch.tensor([[20.0], [22.0], [21.5], [26.0]], dtype=torch.float64)
    steps = [
        dataclasses.replace(
            step, psnr_initial=values[0], psnr_before=old, psnr_after=new, ended=torch.tensor([number == 2])
        )
        for number, (old, new) in enumerate(zip(values[:-1], values[1:], strict=True))
    ]
    sums = {
        name: sum(compute_reward(as_reward(name), step).item() for step in steps)
        for name in ("step_psnr", "final_psnr")
    }
    assert sums == pytest.approx({"step_psnr": 6.0, "final_psnr": 6.0})


class TestOwnReward:
    def test_function_of_the_transition(self, step):
        reward = as_reward(lambda step: step.psnr_after - 0.5 * step.ended + (step.after - step.before).mean((1, 2, 3)))
        brightened = dataclasses.replace(step, after=step.before + 0.25)
        np.testing.assert_allclose(compute_reward(reward, brightened), [23.75, 29.75, 19.75], rtol=0, atol=1e-6)

    @pytest.mark.parametrize("value", [[1, 2, 3], np.array([1.0, 2.0, 3.0]), torch.tensor([1.0, 2.0, 3.0])])
    def test_anything_array_like_is_taken(self, step, value):
        assert compute_reward(lambda step: value, step).tolist() == [1.0, 2.0, 3.0]

    @pytest.mark.parametrize("value", [2, 2.0, np.float32(2), np.array(2.0), torch.tensor(2.0)])
    def test_one_number_counts_for_each_episode(self, step, value):
        assert compute_reward(lambda step: value, step).tolist() == [2.0, 2.0, 2.0]

    def test_a_network_may_be_used(self, step):
        network = torch.nn.Conv2d(3, 1, 96)
        scale = torch.nn.Parameter(torch.ones(3))

        def mine(step):
            return network(step.after).flatten()  # (n, 1, 1, 1) -> (n,)

        paid = compute_reward(mine, step)
        assert paid.shape == (3,) and not paid.requires_grad
        assert compute_reward(lambda step: scale, step).numpy().tolist() == [1.0, 1.0, 1.0]
        with torch.enable_grad():
            assert not compute_reward(mine, step).requires_grad

    @pytest.mark.parametrize("mode", [torch.inference_mode, torch.enable_grad])
    def test_a_function_may_set_the_mode_of_gradients_itself(self, step, mode):
        assert compute_reward(mode()(lambda step: step.psnr_after * 2), step).tolist() == [47.0, 60.0, 40.0]

    def test_what_it_writes_into_the_transition_is_lost(self, step):
        tensors = {key: value for key, value in vars(step).items() if isinstance(value, torch.Tensor)}
        before = {key: value.clone() for key, value in tensors.items()}

        def mine(step):
            for key in before:
                getattr(step, key).zero_()
            step.reference.numpy()[:] = 7  # a version counter would not notice
            return step.psnr_after

        assert len(before) == 9
        assert compute_reward(mine, step).tolist() == [0.0, 0.0, 0.0]
        assert all(torch.equal(tensors[key], before[key]) for key in before)

    def test_an_error_names_the_reward(self, step):
        def mine(step):
            raise KeyError("gain")

        with pytest.raises(RuntimeError, match="reward=mine raised KeyError: 'gain'") as caught:
            compute_reward(mine, step)
        assert isinstance(caught.value.__cause__, KeyError)

    @pytest.mark.parametrize("value", [[1.0, 2.0], [[1.0], [2.0], [3.0]]])
    def test_wrong_shape_is_refused(self, step, value):
        def mine(step):
            return value

        with pytest.raises(ValueError, match=r"reward=mine returned the shape .*; \(3,\) is needed"):
            compute_reward(mine, step)

    @pytest.mark.parametrize("value", [None, "good", object(), [1.0, None, 2.0]])
    def test_what_is_no_number_is_refused(self, step, value):
        def mine(step):
            return value

        with pytest.raises(TypeError, match=f"reward=mine returned {type(value).__name__}; a tensor"):
            compute_reward(mine, step)

    @pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
    def test_nan_and_infinity_are_refused(self, step, value):
        def mine(step):
            return torch.tensor([0.0, value, 0.0])

        with pytest.raises(ValueError, match="reward=mine returned NaN or infinity"):
            compute_reward(mine, step)

    def test_callable_object_without_a_name(self, step):
        class Mine:
            def __call__(self, step):
                return [0.0]

            def __repr__(self):
                return "Mine()"

        with pytest.raises(ValueError, match=r"reward=Mine\(\) returned the shape \(1,\)"):
            compute_reward(as_reward(Mine()), step)


@pytest.mark.parametrize("reward", [*NAMES, Weighted({"step_psnr": 1.0, "step_ssim": 2.0, "final_mse": 1.0})])
def test_our_own_rewards_leave_the_transition_alone_and_get_no_copies(step, reward, monkeypatch):
    monkeypatch.setattr(rewards, "_copied", None)
    before = {key: value.clone() for key, value in vars(step).items() if isinstance(value, torch.Tensor)}
    compute_reward(as_reward(reward), step)
    assert all(torch.equal(getattr(step, key), before[key]) for key in before)


def test_unknown_name_is_refused():
    with pytest.raises(
        ValueError, match="reward='psnr' is not one of 'step_psnr', 'step_ssim', 'final_psnr', 'final_mse'"
    ):
        as_reward("psnr")


@pytest.mark.parametrize("reward", [None, 3, ["step_psnr"]])
def test_what_is_neither_name_nor_function_is_refused(reward):
    with pytest.raises(TypeError, match="reward=.* is neither one of 'step_psnr'.* nor a function"):
        as_reward(reward)

"""Algorithm 1: gradients number by number, division by counts, unused tools, exact resume."""

from copy import deepcopy
from dataclasses import replace
from math import inf

import numpy as np
import pytest
import torch

from restore_env import Tool, Toolbox, load_toolbox
from restore_env.data.pairs import Pairs
from restore_env.data.sampling import PatchSampler
from restore_env.data.sources import draw_pairs
from restore_env.data.toolchain_log import LogHeader, ToolchainLogWriter, Toolchains, load_toolchain_log
from restore_env.toolbox.networks import EightLayerCNN, ThreeLayerCNN, TwoScaleCNN
from restore_env.training.trainer import Budget
from tools.joint.batches import ChainBatch, ChainBatches
from tools.joint.trainer import JointTraining, along_chains, backpropagate
from tools.recipes import JOINT_RECIPES

PAPER = replace(JOINT_RECIPES["paper"], batch_size=2, crop=12, max_grad_norm=inf)
"""Algorithm 1 alone; the recipe clips gradients besides."""


@pytest.fixture
def toolbox() -> Toolbox:
    """Three tools, the last of which no toolchain uses."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        networks = [ThreeLayerCNN(4, 3), EightLayerCNN(6, 4), ThreeLayerCNN(3, 3)]
    return Toolbox([Tool.from_module(name, net) for name, net in zip("abc", networks, strict=True)], "tiny")


def chain_batch(chains, seed=0, side=12) -> ChainBatch:
    generator = torch.Generator().manual_seed(seed)
    distorted, reference = torch.rand(2, len(chains), 3, side, side, generator=generator)
    return ChainBatch(distorted, reference, torch.tensor(chains))


def training(toolbox, batch, tmp_path, recipe=PAPER, iterations=1, start="start", validation=None):
    """Make a training on the same batch in every iteration, or on what a function of the iteration returns."""
    return JointTraining(
        tools=toolbox,
        batch=batch if callable(batch) else lambda iteration: batch,
        data="made up",
        validation=validation or batch,
        budget=Budget(iterations),
        checkpoint=tmp_path / "joint.pt",
        recipe=recipe,
        start=start,
    )


def weights(toolbox):
    return [[parameter.detach().clone() for parameter in tool.module.parameters()] for tool in toolbox]


def test_an_update_is_that_of_automatic_differentiation(toolbox, tmp_path):
    """Two toolchains, one of which uses a tool twice; Algorithm 1 written out with one image at a time."""
    batch = chain_batch([[0, 1, 0], [1, -1, -1]])
    networks = [deepcopy(tool.module).requires_grad_(True) for tool in toolbox]
    parameters = [list(network.parameters()) for network in networks]
    first = networks[0](networks[1](networks[0](batch.distorted[:1])))
    second = networks[1](batch.distorted[1:])
    total = sum(
        (result - reference.unsqueeze(0)).square().sum() / 2
        for result, reference in zip((first, second), batch.reference, strict=True)
    )
    rate, counts = PAPER.learning_rate, (2, 2)
    expected = [
        [
            parameter.detach() - rate * gradient / count
            for parameter, gradient in zip(own, torch.autograd.grad(total, own, retain_graph=True), strict=True)
        ]
        for own, count in zip(parameters[:2], counts, strict=True)
    ]
    before = weights(toolbox)
    run = training(toolbox, batch, tmp_path)
    assert run.run(lambda status: None)
    after = weights(run.toolbox)
    for old, wanted, found in zip(before, expected, after, strict=False):
        for was, one, other in zip(old, wanted, found, strict=True):
            assert not torch.equal(was, other)
            torch.testing.assert_close(other - was, one - was, rtol=2e-3, atol=1e-8)
    assert run.uses.tolist() == [2, 2, 0]


def test_the_uses_of_all_iterations_add_up(toolbox, tmp_path):
    run = training(toolbox, chain_batch([[0, 1], [1, -1]]), tmp_path, iterations=3)
    assert run.run(lambda status: None) and run.uses.tolist() == [3, 6, 0]


def test_counts_divide(toolbox, tmp_path):
    """Four times the same toolchain moves the tools as far as the toolchain alone."""
    once = training(toolbox, chain_batch([[0, 1, -1]]), tmp_path / "once")
    single = chain_batch([[0, 1, -1]])
    four = ChainBatch(*(torch.cat([column] * 4) for column in single))
    often = training(toolbox, four, tmp_path / "often")
    for run in (once, often):
        run.checkpoint.parent.mkdir()
        run.run(lambda status: None)
    before, one, other = weights(toolbox), weights(once.toolbox), weights(often.toolbox)
    for tool in (0, 1):
        for was, alone, together in zip(before[tool], one[tool], other[tool], strict=True):
            torch.testing.assert_close(together - was, alone - was, rtol=2e-3, atol=1e-8)
    assert often.uses.tolist() == [4, 4, 0]


@pytest.mark.parametrize("optimizer", ["plain-sgd", "sgd", "adam", "soap"])
def test_a_tool_that_no_toolchain_uses_stays_as_it_is(toolbox, tmp_path, optimizer):
    run = training(toolbox, chain_batch([[0, 1, -1]]), tmp_path, replace(PAPER, optimizer=optimizer), 3)
    run.run(lambda status: None)
    before, after = weights(toolbox), weights(run.toolbox)
    assert all(torch.equal(was, now) for was, now in zip(before[2], after[2], strict=True))
    for tool in (0, 1):
        assert not any(torch.equal(was, now) for was, now in zip(before[tool], after[tool], strict=True))


@pytest.mark.parametrize("ema_decay", [0.0, 0.5])
def test_a_tool_that_is_used_later_does_not_move_before_or_after(toolbox, tmp_path, ema_decay):
    """Neither a memory of gradients nor the average of the weights moves a tool in iterations without it."""

    def alternating(iteration):
        return chain_batch([[iteration % 2, -1]], seed=iteration)

    recipe = replace(PAPER, optimizer="adam", learning_rate=1e-3, ema_decay=ema_decay)
    run = training(toolbox, alternating, tmp_path, recipe, 4, validation=chain_batch([[0]]))
    seen = [weights(run.toolbox)]
    for _ in range(4):
        run.advance()
        seen.append(weights(run.toolbox))
    for iteration in range(4):
        moved = [not torch.equal(was[0], now[0]) for was, now in zip(seen[iteration], seen[iteration + 1], strict=True)]
        assert moved == [iteration % 2 == 0, iteration % 2 == 1, False]


def test_images_that_share_a_tool_go_through_it_together_and_come_back_in_order(toolbox):
    batch = chain_batch([[1, 0, -1], [0, 1, 1], [-1, -1, -1], [1, 1, 0], [0, -1, -1]])
    networks = torch.nn.ModuleList(tool.module for tool in toolbox)
    with torch.no_grad():
        together = along_chains(networks, batch.distorted, batch.chain)
        for row, chain in enumerate(batch.chain.tolist()):
            image = batch.distorted[row : row + 1]
            for tool in chain:
                image = image if tool < 0 else networks[tool](image)
            torch.testing.assert_close(together[row : row + 1], image, rtol=1e-4, atol=1e-6)


def test_nothing_is_clipped_between_tools(toolbox):
    networks = torch.nn.ModuleList(tool.module for tool in toolbox)
    with torch.no_grad():
        networks[0].conv3.bias.add_(2)
        networks[1].conv3.bias.sub_(2)
        image = torch.full((1, 3, 12, 12), 0.5)
        restored = along_chains(networks, image, torch.tensor([[0, 1]]))
        assert torch.allclose(restored, networks[1](networks[0](image)))
        assert 0 < restored.mean() < 1


def test_a_network_of_two_scales_takes_patches_of_any_side(tmp_path):
    network = TwoScaleCNN(4, 4)
    toolbox = Toolbox([Tool.from_module("two", network)])
    batch = chain_batch([[0, 0, -1], [0, -1, -1]], side=13)
    run = training(toolbox, batch, tmp_path)
    assert run.run(lambda status: None) and run.uses.tolist() == [3]
    with torch.no_grad():
        once = toolbox[0](batch.distorted)
        restored = along_chains([network], batch.distorted, batch.chain)
        torch.testing.assert_close(restored[1], once[1], atol=1e-6, rtol=0)
        torch.testing.assert_close(restored[0], toolbox[0](once)[0], atol=1e-6, rtol=0)


def test_bfloat16_rounds_in_every_thread_and_keeps_weights_in_float32(toolbox, threads):
    batch = chain_batch([[0, 1, 0], [1, -1, -1], [0, 1, -1], [1, 1, 1]])
    found = {}
    for precision in ("float32", "bfloat16"):
        networks = torch.nn.ModuleList(deepcopy(tool.module).requires_grad_(True) for tool in toolbox)
        loss, _ = backpropagate(networks, batch, PAPER, precision)
        gradients = [p.grad for network in networks[:2] for p in network.parameters()]
        assert all(gradient.dtype == torch.float32 for gradient in gradients)
        found[precision] = float(loss), torch.cat([gradient.flatten() for gradient in gradients])
    (exact_loss, exact), (rounded_loss, rounded) = found.values()
    assert rounded_loss != exact_loss and rounded_loss == pytest.approx(exact_loss, rel=1e-2)
    assert 0 < (rounded - exact).norm() < 0.1 * exact.norm()


def test_training_raises_the_psnr_of_the_toolchains(toolbox, tmp_path):
    recipe = replace(JOINT_RECIPES["fast"], batch_size=2, crop=12, learning_rate=3e-3, ema_decay=0.0)
    plain = torch.full((2, 3, 12, 12), 0.5)
    batch = ChainBatch(plain + 0.2, plain, torch.tensor([[0, 1], [1, -1]]))
    run = training(toolbox, batch, tmp_path, recipe, 30)
    statuses = []
    run.run(statuses.append)
    assert statuses[-1].scalars["validation/gain"] > 1
    assert statuses[-1].line.startswith("toolchains: iteration 30, ")


@pytest.fixture(params=[1, pytest.param(2, marks=pytest.mark.threads)])
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("recipe", ["fast", "paper"])
def test_stopped_at_any_iteration_it_ends_with_the_same_weights(toolbox, tmp_path, recipe, threads):
    recipe = replace(JOINT_RECIPES[recipe], batch_size=4, crop=12)

    def drawn(iteration):
        rng = np.random.default_rng(iteration)
        return chain_batch(rng.integers(-1, 2, (4, 2)).tolist(), seed=iteration)

    def run(folder, stops=()):
        folder.mkdir()
        for stop in (*stops, None):
            joint = training(toolbox, drawn, folder, recipe, 6, validation=chain_batch([[0, 1]]))
            joint.run(lambda status: None, lambda joint=joint, stop=stop: joint.iteration == stop)
        return joint

    straight, stopped = run(tmp_path / "straight"), run(tmp_path / "stopped", (1, 4))
    for one, other in zip(weights(straight.toolbox), weights(stopped.toolbox), strict=True):
        assert all(torch.equal(first, second) for first, second in zip(one, other, strict=True))
    assert torch.equal(straight.uses, stopped.uses)


def test_it_goes_on_with_the_same_tools_and_data_only(toolbox, tmp_path):
    batch = chain_batch([[0, 1]])
    training(toolbox, batch, tmp_path).run(lambda status: None)
    with pytest.raises(ValueError, match="belongs to a training with another recipe"):
        training(toolbox, batch, tmp_path, replace(PAPER, learning_rate=1.0))
    with pytest.raises(ValueError, match="belongs to a training with another start"):
        training(toolbox, batch, tmp_path, start="others")


def test_a_tool_that_is_no_network_is_named(function_toolbox, tmp_path):
    with pytest.raises(ValueError, match="tool 'median' cannot be trained, because no gradient passes it"):
        training(function_toolbox, chain_batch([[0]]), tmp_path)


@pytest.mark.parametrize("recipe", ["fast", "paper"])
def test_a_few_steps_do_not_spoil_the_shipped_tools(tmp_path, photos, recipe):
    pairs = draw_pairs(PatchSampler(photos), 8, 0)
    batch = ChainBatch(*pairs.to_tensors(), torch.tensor([[6, 10, -1], [2, 5, 4]] * 4))
    run = training(load_toolbox(), batch, tmp_path, JOINT_RECIPES[recipe], 4)
    statuses = []
    run.run(statuses.append)
    assert statuses[-1].scalars["validation/gain"] > -0.05


class TestChainBatches:
    @pytest.fixture
    def log(self, tmp_path):
        rng = np.random.default_rng(0)
        images = rng.integers(0, 256, (2, 9, 16, 16, 3), dtype=np.uint8)
        images[0, :, :, :, 0] = np.arange(9)[:, None, None]  # the red of a distorted image is its number
        chain = np.stack([np.arange(9) % 2, np.full(9, -1)], 1)
        chain[3] = -1
        with ToolchainLogWriter(tmp_path / "log", LogHeader("p", "t", ("a", "b", "stop"), 16, 2)) as writer:
            writer.add(Toolchains(*images, chain))
        return load_toolchain_log(tmp_path / "log")

    def numbers(self, batch):
        return (batch.distorted[:, 0, 0, 0] * 255).round().int().tolist()

    def test_a_batch_depends_on_the_seed_and_the_iteration_alone(self, log):
        first, second = (ChainBatches([log], 4, 8, seed=1) for _ in range(2))
        first.batch(0)
        for one, other in zip(first.batch(1), second.batch(1), strict=True):
            assert torch.equal(one, other)
        assert not torch.equal(first.batch(1).distorted, first.batch(2).distorted)

    def test_images_keep_their_toolchain_and_chains_without_a_tool_are_left_out(self, log):
        batches = ChainBatches([log], 200, 8, seed=0)
        assert len(batches) == 8
        batch = batches.batch(0)
        numbers = self.numbers(batch)
        assert set(numbers) == set(range(9)) - {3}
        assert batch.chain.tolist() == [[number % 2, -1] for number in numbers]

    def test_distorted_and_reference_are_cut_and_turned_alike(self, log):
        whole = log[:]
        batch = ChainBatches([log], 50, 8, seed=0).batch(0)
        for distorted, reference, number in zip(batch.distorted, batch.reference, self.numbers(batch), strict=True):
            places = []
            for image, own in ((whole.distorted[number], distorted), (whole.reference[number], reference)):
                part = (own.permute(1, 2, 0) * 255).round().byte().numpy()
                turns = [
                    (top, left, flip, turn)
                    for top in range(9)
                    for left in range(9)
                    for flip in (0, 1)
                    for turn in range(4)
                    if np.array_equal(np.rot90(part[:: 1 - 2 * flip], turn), image[top : top + 8, left : left + 8])
                ]
                places.append(turns)
            assert places[0] == places[1] and len(places[0]) == 1

    def test_own_tasks_are_a_share_of_a_batch_with_one_tool_each(self, log):
        plain = np.full((2, 8, 8, 3), 200, np.uint8)
        pools = {tool: Pairs(plain, plain) for tool in (0, 1)}
        batch = ChainBatches([log], 8, 8, seed=0, pools=pools, own_task=0.5).batch(0)
        numbers = self.numbers(batch)
        assert [number == 200 for number in numbers] == [False] * 4 + [True] * 4
        assert sorted(batch.chain[4:, 0].tolist()) == [0, 0, 1, 1] and batch.chain[4:, 1].tolist() == [-1] * 4

    def test_what_is_held_out_is_not_drawn(self, log):
        assert max(self.numbers(ChainBatches([log, log], 200, 8, seed=0, held_out=4).batch(0))) == 4
        half = ChainBatches([log], 200, 8, seed=0, held_out=1000)
        assert max(self.numbers(half.batch(0))) == len(log) - len(log) // 2 - 1

    def test_own_tasks_that_cannot_be_are_refused(self, log):
        with pytest.raises(ValueError, match="own_task=0.5: no tool says what it is made for"):
            ChainBatches([log], 4, 8, seed=0, own_task=0.5)
        plain = np.full((2, 8, 8, 3), 200, np.uint8)
        with pytest.raises(ValueError, match="own_task=0.1: it is none of 4 toolchains"):
            ChainBatches([log], 4, 8, seed=0, pools={0: Pairs(plain, plain)}, own_task=0.1)

    def test_a_crop_larger_than_the_patches_is_refused(self, log):
        with pytest.raises(ValueError, match="patches of 16 pixels are smaller than the crop of 48"):
            ChainBatches([log], 4, 48, seed=0)

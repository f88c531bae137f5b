from dataclasses import replace

import numpy as np
import pytest
import torch
from pytorch_optimizer import SOAP

from restore_env.toolbox.networks import EightLayerCNN, ThreeLayerCNN
from restore_env.training.optimizers import MatrixSOAP
from tools.recipes import RECIPES, Recipe


def network(kind=ThreeLayerCNN, wide=4, narrow=3, seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return kind(wide, narrow).to(memory_format=torch.channels_last)


def images(n=4, side=12, seed=0):
    return torch.rand(n, 3, side, side, generator=torch.Generator().manual_seed(seed))


def loss_of(module, target=0.0):
    return (module(images()) - target).square().mean()


def step(optimizer, module):
    optimizer.zero_grad()
    loss = loss_of(module)
    loss.backward()
    optimizer.step()
    return float(loss.detach())


def test_the_rate_falls_as_half_a_cosine_to_zero_over_the_budget():
    recipe = Recipe(learning_rate=2.0, warm_up=10)
    assert recipe.rate(0, 1000) == 2
    assert recipe.rate(0.5, 1000) == pytest.approx(1)
    assert recipe.rate(1 / 3, 1000) == pytest.approx(1.5)
    assert recipe.rate(1, 1000) == recipe.rate(1.1, 1000) == pytest.approx(0, abs=1e-12)
    falling = [recipe.rate(share, 1000) for share in np.linspace(0, 1, 20)]
    assert falling == sorted(falling, reverse=True)


def test_the_rate_is_divided_by_ten_after_each_quarter_of_the_budget():
    recipe = Recipe(learning_rate=0.1, schedule="steps", warm_up=0)
    rates = [recipe.rate(iteration / 400, iteration) for iteration in (0, 99, 100, 199, 200, 299, 300, 399, 400, 500)]
    assert rates == pytest.approx([0.1] * 2 + [0.01] * 2 + [0.001] * 2 + [0.0001] * 4)


@pytest.mark.parametrize("schedule", ["cosine", "steps"])
def test_the_rate_rises_over_the_first_iterations(schedule):
    recipe = Recipe(learning_rate=1.0, schedule=schedule, warm_up=4)
    assert [recipe.rate(0, iteration) for iteration in range(6)] == [0.25, 0.5, 0.75, 1, 1, 1]
    assert recipe.rate(0.5, 0) == pytest.approx(recipe.rate(0.5, 10) / 4)
    assert replace(recipe, warm_up=0).rate(0, 0) == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"optimizer": "adamw"}, "optimizer='adamw' is not one of 'soap', 'adam', 'sgd'"),
        ({"loss": "l1"}, "loss='l1' is not one of 'psnr', 'mse', 'sum'"),
        ({"schedule": "linear"}, "schedule='linear' is not one of 'cosine', 'steps'"),
        ({"learning_rate": 0.0}, "learning_rate=0.0 is not more than 0"),
        ({"learning_rate": float("nan")}, "learning_rate=nan is not more than 0"),
        ({"batch_size": 0}, "batch_size=0 is not more than 0"),
        ({"crop": -1}, "crop=-1 is not more than 0"),
        ({"clip": 0}, "clip=0 is not more than 0"),
        ({"branch_scale": 0}, "branch_scale=0 is not more than 0"),
        ({"average": 1.0}, r"average=1.0 is not in \[0, 1\)"),
        ({"average": -0.1}, r"average=-0.1 is not in \[0, 1\)"),
    ],
)
def test_a_recipe_that_cannot_be_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        Recipe(**changes)


def test_the_papers_recipe_is_its_section_3_3():
    paper = RECIPES["paper"]
    assert (paper.optimizer, paper.learning_rate, paper.schedule) == ("sgd", 0.1, "steps")
    assert (paper.batch_size, paper.crop) == (64, 63)
    assert (paper.warm_up, paper.average) == (0, 0)
    optimizer = paper.new_optimizer(network())
    assert isinstance(optimizer, torch.optim.SGD)
    assert optimizer.param_groups[0]["momentum"] == 0.9


def test_the_first_recipe_is_the_default_one():
    assert next(iter(RECIPES.items())) == ("fast", Recipe())


@pytest.mark.parametrize(("name", "kind"), [("soap", MatrixSOAP), ("adam", torch.optim.Adam), ("sgd", torch.optim.SGD)])
def test_each_optimizer_trains_a_network(name, kind):
    module = network()
    optimizer = Recipe(optimizer=name, learning_rate=0.01).new_optimizer(module)
    assert type(optimizer) is kind
    assert optimizer.param_groups[0]["lr"] == 0.01
    losses = [step(optimizer, module) for _ in range(20)]
    assert losses[-1] < 0.8 * losses[0]


class TestMatrixSOAP:
    @pytest.mark.parametrize("kind", [ThreeLayerCNN, EightLayerCNN])
    def test_its_matrices_are_the_networks_kernels(self, kind):
        module = network(kind)
        optimizer = MatrixSOAP(module.parameters(), 0.1)
        for matrix, parameter in zip(optimizer.matrices, module.parameters(), strict=True):
            assert matrix.data_ptr() == parameter.data_ptr()
            if parameter.ndim == 4:
                outputs, inputs, height, width = parameter.shape
                assert matrix.shape == (outputs, height * width * inputs)
                assert torch.equal(matrix[1].view(height, width, inputs), parameter[1].permute(1, 2, 0))
            else:
                assert torch.equal(matrix, parameter)

    @pytest.mark.parametrize("kind", [ThreeLayerCNN, EightLayerCNN])
    def test_a_step_changes_every_parameter_of_the_network(self, kind):
        module = network(kind)
        optimizer = MatrixSOAP(module.parameters(), 0.01)
        before = [parameter.detach().clone() for parameter in module.parameters()]
        for _ in range(2):  # the first step finds the eigenbases only
            step(optimizer, module)
        for old, parameter in zip(before, module.parameters(), strict=True):
            assert not torch.equal(old, parameter)

    def test_is_soap_of_the_matrices(self):
        module = network()
        optimizer = MatrixSOAP(module.parameters(), 0.01)
        copies = [torch.nn.Parameter(matrix.detach().clone()) for matrix in optimizer.matrices]
        plain = SOAP(copies, 0.01, weight_decay=0.0)
        for _ in range(12):  # eigenbases are updated every ten
            optimizer.zero_grad()
            loss_of(module).backward()
            for copy, parameter in zip(copies, module.parameters(), strict=True):
                gradient = parameter.grad
                rows = gradient.permute(0, 2, 3, 1).flatten(1) if gradient.ndim == 4 else gradient
                copy.grad = rows.clone()
            optimizer.step()
            plain.step()
        for copy, matrix in zip(copies, optimizer.matrices, strict=True):
            torch.testing.assert_close(matrix, copy)

    def test_the_loss_falls_faster_than_with_adam(self):
        losses = {}
        for kind in (MatrixSOAP, torch.optim.Adam):
            module = network(wide=8, narrow=8)
            optimizer = kind(module.parameters(), 3e-3)
            losses[kind] = [step(optimizer, module) for _ in range(60)]
            assert losses[kind][-1] < 0.5 * losses[kind][0]
        assert losses[MatrixSOAP][-1] < 0.8 * losses[torch.optim.Adam][-1]

    def test_the_largest_matrices_have_no_eigenbasis(self, monkeypatch):
        monkeypatch.setattr(MatrixSOAP, "LARGEST", 100)
        module = network(wide=4, narrow=3)  # kernels of 9x9x3 = 243, 5x5x4 = 100 and 5x5x3 = 75 values
        optimizer = MatrixSOAP(module.parameters(), 0.01)
        step(optimizer, module)
        sides = [[len(basis) for basis in optimizer.state[matrix]["Q"]] for matrix in optimizer.matrices]
        assert sides == [[4, 0], [0], [3, 100], [0], [3, 75], [0]]

    def test_all_but_one_kernel_of_the_papers_networks_have_eigenbases(self):
        for kind, over in ((ThreeLayerCNN, []), (EightLayerCNN, [1600])):
            optimizer = MatrixSOAP(kind().to(memory_format=torch.channels_last).parameters(), 0.01)
            sides = [side for matrix in optimizer.matrices if matrix.ndim == 2 for side in matrix.shape]
            assert [side for side in sides if side > MatrixSOAP.LARGEST] == over

    def test_forgets_gradients(self):
        module = network()
        optimizer = MatrixSOAP(module.parameters(), 0.01)
        loss_of(module).backward()
        optimizer.zero_grad()
        assert all(parameter.grad is None for parameter in module.parameters())
        before = [parameter.detach().clone() for parameter in module.parameters()]
        optimizer.step()
        assert all(torch.equal(*pair) for pair in zip(before, module.parameters(), strict=True))

    def test_a_network_that_is_not_laid_out_channels_last_is_refused(self):
        with pytest.raises(ValueError, match="not laid out channels last"):
            MatrixSOAP(ThreeLayerCNN(4, 3).parameters(), 0.01)

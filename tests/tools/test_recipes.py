from dataclasses import replace

import numpy as np
import pytest
import torch
from small_networks import network, step

from restore_env.training.optimizers import ConvSOAP
from tools.recipes import RECIPES, Recipe


def test_the_rate_falls_as_half_a_cosine_to_zero_over_the_budget():
    recipe = Recipe(learning_rate=2.0, warmup_updates=10)
    assert recipe.rate(0, 1000) == 2
    assert recipe.rate(0.5, 1000) == pytest.approx(1)
    assert recipe.rate(1 / 3, 1000) == pytest.approx(1.5)
    assert recipe.rate(1, 1000) == recipe.rate(1.1, 1000) == pytest.approx(0, abs=1e-12)
    falling = [recipe.rate(share, 1000) for share in np.linspace(0, 1, 20)]
    assert falling == sorted(falling, reverse=True)


def test_the_rate_is_divided_by_ten_after_each_quarter_of_the_budget():
    recipe = Recipe(learning_rate=0.1, lr_schedule="steps", warmup_updates=0)
    rates = [recipe.rate(iteration / 400, iteration) for iteration in (0, 99, 100, 199, 200, 299, 300, 399, 400, 500)]
    assert rates == pytest.approx([0.1] * 2 + [0.01] * 2 + [0.001] * 2 + [0.0001] * 4)


@pytest.mark.parametrize("schedule", ["cosine", "steps"])
def test_the_rate_rises_over_the_first_iterations(schedule):
    recipe = Recipe(learning_rate=1.0, lr_schedule=schedule, warmup_updates=4)
    assert [recipe.rate(0, iteration) for iteration in range(6)] == [0.25, 0.5, 0.75, 1, 1, 1]
    assert recipe.rate(0.5, 0) == pytest.approx(recipe.rate(0.5, 10) / 4)
    assert replace(recipe, warmup_updates=0).rate(0, 0) == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"optimizer": "adamw"}, "optimizer='adamw' is not one of 'soap', 'adam', 'sgd'"),
        ({"loss": "l1"}, "loss='l1' is not one of 'psnr', 'mse', 'sum'"),
        ({"lr_schedule": "linear"}, "lr_schedule='linear' is not one of 'cosine', 'steps'"),
        ({"learning_rate": 0.0}, "learning_rate=0.0 is not more than 0"),
        ({"learning_rate": float("nan")}, "learning_rate=nan is not more than 0"),
        ({"batch_size": 0}, "batch_size=0 is not a whole number of at least 1"),
        ({"crop": -1}, "crop=-1 is not a whole number of at least 1"),
        ({"max_grad_norm": 0}, "max_grad_norm=0 is not more than 0"),
        ({"branch_scale": 0}, "branch_scale=0 is not more than 0"),
        ({"ema_decay": 1.0}, r"ema_decay=1.0 is not in \[0, 1\)"),
        ({"ema_decay": -0.1}, r"ema_decay=-0.1 is not in \[0, 1\)"),
    ],
)
def test_a_recipe_that_cannot_be_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        Recipe(**changes)


def test_the_papers_recipe_is_its_section_3_3():
    paper = RECIPES["paper"]
    assert (paper.optimizer, paper.learning_rate, paper.lr_schedule) == ("sgd", 0.1, "steps")
    assert (paper.batch_size, paper.crop) == (64, 63)
    assert (paper.warmup_updates, paper.ema_decay) == (0, 0)
    optimizer = paper.new_optimizer(network())
    assert isinstance(optimizer, torch.optim.SGD)
    assert optimizer.param_groups[0]["momentum"] == 0.9


def test_the_first_recipe_is_the_default_one():
    assert next(iter(RECIPES.items())) == ("fast", Recipe())


@pytest.mark.parametrize(("name", "kind"), [("soap", ConvSOAP), ("adam", torch.optim.Adam), ("sgd", torch.optim.SGD)])
def test_each_optimizer_trains_a_network(name, kind):
    module = network()
    optimizer = Recipe(optimizer=name, learning_rate=0.01).new_optimizer(module)
    assert type(optimizer) is kind
    assert optimizer.param_groups[0]["lr"] == 0.01
    losses = [step(optimizer, module) for _ in range(20)]
    assert losses[-1] < 0.8 * losses[0]

import signal
import subprocess
import sys
import time
from copy import deepcopy
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest
import torch

from restore_env.data.pairs import load_pairs, save_pairs
from restore_env.data.sampling import PatchSampler
from restore_env.data.sources import draw_pairs
from restore_env.restoration.metrics import psnr
from restore_env.training.trainer import Budget
from tools.recipes import RECIPES, Recipe
from tools.single.pool import PoolBatches
from tools.single.trainer import ToolTraining
from tools.specs import ToolSpec

pytestmark = pytest.mark.usefixtures("one_thread")

ROOT = Path(__file__).parents[2]
ITERATIONS = 30
QUICK = Recipe(warmup_updates=5, batch_size=4, crop=24)
SPECS = {
    "three-layer": ToolSpec("noise-2", "noise", (12.5, 25), "three-layer", {"wide": 4, "narrow": 3}),
    "eight-layer": ToolSpec("noise-3", "noise", (25, 37.5), "eight-layer", {"wide": 6, "narrow": 4}),
}
SPEC = SPECS["three-layer"]


class Killed(ToolTraining):
    """Keeps its state at iteration 14 only, and dies at 23."""

    def save(self):
        if self.iteration == 14:
            super().save()

    def advance(self):
        if self.iteration == 23:
            raise KeyboardInterrupt
        super().advance()


@pytest.fixture
def training(photos, tmp_path):
    """Make a training on small patches of the photos."""

    def make(
        kind=ToolTraining, spec=SPEC, name="run", seed=0, iterations=ITERATIONS, recipe=QUICK, data="photos", **options
    ):
        pool = draw_pairs(PatchSampler(photos, spec.distortion(), recipe.crop, augment=True), 40, seed)
        return kind(
            spec=spec,
            batch=PoolBatches(pool, recipe.batch_size, seed).batch,
            data=data,
            validation=draw_pairs(PatchSampler(photos, spec.task(), 24), 4, 99).to_tensors(),
            budget=Budget(iterations),
            checkpoint=tmp_path / f"{name}.pt",
            recipe=recipe,
            seed=seed,
            **options,
        )

    return make


def silent(progress):
    pass


def finished(run, report=silent, **options):
    assert run.run(report, **options)
    return run


def state(run):
    """Return all that a training consists of: weights, their average, and the optimizer."""
    return [run.network.state_dict(), run.average.state_dict(), run.optimizer.state_dict(), run.iteration]


def flat(value):
    """All tensors and other values, nested or not."""
    if isinstance(value, dict):
        return [item for key in sorted(value, key=str) for item in (key, *flat(value[key]))]
    if isinstance(value, list | tuple):
        return [item for part in value for item in flat(part)]
    return [value]


def same(one, other):
    """Whether two trainings are equal to the bit."""
    pairs = list(zip(flat(state(one)), flat(state(other)), strict=True))
    assert sum(torch.is_tensor(left) for left, _ in pairs) >= 12
    return all(torch.equal(left, right) if torch.is_tensor(left) else left == right for left, right in pairs)


@pytest.mark.parametrize("architecture", SPECS)
@pytest.mark.parametrize("optimizer", ["soap", "adam", "sgd"])
def test_a_training_that_was_killed_ends_as_if_it_never_had_been(architecture, optimizer, training):
    options = {"spec": SPECS[architecture], "recipe": replace(QUICK, optimizer=optimizer)}
    expected = finished(training(name="whole", **options))
    with pytest.raises(KeyboardInterrupt):
        training(Killed, name="killed", **options).run(silent, every=0.0)
    resumed = training(name="killed", **options)
    assert resumed.iteration == 14
    assert not same(resumed, expected)
    finished(resumed)
    assert same(resumed, expected)
    assert resumed.iteration == expected.iteration == ITERATIONS


def test_a_training_that_was_stopped_goes_on_where_it_was(training):
    expected = finished(training(name="whole"))
    asked = count()
    stopped = training(name="stopped")
    assert not stopped.run(silent, stopping=lambda: next(asked) == 12)
    assert stopped.iteration == 12
    resumed = training(name="stopped")
    assert resumed.iteration == 12
    assert same(finished(resumed), expected)


def on_pairs(folder, name):
    """A training on the pairs of a folder, the same in every process."""
    pairs = load_pairs(folder / "pairs.npz")
    return ToolTraining(
        spec=SPEC,
        batch=PoolBatches(pairs, QUICK.batch_size, 0).batch,
        data="pairs",
        validation=pairs.first(2).to_tensors(),
        budget=Budget(120),
        checkpoint=folder / name,
        recipe=QUICK,
    )


TRAIN = """
import runpy, sys, torch
from pathlib import Path
torch.set_num_threads(1)
run = runpy.run_path(sys.argv[1])["on_pairs"](Path(sys.argv[2]), "killed.pt")
run.run(lambda progress: print(progress.iteration, flush=True), every=0.0)
"""


def test_a_training_that_was_ended_by_sigkill_ends_as_if_it_never_had_been(photos, tmp_path):
    save_pairs(tmp_path / "pairs.npz", draw_pairs(PatchSampler(photos, SPEC.task(), 24), 16, 0))
    command = [sys.executable, "-c", TRAIN, __file__, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            if int(line) >= 25:
                time.sleep(0.01)  # somewhere in a step or a checkpoint
                process.kill()
                break
    assert process.returncode == -signal.SIGKILL
    resumed = on_pairs(tmp_path, "killed.pt")
    assert 24 <= resumed.iteration < 120  # what is reported is saved right after
    assert same(finished(resumed), finished(on_pairs(tmp_path, "whole.pt")))


def test_the_same_seed_gives_the_same_tool(training):
    first, second, other = (
        finished(training(name=name, seed=seed, iterations=12)) for name, seed in (("a", 0), ("b", 0), ("c", 1))
    )
    assert same(first, second)
    assert not same(first, other)


@pytest.mark.parametrize(
    "recipe",
    [replace(RECIPES["fast"], batch_size=8, crop=24, ema_decay=0.95), replace(RECIPES["paper"], batch_size=8, crop=24)],
    ids=["fast", "paper"],
)
def test_training_raises_the_psnr_of_patches_it_has_not_seen(recipe, training):
    spec = ToolSpec("noise-2", "noise", (25, 25), "three-layer", {"wide": 8, "narrow": 8})
    run = training(spec=spec, iterations=150, recipe=recipe)
    untrained, losses = run.validate(), []
    for _ in range(150):
        run.advance()
        losses.append(float(run.loss.detach()))
    before, after = run.validate()
    assert before == untrained[0]
    assert untrained[1] < before + 1
    assert after > before + 1
    worst = losses[0] + 5 if recipe.loss == "psnr" else 3 * losses[0]
    assert max(losses) < worst  # it never diverged on the way


def test_the_learning_rate_is_the_recipes(training):
    recipe = replace(QUICK, optimizer="sgd", lr_schedule="steps", learning_rate=0.1, warmup_updates=0)
    run, rates = training(iterations=8, recipe=recipe), []
    while run.progress < 1:
        run.advance()
        rates.append(run.optimizer.param_groups[0]["lr"])
    assert rates == pytest.approx([0.1, 0.1, 0.01, 0.01, 0.001, 0.001, 0.0001, 0.0001])


def test_gradients_are_clipped(training):
    recipe = replace(QUICK, optimizer="sgd", learning_rate=1.0, warmup_updates=0, max_grad_norm=1e-3)
    run = training(recipe=recipe)
    before = [parameter.detach().clone() for parameter in run.network.parameters()]
    run.advance()
    moved = [(parameter - old).square().sum() for old, parameter in zip(before, run.network.parameters(), strict=True)]
    assert float(sum(moved).sqrt().detach()) == pytest.approx(1e-3, rel=1e-3)


def test_the_loss_is_the_recipes(training):
    run = training()
    distorted, reference = run.batch(0)
    with torch.no_grad():
        restored = run.network(distorted)
    squares = (restored - reference).square()
    expected = {
        "psnr": -float(psnr(restored, reference).mean()),
        "mse": float(squares.mean()),
        "sum": float(squares.sum() / 2 / len(reference)),
    }
    for name, value in expected.items():
        # below 30 dB the floor of 1e-5 changes less than 0.1 dB
        assert float(Recipe(loss=name).loss_of(restored, reference)) == pytest.approx(value, rel=2e-3)
    run.advance()
    assert float(run.loss.detach()) == pytest.approx(expected["psnr"], rel=2e-3)


def test_a_perfect_patch_has_no_endless_psnr():
    images = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0), requires_grad=True)
    loss = Recipe().loss_of(images, images.detach())
    loss.backward()
    assert float(loss.detach()) == pytest.approx(-50)
    assert bool(torch.isfinite(images.grad).all())


def test_training_starts_near_the_identity(training):
    for spec in SPECS.values():
        near, far = (training(spec=spec, recipe=replace(QUICK, branch_scale=scale)).validate() for scale in (1e-6, 1.0))
        assert near[1] == pytest.approx(near[0], abs=0.01)
        assert far[1] != pytest.approx(far[0], abs=0.1)


def test_the_tool_is_the_average_of_the_weights(training):
    run = training(iterations=2)
    seen = []
    advance = run.advance

    def remembering():
        advance()
        seen.append([parameter.detach().clone() for parameter in run.network.parameters()])

    run.advance = remembering
    finished(run)
    assert (run.tool.name, run.tool.removes, run.tool.interval) == ("noise-2", "noise", (12.5, 25))
    assert run.tool.module is run.average.module
    for average, one, two in zip(run.average.module.parameters(), *seen, strict=True):
        torch.testing.assert_close(average.detach(), (one + two) / 2)  # at first the plain mean


def test_without_an_average_the_tool_is_the_last_weights(training):
    run = finished(training(iterations=5, recipe=replace(QUICK, ema_decay=0.0)))
    for average, last in zip(run.average.module.parameters(), run.network.parameters(), strict=True):
        assert torch.equal(average, last)


def test_a_training_goes_back_to_the_weights_that_its_guard_returns(training):
    run, good = training(iterations=8), []

    def check(iteration, loss, state):
        if iteration == 3:
            good.append(deepcopy(state()))
        return deepcopy(good[0]) if iteration == 8 else None

    run.guard.check = check
    finished(run)
    back = [getattr(run, name).state_dict() for name in ("network", "average", "optimizer")]
    expected = [good[0][name] for name in ("network", "average", "optimizer")]
    for left, right in zip(flat(back), flat(expected), strict=True):
        assert torch.equal(left, right) if torch.is_tensor(left) else left == right


def test_a_finished_training_is_not_continued(training):
    expected = finished(training(iterations=5))

    class Idle(ToolTraining):
        def advance(self):
            raise AssertionError("trained again")

    again = training(Idle, iterations=5)
    assert again.progress == 1
    assert same(finished(again), expected)


def test_a_larger_budget_trains_on(training):
    finished(training(iterations=5))
    longer = training(iterations=9)
    assert longer.iteration == 5
    assert finished(longer).iteration == 9


def test_progress_says_how_the_training_stands(training):
    seen = []
    run = finished(training(iterations=2), seen.append, every=0.0)
    before, after = run.validate()
    assert [progress.iteration for progress in seen] == [1, 2, 2]
    last = seen[-1]
    loss = last.scalars["training/loss"]
    assert last.scalars["validation/psnr"] == after
    assert last.scalars["validation/gain"] == after - before
    assert -40 < loss < -10
    assert last.line == f"noise-2: iteration 2, loss {loss:.3g}, {before:.3f} -> {after:.3f} dB, 0.0 min, 0.0 min left"
    fresh = training(name="fresh").status()
    assert "training/loss" not in fresh.scalars
    assert fresh.line.startswith("noise-2: iteration 0, ") and fresh.line.endswith(" dB, 0.0 min")


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"spec": SPECS["eight-layer"]}, "tool"),
        ({"recipe": replace(QUICK, crop=25)}, "recipe"),
        ({"seed": 1}, "seed"),
        ({"data": "other photos"}, "data"),
        ({"precision": "bfloat16"}, "precision"),
    ],
)
def test_a_checkpoint_of_another_training_is_refused(changes, what, training):
    finished(training(iterations=1))
    with pytest.raises(ValueError, match=rf"run\.pt: belongs to a training with another {what}; delete it"):
        training(**changes)


def test_a_damaged_checkpoint_is_named(training, tmp_path):
    finished(training(iterations=1))
    (tmp_path / "run.pt").write_bytes((tmp_path / "run.pt").read_bytes()[:1000])
    with pytest.raises(ValueError, match=r"run\.pt: not a checkpoint, or damaged"):
        training()


def test_a_checkpoint_without_a_training_is_refused(training, tmp_path):
    torch.save({"iteration": 3}, tmp_path / "run.pt")
    with pytest.raises(ValueError, match=r"run\.pt: belongs to a training with another tool"):
        training()


def test_a_budget_is_iterations_or_minutes():
    assert Budget(iterations=10).progress(4, seconds=1e6) == pytest.approx(0.4)
    assert Budget(minutes=2).progress(4, seconds=30) == pytest.approx(0.25)
    assert Budget(iterations=10, minutes=1).progress(5, seconds=600) == pytest.approx(0.5)
    assert Budget().progress(10**9, seconds=1e9) == 0
    for wrong in ({"iterations": 0}, {"minutes": 0.0}, {"minutes": float("nan")}):
        (name,) = wrong
        with pytest.raises(ValueError, match=f"{name}="):
            Budget(**wrong)


def test_a_budget_in_minutes_ends_the_training(training):
    run = training()
    run.budget = Budget(minutes=0.2 / 60)
    finished(run)
    assert run.iteration > 0
    assert 0.2 <= run.seconds < 5


def test_bfloat16_computes_about_the_same(training):
    exact = finished(training(name="exact", iterations=8))
    run = finished(training(name="rounded", iterations=8, precision="bfloat16"))
    assert run.validate()[1] == pytest.approx(exact.validate()[1], abs=0.5)
    assert not same(run, exact)
    assert {parameter.dtype for parameter in run.network.parameters()} == {torch.float32}

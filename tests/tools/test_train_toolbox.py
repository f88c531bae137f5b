from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from restore_env import load_toolbox
from restore_env.pairs import PatchSampler, draw_pairs
from restore_env.toolbox.networks import ARCHITECTURES
from tools import train_toolbox
from tools.specs import RL_RESTORE_12, ToolSpec
from tools.tool_training import Budget, Recipe, ToolTraining, schedule
from tools.train_toolbox import Args
from tools.training_data import TrainingBatches, pairs_to_tensors

ITERATIONS = 16
QUICK = Recipe(warm_up=5, batch_size=4, crop=24)
SPECS = [
    ToolSpec("noise-2", "noise", (12.5, 25), "three-layer", {"wide": 4, "narrow": 3}),
    ToolSpec("noise-3", "noise", (25, 37.5), "eight-layer", {"wide": 6, "narrow": 4}),
]


class Killed(ToolTraining):
    """Keeps its state at iteration 6 only, and dies at 11."""

    def save(self):
        if self.iteration == 6:
            super().save()

    def step(self, batch):
        if self.iteration == 11:
            raise KeyboardInterrupt
        return super().step(batch)


@pytest.fixture
def quick_main(monkeypatch):
    """Eight validation patches instead of 256; the numbers of threads that `main` sets are put back."""
    before = torch.get_num_threads(), cv2.getNumThreads()
    monkeypatch.setattr(train_toolbox, "cpu_count", lambda: 1)
    monkeypatch.setattr(train_toolbox, "draw_pairs", lambda source, n, seed: draw_pairs(source, n // 32, seed))
    yield
    torch.set_num_threads(before[0])
    cv2.setNumThreads(before[1])


@pytest.fixture
def training(photos, tmp_path):
    """Make a training on small patches of the photos."""

    def make(kind=ToolTraining, spec=SPECS[0], name="run", seed=0, iterations=ITERATIONS, recipe=QUICK):
        sampler = PatchSampler(photos, spec.distortion(), recipe.crop, augment=True)
        return kind(
            spec,
            TrainingBatches(sampler, recipe.batch_size, seed),
            pairs_to_tensors(draw_pairs(PatchSampler(photos, spec.distortion(), 24), 8, 99)),
            Budget(iterations),
            tmp_path / f"{name}.pt",
            recipe,
            seed,
        )

    return make


@pytest.fixture
def args(photo_folder, tmp_path):
    def make(**changes):
        options = {"tools": ("noise-1",), "iterations": 3, "jobs": 1, "precision": "float32"} | changes
        places = {"photos": photo_folder, "output": tmp_path / "mine", "checkpoints": tmp_path / "checkpoints"}
        return Args(**(places | options), recipe=Recipe(batch_size=2, crop=24))

    return make


def silent(line):
    pass


def finished(run, report=silent):
    run.run(report, every=0.0)
    return run


def weights(run):
    return [*run.network.state_dict().values(), *run.average.state_dict().values()]


def same(one, other):
    return all(torch.equal(left, right) for left, right in zip(weights(one), weights(other), strict=True))


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.architecture)
def test_a_training_that_was_killed_ends_as_if_it_never_had_been(spec, training):
    expected = finished(training(spec=spec, name="whole"))
    with pytest.raises(KeyboardInterrupt):
        training(Killed, spec, "killed").run(silent, every=0.0)
    resumed = training(spec=spec, name="killed")
    assert resumed.iteration == 6
    assert not same(resumed, expected)
    finished(resumed)
    assert same(resumed, expected)
    moments = [run.optimizer.state_dict()["state"] for run in (resumed, expected)]
    for key, values in moments[0].items():
        assert all(torch.equal(values[name], moments[1][key][name]) for name in values)
    assert resumed.iteration == expected.iteration == ITERATIONS


def test_the_same_seed_gives_the_same_tool(training):
    first, second, other = (finished(training(name=name, seed=seed)) for name, seed in (("a", 0), ("b", 0), ("c", 1)))
    assert same(first, second)
    assert not same(first, other)


def test_training_raises_the_psnr_of_patches_it_has_not_seen(training):
    spec = ToolSpec("noise-2", "noise", (25, 25), "three-layer", {"wide": 8, "narrow": 8})
    run = training(spec=spec, iterations=120, recipe=Recipe(2e-3, warm_up=10, batch_size=8, crop=24, average=0.95))
    untrained = run.validate()
    run.run(silent)
    before, after = run.validate()
    assert before == untrained[0]
    assert after > before + 3
    assert untrained[1] < before + 1


def test_the_tool_is_the_average_of_the_weights(training):
    run = training(iterations=1)
    first = [parameter.clone() for parameter in run.network.parameters()]
    tool = run.run(silent)
    assert (tool.name, tool.removes, tool.interval) == ("noise-2", "noise", (12.5, 25))
    assert tool.module is run.average
    for average, start, end in zip(run.average.parameters(), first, run.network.parameters(), strict=True):
        assert torch.equal(average, end)  # the mean of the weights after the first step
        assert not torch.equal(start, end)


def test_a_finished_training_is_not_continued(training):
    expected = finished(training())

    class Idle(ToolTraining):
        def step(self, batch):
            raise AssertionError("trained again")

    again = training(Idle)
    assert again.progress == 1
    assert same(finished(again), expected)


def test_progress_is_reported_with_the_validation(training):
    lines = []
    run = finished(training(iterations=2), lines.append)
    before, after = run.validate()
    assert [line.split(",")[0] for line in lines] == [f"noise-2: iteration {number}" for number in (1, 2, 2)]
    assert f" {before:.2f} -> {after:.2f} dB, " in lines[-1]
    assert lines[-1].endswith("0.0 min left")


def test_a_damaged_checkpoint_is_named(training, tmp_path):
    finished(training(iterations=1))
    (tmp_path / "run.pt").write_bytes((tmp_path / "run.pt").read_bytes()[:1000])
    with pytest.raises(ValueError, match=r"run\.pt: not a checkpoint, or damaged"):
        training()


def test_a_checkpoint_of_another_network_is_refused(training):
    finished(training(iterations=1))
    with pytest.raises(ValueError, match=r"run\.pt: belongs to a training with another tool"):
        training(spec=SPECS[1])


def test_a_checkpoint_of_another_recipe_or_seed_is_refused(training):
    run = training(iterations=1)
    finished(run)
    with pytest.raises(ValueError, match="another recipe; delete it"):
        training(recipe=replace(run.recipe, crop=run.recipe.crop + 1))
    with pytest.raises(ValueError, match="another seed; delete it"):
        training(seed=run.seed + 1)


def test_a_checkpoint_without_a_training_is_refused(training, tmp_path):
    torch.save({"iteration": 3}, tmp_path / "run.pt")
    with pytest.raises(ValueError, match=r"run\.pt: belongs to a training with another tool"):
        training()


def test_a_budget_is_iterations_or_minutes():
    assert Budget(iterations=10).progress(4, seconds=1e6) == pytest.approx(0.4)
    assert Budget(minutes=2).progress(4, seconds=30) == pytest.approx(0.25)
    assert Budget(iterations=10, minutes=1).progress(5, seconds=600) == pytest.approx(0.5)
    assert Budget(iterations=0).progress(0, 0) == Budget(minutes=0).progress(0, 0) == Budget().progress(0, 0) == 1


def test_a_budget_in_minutes_ends_the_training(training):
    run = training()
    run.budget = Budget(minutes=0.2 / 60)
    finished(run)
    assert run.iteration > 0
    assert 0.2 <= run.seconds < 5


def test_the_learning_rate_falls_to_zero_over_the_budget():
    assert schedule(0, 1000, 10) == 1
    assert schedule(0.5, 1000, 10) == pytest.approx(0.5)
    assert schedule(1, 1000, 10) == schedule(1.1, 1000, 10) == pytest.approx(0, abs=1e-12)
    falling = [schedule(share, 1000, 10) for share in np.linspace(0, 1, 20)]
    assert falling == sorted(falling, reverse=True)


def test_the_learning_rate_rises_over_the_first_iterations():
    assert [schedule(0, iteration, 4) for iteration in range(6)] == [0.25, 0.5, 0.75, 1, 1, 1]
    assert schedule(0.5, 0, 4) == pytest.approx(0.125)
    assert schedule(0, 0, 0) == 1  # no warm-up at all


def test_the_specs_are_those_of_the_papers_table_1():
    names = [f"{removes}-{number}" for removes in ("blur", "noise", "jpeg") for number in range(1, 5)]
    assert [spec.name for spec in RL_RESTORE_12] == names
    assert [spec.interval for spec in RL_RESTORE_12[8:]] == [(100, 60), (60, 35), (35, 20), (20, 10)]
    layers = {name: "three-layer" if number % 4 < 2 else "eight-layer" for number, name in enumerate(names)}
    assert {spec.name: spec.architecture for spec in RL_RESTORE_12} == layers
    for spec in RL_RESTORE_12:
        assert type(spec.network(0)) is ARCHITECTURES[layers[spec.name]]


@pytest.mark.parametrize("number", [0, 4, 8])
def test_slight_noise_and_jpeg_are_added_to_be_robust(number, photos):
    spec = RL_RESTORE_12[number]
    rng = np.random.default_rng(0)
    for robust, intervals in ((True, [spec.interval, (0, 5), (80, 100)]), (False, [spec.interval])):
        drawn = [list(spec.distortion(robust)(photos[0], rng)[1].items()) for _ in range(20)]
        for place, interval in enumerate(intervals):
            values = [draw[place][1] for draw in drawn]
            assert min(interval) <= min(values) < max(values) <= max(interval)
        assert all(len(draw) == len(intervals) and draw[0][0].startswith(spec.removes) for draw in drawn)


def test_main_writes_a_toolbox_with_its_model_card(args, quick_main, tmp_path, capsys):
    toolbox = train_toolbox.main(args(tools=("noise-1", "blur-1"), licence="made up"))
    loaded = load_toolbox(tmp_path / "mine")
    assert toolbox.names == loaded.names == ("blur-1", "noise-1")  # the paper's order
    assert loaded.name == "mine"
    assert loaded[1].interval == (0, 12.5)
    for one, other in zip(toolbox, loaded, strict=True):
        states = one.module.state_dict(), other.module.state_dict()
        assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    card = (tmp_path / "mine" / "README.md").read_text()
    assert card.startswith("# mine\n")
    assert "| noise-1 | noise 0 to 12.5 | 3 |" in card
    assert "- Training photos: made up" in card
    assert str(tmp_path) not in card
    captured = capsys.readouterr()
    assert captured.out == "" and "noise-1: iteration 3, " in captured.err


def test_main_keeps_the_tools_it_does_not_train(args, quick_main, tmp_path):
    first = train_toolbox.main(args())[0].module.state_dict()
    toolbox = train_toolbox.main(args(tools=("blur-1",), name="both"))
    assert toolbox.names == ("blur-1", "noise-1")
    kept = load_toolbox(tmp_path / "mine")[1].module.state_dict()
    assert all(torch.equal(kept[key], first[key]) for key in first)
    card = (tmp_path / "mine" / "README.md").read_text()
    assert card.startswith("# both\n")
    assert "Kept from an earlier training: noise-1." in card


def test_tools_of_other_names_are_kept_and_come_last(args, network_toolbox, tmp_path):
    train_toolbox.save_toolbox(network_toolbox, tmp_path / "mine")
    tool = SPECS[0].tool(SPECS[0].network(0))
    assert train_toolbox.merged(args(), [tool]).names == ("noise-2", "three", "eight")


@pytest.mark.slow
def test_tools_trained_side_by_side_are_the_same(args, quick_main, tmp_path):
    options = {"tools": ("noise-1", "blur-1"), "iterations": 2}
    one = train_toolbox.main(args(**options))
    two = train_toolbox.main(args(**options, jobs=2, output=tmp_path / "b", checkpoints=tmp_path / "c"))
    for left, right in zip(one, two, strict=True):
        for key, value in left.module.state_dict().items():
            # sums are split among as many threads as each process has
            torch.testing.assert_close(value, right.module.state_dict()[key], atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tools": ("noise-1", "noise-9")}, "tools: 'noise-9' is not one of blur-1, blur-2"),
        ({"precision": "float16"}, "precision='float16' is not 'auto', 'float32' or 'bfloat16'"),
    ],
)
def test_wrong_options_are_refused(changes, message, args, quick_main, tmp_path):
    with pytest.raises(ValueError, match=message):
        train_toolbox.main(args(**changes))
    assert not (tmp_path / "mine").exists()


def test_without_validation_photos_some_are_kept_aside(args, photo_folder, tmp_path):
    training, held_out = train_toolbox.photos_of(args())
    assert [path.name for path in held_out.paths] == ["0.png"]
    assert [path.name for path in training.paths] == ["1.png", "2.png"]
    training, held_out = train_toolbox.photos_of(args(validation=photo_folder))
    assert len(training) == len(held_out) == 3


def test_one_photo_is_not_enough_without_validation_photos(args, photo_folder):
    for name in ("1.png", "2.png"):
        (photo_folder / name).unlink()
    with pytest.raises(ValueError, match="has one photo; two are needed, or --validation"):
        train_toolbox.photos_of(args())

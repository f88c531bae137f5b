import json
import os
import runpy
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import gymnasium as gym
import pytest
import torch
import tyro
from fading import Fading

import restore_env  # noqa: F401 - registers the environment
from restore_env import load_toolbox, save_toolbox
from restore_env.data.image_io import write_image
from restore_env.data.photos import FolderPhotos
from restore_env.toolbox.networks import EightLayerCNN, ThreeLayerCNN
from restore_env.training.logging import read_history
from restore_env.training.parallel import train_in_parallel
from restore_env.training.signals import Stopped, stop_request
from restore_env.training.trainer import load_checkpoint
from tools import train_toolbox
from tools.recipes import RECIPES
from tools.single.pool import PoolBatches
from tools.specs import ToolSpec
from tools.train_toolbox import Args

pytestmark = pytest.mark.usefixtures("one_thread")

ROOT = Path(__file__).parents[2]
SMALL = {"wide": 2, "narrow": 2}
NOISE = ToolSpec("denoise", "noise", (0, 50), "three-layer", SMALL)
FADE = ToolSpec("unfade", "fading:Fading", (0.9, 0.5), "eight-layer", SMALL)
JPEG = ToolSpec("deblock", "jpeg", (60, 10), "three-layer", SMALL)


@pytest.fixture
def quick(monkeypatch):
    """Eight validation patches instead of 256, and one core."""
    monkeypatch.setattr(train_toolbox, "available_cores", lambda: 1)
    monkeypatch.setattr(train_toolbox, "VALIDATION_PATCHES", 8)


def describe(path, *specs):
    """Write a description of tools and return its path."""
    path.write_text(json.dumps({"format": 1, "name": path.stem, "tools": [asdict(spec) for spec in specs]}))
    return path


@pytest.fixture
def description(tmp_path):
    """A description of three tiny tools."""
    return describe(tmp_path / "tiny.json", NOISE, FADE, JPEG)


@pytest.fixture
def opened(monkeypatch):
    """The folders of photos that this process opens."""
    folders, begin = [], FolderPhotos.__init__

    def counted(self, folder):
        folders.append(Path(folder))
        begin(self, folder)

    monkeypatch.setattr(FolderPhotos, "__init__", counted)
    return folders


@pytest.fixture
def args(photo_folder, description, tmp_path):
    def make(**changes):
        places = {"photos": photo_folder, "output": tmp_path / "mine", "checkpoints": tmp_path / "checkpoints"}
        small = {"toolbox": str(description), "iterations": 3, "batch_size": 2, "crop": 24, "pool": 6, "trust": True}
        return Args(**({"precision": "float32"} | places | small | changes))

    return make


def equal(one, other):
    """Whether two tools have the same weights."""
    states = one.module.state_dict(), other.module.state_dict()
    assert states[0].keys() == states[1].keys()
    return all(torch.equal(states[0][key], states[1][key]) for key in states[0])


def records(folder):
    return json.loads((folder / "training.json").read_text())["tools"]


class TestMain:
    def test_writes_a_toolbox_with_its_records_and_model_card(self, args, quick, tmp_path, capsys):
        toolbox = train_toolbox.main(args(licence="made up"))
        loaded = load_toolbox(tmp_path / "mine")
        assert toolbox.names == loaded.names == ("denoise", "unfade", "deblock")
        assert toolbox.name == loaded.name == "mine"
        assert all(equal(one, other) for one, other in zip(toolbox, loaded, strict=True))
        assert [tool.interval for tool in loaded] == [(0, 50), (0.9, 0.5), (60, 10)]
        assert sorted(path.name for path in (tmp_path / "mine").iterdir()) == [
            "README.md",
            "toolbox.json",
            "tools.safetensors",
            "training.json",
        ]
        assert list(records(tmp_path / "mine")) == ["denoise", "unfade", "deblock"]
        record = records(tmp_path / "mine")["denoise"]
        assert record["iterations"] == 3
        assert record["settings"]["photos"] == "made up (2 photos)"
        recipe = record["settings"]["recipe"]
        assert (recipe["name"], recipe["optimizer"], recipe["crop"], recipe["batch_size"]) == ("fast", "soap", 24, 2)
        card = (tmp_path / "mine" / "README.md").read_text()
        assert "\n# mine\n" in card
        assert "| denoise | noise 0 to 50 |" in card and "| unfade | fading:Fading 0.9 to 0.5 |" in card
        captured = capsys.readouterr()
        assert captured.out == "" and "denoise: iteration 3, " in captured.err
        (entry,) = read_history(tmp_path / "checkpoints" / "denoise")
        assert entry["iteration"] == 3 and entry["validation/psnr"] == pytest.approx(record["psnr_out"], abs=1e-3)

    def test_no_path_of_this_machine_is_published(self, args, quick, tmp_path):
        train_toolbox.main(args(tools=("denoise",), validation=tmp_path / "photos"))
        for path in (tmp_path / "mine").iterdir():
            assert str(tmp_path).encode() not in path.read_bytes()
            assert str(Path.home()).encode() not in path.read_bytes()

    def test_a_tool_for_a_distortion_of_ones_own_is_an_action(self, args, quick, photos, tmp_path):
        train_toolbox.main(args(tools=("unfade", "denoise")))
        environment = gym.make(
            "ImageRestore-v1", toolbox=str(tmp_path / "mine"), images=photos, severity=Fading(0.5, 0.6)
        )
        environment.reset(seed=0)
        assert 0.5 <= environment.unwrapped.pair.distortion["contrast"] <= 0.6
        for action in (0, 1):
            _, reward, _, _, _ = environment.step(action)
            assert isinstance(reward, float)
        assert environment.unwrapped.toolbox.names == ("denoise", "unfade")
        environment.close()

    def test_the_papers_tools_are_the_default(self, args, quick):
        toolbox = train_toolbox.main(args(toolbox=Args.toolbox, tools=("noise-3", "blur-1"), iterations=1))
        assert toolbox.names == ("blur-1", "noise-3")
        assert [type(tool.module) for tool in toolbox] == [ThreeLayerCNN, EightLayerCNN]
        assert sum(parameter.numel() for parameter in toolbox[1].module.parameters()) == 50_851

    def test_tools_that_are_not_trained_are_kept_with_their_records(self, args, quick, tmp_path):
        first = train_toolbox.main(args(tools=("deblock",)))[0]
        record = records(tmp_path / "mine")["deblock"]
        toolbox = train_toolbox.main(args(tools=("denoise",), name="both", iterations=2, seed=4))
        assert toolbox.names == ("denoise", "deblock")  # the description's order
        assert equal(load_toolbox(tmp_path / "mine")[1], first)
        assert list(records(tmp_path / "mine")) == ["denoise", "deblock"]
        assert records(tmp_path / "mine")["deblock"] == record
        assert records(tmp_path / "mine")["denoise"]["settings"]["seed"] == 4
        card = (tmp_path / "mine" / "README.md").read_text()
        assert "\n# both\n" in card and "| deblock |" in card

    def test_tools_of_other_names_are_kept_and_come_last(self, args, quick, network_toolbox, tmp_path):
        save_toolbox(network_toolbox, tmp_path / "mine")
        toolbox = train_toolbox.main(args(tools=("deblock",)))
        assert toolbox.names == ("deblock", "three", "eight")
        assert equal(toolbox[1], network_toolbox[0])
        assert "Not trained by this program: three, eight." in (tmp_path / "mine" / "README.md").read_text()

    def test_tools_that_another_run_writes_meanwhile_are_kept(self, args, quick, network_toolbox, tmp_path):
        planned = train_toolbox.plan(args(tools=("deblock",)))
        save_toolbox(network_toolbox, tmp_path / "mine")
        assert train_toolbox.run(planned).names == ("deblock", "three", "eight")
        assert load_toolbox(tmp_path / "mine").names == ("deblock", "three", "eight")

    def test_records_of_tools_that_are_gone_are_dropped(self, args, quick, network_toolbox, tmp_path):
        train_toolbox.main(args(tools=("denoise",)))
        save_toolbox(network_toolbox, tmp_path / "mine")
        train_toolbox.main(args(tools=("deblock",)))
        assert list(records(tmp_path / "mine")) == ["deblock"]
        assert "| denoise |" not in (tmp_path / "mine" / "README.md").read_text()

    def test_a_finished_training_is_read_from_its_checkpoint(self, args, quick, tmp_path, monkeypatch):
        first = train_toolbox.main(args(tools=("denoise",)))
        monkeypatch.setattr(PoolBatches, "batch", None)  # another iteration would fail
        again = train_toolbox.main(args(tools=("denoise",), output=tmp_path / "again"))
        assert equal(first[0], again[0])
        assert records(tmp_path / "again")["denoise"]["iterations"] == 3

    def test_more_iterations_train_on(self, args, quick, tmp_path):
        train_toolbox.main(args(tools=("denoise",)))
        train_toolbox.main(args(tools=("denoise",), iterations=5))
        assert records(tmp_path / "mine")["denoise"]["iterations"] == 5

    def test_tools_of_another_toolbox_are_gone_on_from(self, args, quick, tmp_path):
        first = train_toolbox.main(args(tools=("denoise",)))
        began = str(tmp_path / "mine")
        changes = {"output": tmp_path / "on", "checkpoints": tmp_path / "more", "tools": ("denoise",), "seed": 9}
        gone_on = train_toolbox.main(args(start=began, learning_rate=1e-9, **changes))
        for before, after in zip(first[0].module.parameters(), gone_on[0].module.parameters(), strict=True):
            torch.testing.assert_close(before, after, atol=1e-6, rtol=0)
        assert records(tmp_path / "on")["denoise"]["settings"]["start"] == "mine"
        with pytest.raises(ValueError, match="denoise.pt: belongs to a training with another start"):
            train_toolbox.main(args(learning_rate=1e-9, **changes))

    def test_a_toolbox_of_one_tool_starts_all(self, args, quick, tmp_path):
        alone = train_toolbox.main(args(tools=("denoise",)))
        changes = {"output": tmp_path / "on", "checkpoints": tmp_path / "more", "learning_rate": 1e-9}
        both = train_toolbox.main(args(start=str(tmp_path / "mine"), tools=("denoise", "deblock"), **changes))
        assert both.names == ("denoise", "deblock")
        for tool in both:
            for before, after in zip(alone[0].module.parameters(), tool.module.parameters(), strict=True):
                torch.testing.assert_close(before, after, atol=1e-6, rtol=0)

    def test_what_cannot_be_gone_on_from_is_refused(self, args, quick, tmp_path):
        began = str(tmp_path / "mine")
        train_toolbox.main(args(tools=("denoise", "deblock")))
        describe(tmp_path / "other.json", ToolSpec("sharpen", "blur", (0, 5), "three-layer"))
        with pytest.raises(ValueError, match="has no tool 'sharpen'; it has denoise, deblock"):
            train_toolbox.main(args(start=began, output=tmp_path / "on", toolbox=str(tmp_path / "other.json")))
        with pytest.raises(ValueError, match="--output .*mine: would be written over an input, --start"):
            train_toolbox.main(args(start=began))
        larger = ToolSpec("denoise", "noise", (0, 50), "three-layer", {"wide": 4, "narrow": 2})
        describe(tmp_path / "larger.json", larger)
        with pytest.raises(ValueError, match="its tool 'denoise' is not the three-layer network wanted"):
            train_toolbox.main(args(start=began, output=tmp_path / "on", toolbox=str(tmp_path / "larger.json")))

    def test_other_data_are_another_training(self, args, quick, photos, tmp_path):
        train_toolbox.main(args(tools=("denoise",)))
        write_image(tmp_path / "photos" / "3.png", photos[0])
        with pytest.raises(ValueError, match=r"denoise\.pt: belongs to a training with another data; delete it"):
            train_toolbox.main(args(tools=("denoise",)))

    def test_another_seed_is_another_tool(self, args, quick, tmp_path):
        same, again, other = (
            train_toolbox.main(args(tools=("denoise",), seed=seed, checkpoints=tmp_path / name))[0]
            for seed, name in ((0, "a"), (0, "b"), (1, "c"))
        )
        assert equal(same, again)
        assert not equal(same, other)

    def test_prepare_only_draws_the_pools(self, args, quick, tmp_path, monkeypatch):
        assert train_toolbox.main(args(prepare=True)) is None
        pools = sorted((tmp_path / "checkpoints" / "pools").iterdir())
        assert [path.name.split("-")[0] for path in pools] == ["deblock", "denoise", "unfade"]
        assert {path.name for path in (tmp_path / "checkpoints").iterdir()} == {".lock", "pools"}
        assert not any((tmp_path / "mine").iterdir())
        monkeypatch.setattr("tools.single.pool.draw_in_parallel", None)  # drawing again would fail
        assert train_toolbox.main(args()).names == ("denoise", "unfade", "deblock")

    def test_robustness_changes_what_is_trained_on(self, args, quick, tmp_path):
        plans = [train_toolbox.plan(args(robust=robust, tools=("denoise",))) for robust in (True, False)]
        assert len({plan.tools[0].text for plan in plans}) == len({plan.tools[0].pool for plan in plans}) == 2
        train_toolbox.main(args(tools=("denoise",), robust=False))
        assert records(tmp_path / "mine")["denoise"]["settings"]["robust"] is False

    @pytest.mark.slow
    def test_tools_trained_side_by_side_are_the_same(self, args, quick, tmp_path):
        options = {"tools": ("denoise", "unfade"), "iterations": 12}
        one = train_toolbox.main(args(**options))
        two = train_toolbox.main(args(**options, jobs=2, output=tmp_path / "b", checkpoints=tmp_path / "c"))
        assert two.names == ("denoise", "unfade")
        for left, right in zip(one, two, strict=True):
            for key, value in left.module.state_dict().items():
                # sums are split among as many threads as each process has
                torch.testing.assert_close(value, right.module.state_dict()[key], atol=1e-5, rtol=0)

    @pytest.mark.slow
    def test_a_failure_in_one_process_ends_the_others(self, args, quick, tmp_path):
        train_toolbox.main(args(tools=("denoise",)))
        (tmp_path / "checkpoints" / "denoise.pt").write_bytes(b"damaged")
        started = time.monotonic()
        with pytest.raises(ValueError, match=r"denoise\.pt: not a checkpoint, or damaged"):
            train_toolbox.main(args(tools=("denoise", "unfade"), iterations=10**7, jobs=2))
        assert time.monotonic() - started < 120
        assert load_checkpoint(tmp_path / "checkpoints" / "unfade.pt")["iteration"] < 10**7


class TestPlan:
    """A run opens its folder of photos once: all that comes after the plan needs no photo."""

    @staticmethod
    def check_without_photos(options, opened):
        plan = train_toolbox.plan(options)
        assert opened == [options.photos]
        shutil.rmtree(options.photos)
        assert train_toolbox.run(plan).names == ("denoise", "deblock")
        assert opened == [options.photos]

    def test_a_run_needs_no_photo(self, args, quick, opened):
        self.check_without_photos(args(tools=("denoise", "deblock")), opened)

    @pytest.mark.slow
    def test_nor_do_its_processes(self, args, quick, opened):
        self.check_without_photos(args(tools=("denoise", "deblock"), jobs=2), opened)

    def test_photos_to_measure_on_are_opened_once_too(self, args, quick, opened, photos, tmp_path):
        (tmp_path / "others").mkdir()
        write_image(tmp_path / "others" / "other.png", photos[0])
        train_toolbox.main(args(validation=tmp_path / "others"))
        assert opened == [tmp_path / "photos", tmp_path / "others"]


class TestOptions:
    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"tools": ("denoise", "noise-9")}, "tools: 'noise-9' is not one of denoise, unfade, deblock"),
            ({"trust": False}, "tool 'unfade': removes='fading:Fading' names a class, which is imported only if"),
            ({"name": "a/b"}, "name='a/b' cannot name a file in a folder"),
            ({"toolbox": "rl-restore-7"}, "toolbox='rl-restore-7' is neither one of 'restore-12', 'rl-restore-6'"),
            ({"precision": "float16"}, "precision='float16' is not one of 'auto', 'float32', 'bfloat16'"),
            ({"recipe": "slow"}, "recipe='slow' is not one of 'fast', 'paper'"),
            ({"device": "tpu"}, "device='tpu' is not a device"),
            ({"device": "cuda:99"}, "device='cuda:99' is not available here"),
            ({"jobs": 0}, "jobs=0 is not a whole number of at least 1"),
            ({"pool": 0}, "pool=0 is not a whole number of at least 1"),
            ({"iterations": 0}, "iterations=0 is not a whole number of at least 1"),
            ({"minutes": 0.0}, "minutes=0.0 is not more than 0"),
            ({"minutes": float("nan")}, "minutes=nan is not more than 0"),
            ({"batch_size": 0}, "batch_size=0 is not a whole number of at least 1"),
            ({"crop": -3}, "crop=-3 is not a whole number of at least 1"),
            ({"learning_rate": 0.0}, "learning_rate=0.0 is not more than 0"),
            ({"photos": Path("missing")}, "missing: no such folder"),
            ({"validation": Path("missing")}, "missing: no such folder"),
        ],
    )
    def test_wrong_ones_are_refused_before_anything_is_written(self, changes, message, args, quick, tmp_path):
        with pytest.raises(ValueError, match=message):
            train_toolbox.main(args(**changes))
        assert not (tmp_path / "mine").exists()
        assert not (tmp_path / "checkpoints").exists()

    @pytest.mark.parametrize("place", ["output", "checkpoints"])
    def test_a_folder_that_cannot_be_made_is_refused_before_the_work(self, place, args, quick, tmp_path):
        (tmp_path / "file").write_text("in the way")
        with pytest.raises(ValueError, match="file: cannot be made a folder"):
            train_toolbox.main(args(**{place: tmp_path / "file"}))

    def test_they_change_the_recipe(self, args):
        recipe = args(recipe="paper", learning_rate=0.2).recipe_of(RECIPES)
        assert (recipe.optimizer, recipe.learning_rate, recipe.batch_size, recipe.crop) == ("sgd", 0.2, 2, 24)
        assert args(batch_size=None, crop=None).recipe_of(RECIPES) == RECIPES["fast"]

    def test_without_validation_photos_every_tenth_is_held_out(self, args, photos, tmp_path):
        training, held_out = train_toolbox.open_photos(args())
        assert [path.name for path in held_out.paths] == ["0.png"]
        assert [path.name for path in training.paths] == ["1.png", "2.png"]
        for number in range(10, 22):
            write_image(tmp_path / "photos" / f"{number}.png", photos[0])
        training, held_out = train_toolbox.open_photos(args())
        assert [path.name for path in held_out.paths] == ["0.png", "18.png"]  # in the order of their names
        assert len(training) == 13
        assert not set(training.paths) & set(held_out.paths)

    def test_validation_photos_leave_all_others_to_train_on(self, args, photo_folder, photos, tmp_path):
        (tmp_path / "others").mkdir()
        write_image(tmp_path / "others" / "other.png", photos[0])
        training, held_out = train_toolbox.open_photos(args(validation=tmp_path / "others"))
        assert len(training) == 3
        assert [path.name for path in held_out.paths] == ["other.png"]

    def test_one_photo_is_not_enough_without_validation_photos(self, args, photo_folder):
        for name in ("1.png", "2.png"):
            (photo_folder / name).unlink()
        with pytest.raises(ValueError, match="has one photo; two are needed, or --validation"):
            train_toolbox.open_photos(args())
        assert len(train_toolbox.open_photos(args(validation=photo_folder))[0]) == 1

    def test_the_share_is_that_of_the_plan(self, args, quick, monkeypatch):
        used = []
        planned = train_toolbox.plan(args(tools=("denoise", "deblock")))
        monkeypatch.setattr(torch, "set_num_threads", used.append)
        train_toolbox.run(replace(planned, threads=5))
        assert used == [5, 5]

    def test_each_of_several_jobs_has_its_share_of_the_cores(self, args, monkeypatch):
        monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
        assert [args(jobs=jobs).threads for jobs in (1, 2, 3, 8, 20)] == [8, 4, 2, 1, 1]


class TestCommandLine:
    """`python -m tools.train_toolbox`, in a process of its own or in this one."""

    @staticmethod
    def options(tmp_path, tools=("denoise",), jobs=1, budget=("--iterations", "1000000")):
        return [
            *("--photos", str(tmp_path / "photos"), "--output", str(tmp_path / "mine")),
            *("--checkpoints", str(tmp_path / "checkpoints"), "--toolbox", str(tmp_path / "tiny.json"), "--trust"),
            *("--tools", *tools, *budget, "--jobs", str(jobs)),
            *("--batch-size", "1", "--crop", "16", "--pool", "4", "--precision", "float32"),
        ]

    @staticmethod
    def wait_for_trainings(folder, tools):
        """Wait until each tool is trained; its TensorBoard file comes right before the first iteration."""
        until = time.monotonic() + 120
        while not all((folder / tool / "tensorboard").is_dir() for tool in tools):
            assert time.monotonic() < until, "no training began"
            time.sleep(0.05)
        time.sleep(0.5)

    def end(self, tmp_path, number, tools=("denoise",), kill=os.kill, **options):
        """Start it, send a signal amid the training, and return the exit status and what it wrote.

        Every process holds the pipe that is read here: it ends with the last of them.
        """
        command = [sys.executable, "-m", "tools.train_toolbox", *self.options(tmp_path, tools, **options)]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}
        with subprocess.Popen(
            command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True
        ) as process:
            try:
                self.wait_for_trainings(tmp_path / "checkpoints", tools)
            finally:
                kill(process.pid, number)
            _, written = process.communicate(timeout=120)
        return process.returncode, written

    @staticmethod
    def run_here(monkeypatch, options):
        """Run the program in this process; returns what it exits with, None at its end."""
        monkeypatch.setattr(sys, "argv", ["train_toolbox", *options])
        try:
            runpy.run_path(train_toolbox.__file__, run_name="__main__")
        except SystemExit as ended:
            return ended.code

    def test_sigterm_stops_it_and_it_goes_on(self, photo_folder, description, quick, tmp_path):
        status, written = self.end(tmp_path, signal.SIGTERM)
        assert status == 143
        assert written.splitlines()[-1] == "train_toolbox: stopped by SIGTERM; run the same command again to go on"
        assert "Traceback" not in written
        stopped = load_checkpoint(tmp_path / "checkpoints" / "denoise.pt")
        assert 0 < stopped["iteration"] < 10**6
        assert not any((tmp_path / "mine").iterdir())
        final = stopped["iteration"] + 10  # a million would take too long
        options = self.options(tmp_path, budget=("--iterations", str(final)))
        assert train_toolbox.main(tyro.cli(Args, args=options)).names == ("denoise",)
        assert load_toolbox(tmp_path / "mine").names == ("denoise",)
        assert records(tmp_path / "mine")["denoise"]["iterations"] == final

    def test_ctrl_c_stops_it(self, photo_folder, description, tmp_path, monkeypatch, capsys):
        def interrupt():
            self.wait_for_trainings(tmp_path / "checkpoints", ["denoise"])
            os.kill(os.getpid(), signal.SIGINT)

        thread = threading.Thread(target=interrupt, daemon=True)
        thread.start()
        status = self.run_here(monkeypatch, self.options(tmp_path, ["denoise", "deblock"]))
        thread.join()
        assert status == 130
        last = capsys.readouterr().err.splitlines()[-1]
        assert last == "train_toolbox: stopped by SIGINT; run the same command again to go on"
        assert load_checkpoint(tmp_path / "checkpoints" / "denoise.pt")["iteration"] > 0
        assert not (tmp_path / "checkpoints" / "deblock.pt").exists()

    def test_what_is_wrong_is_one_line(self, photo_folder, description, tmp_path, monkeypatch):
        status = self.run_here(monkeypatch, self.options(tmp_path, ["noise-9"]))
        assert status == "train_toolbox: tools: 'noise-9' is not one of denoise, unfade, deblock"

    @pytest.mark.slow
    def test_a_signal_that_reaches_all_processes_stops_them(self, photo_folder, description, quick, tmp_path):
        tools = ("denoise", "unfade")
        status, written = self.end(tmp_path, signal.SIGTERM, tools, jobs=2, kill=os.killpg)
        assert status == 143
        assert written.splitlines()[-1] == "train_toolbox: stopped by SIGTERM; run the same command again to go on"
        assert "Traceback" not in written
        reached = [load_checkpoint(tmp_path / "checkpoints" / f"{tool}.pt")["iteration"] for tool in tools]
        assert all(0 < iteration < 10**6 for iteration in reached)
        final = max(reached) + 10
        options = self.options(tmp_path, tools, jobs=2, budget=("--iterations", str(final)))
        assert train_toolbox.main(tyro.cli(Args, args=options)).names == tools
        assert [record["iterations"] for record in records(tmp_path / "mine").values()] == [final, final]

    @pytest.mark.slow
    def test_its_processes_keep_their_work_and_end_when_it_was_killed(self, photo_folder, description, tmp_path):
        tools = ("denoise", "unfade")
        status, _ = self.end(tmp_path, signal.SIGKILL, tools, jobs=2)
        assert status == -signal.SIGKILL
        for tool in tools:
            assert load_checkpoint(tmp_path / "checkpoints" / f"{tool}.pt")["iteration"] > 0


def test_a_stop_before_a_tool_is_begun_leaves_it_alone(args, quick, tmp_path):
    plan = train_toolbox.plan(args(tools=("denoise", "deblock")))
    with stop_request() as request:
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(Stopped, match="SIGTERM"):
            train_in_parallel(partial(train_toolbox.train_one, plan), plan.tools, 1, request)
    assert {path.name for path in (tmp_path / "checkpoints").iterdir()} == {".lock", "pools"}

"""The program that fine-tunes tools along toolchains."""

import json
import os
import signal
from dataclasses import replace

import pytest
import torch

from agents import log_toolchains
from restore_env import load_toolbox, save_toolbox
from restore_env.data.photos import FolderPhotos
from restore_env.training.signals import Stopped
from tools import finetune_joint
from tools.finetune_joint import Args, main, plan
from tools.joint.trainer import JointTraining


@pytest.fixture
def args(photo_folder, network_toolbox, tmp_path) -> Args:
    save_toolbox(network_toolbox, tmp_path / "tools")
    for name, policy in (("one", "fixed:eight,three"), ("two", "random")):
        log_toolchains.main(
            log_toolchains.Args(
                images=str(photo_folder), output=tmp_path / name, policy=policy, toolbox=str(tmp_path / "tools"), n=12
            )
        )
    return Args(
        logs=(tmp_path / "one", tmp_path / "two"),
        output=tmp_path / "jointly",
        toolbox=str(tmp_path / "tools"),
        iterations=3,
        batch_size=2,
        crop=24,
        precision="float32",
        checkpoints=tmp_path / "runs",
        licence="made up",
    )


def weights(toolbox):
    return [parameter for tool in toolbox for parameter in tool.module.parameters()]


def test_the_recipes_crop_is_at_most_the_patches_of_the_logs(args, tmp_path):
    small = log_toolchains.Args(
        images=str(tmp_path / "photos"), output=tmp_path / "small", policy="fixed:three", toolbox=args.toolbox, n=2
    )
    log_toolchains.main(replace(small, patch_size=30))
    logs = (*args.logs, tmp_path / "small")
    assert plan(replace(args, logs=logs, crop=None)).training.recipe.crop == 30
    assert plan(replace(args, crop=None, checkpoints=tmp_path / "other")).training.recipe.crop == 48
    with pytest.raises(ValueError, match="patches of 30 pixels are smaller than the crop of 31"):
        plan(replace(args, logs=logs, crop=31))


def test_it_writes_a_toolbox_that_names_logs_and_policy(args, network_toolbox):
    toolbox = main(args)
    loaded = load_toolbox(args.output)
    assert loaded.name == "jointly" and loaded.names == network_toolbox.names
    for one, other, before in zip(weights(toolbox), weights(loaded), weights(network_toolbox), strict=True):
        assert torch.equal(one, other) and not torch.equal(one, before)
    (record,) = json.loads((args.output / "training.json").read_text())["joint"]
    assert record["iterations"] == 3 and record["toolchains"] == 6 and record["start"] == "tools"
    assert sum(record["uses"].values()) > 6
    card = (args.output / "README.md").read_text()
    for words in (
        "# jointly",
        "photos: made up",
        "12 toolchains of random on networks (moderate, photos, augmented, seed 0)",
        "seed: 0",
        "| eight |",
    ):
        assert words in card
    assert list((args.checkpoints / "tensorboard").iterdir())


def test_the_card_tells_of_every_joint_training_that_led_to_the_tools(args, tmp_path):
    main(args)
    again = {"toolbox": str(args.output), "output": tmp_path / "again", "checkpoints": tmp_path / "again-runs"}
    main(replace(args, **again))
    records = json.loads((tmp_path / "again" / "training.json").read_text())["joint"]
    assert [record["start"] for record in records] == ["tools", "jointly"]
    card = (tmp_path / "again" / "README.md").read_text()
    assert "from the toolbox `tools`" in card and "## From tools" in card and "## From jointly" in card


def test_a_finished_training_is_packed_again_and_a_longer_one_goes_on(args):
    first, again = main(args), main(args)
    assert all(torch.equal(one, other) for one, other in zip(weights(first), weights(again), strict=True))
    longer = main(replace(args, iterations=4))
    assert not torch.equal(weights(first)[0], weights(longer)[0])


def test_each_log_is_opened_once(args, monkeypatch):
    opened, load = [], finetune_joint.load_toolchain_log
    monkeypatch.setattr(finetune_joint, "load_toolchain_log", lambda path: opened.append(path) or load(path))
    main(args)
    assert opened == list(args.logs)


def test_killed_it_resumes_to_the_same_result(args, monkeypatch, one_thread):
    straight = main(replace(args, checkpoints=args.checkpoints / "straight"))
    advance = JointTraining.advance

    def advance_and_signal(self):
        advance(self)
        if self.iteration == 2:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(JointTraining, "advance", advance_and_signal)
    with pytest.raises(Stopped):
        main(args)
    monkeypatch.setattr(JointTraining, "advance", advance)
    stopped = main(args)
    assert all(torch.equal(one, other) for one, other in zip(weights(straight), weights(stopped), strict=True))


def test_other_tools_or_logs_are_another_training(args, network_toolbox, tmp_path):
    main(args)
    with pytest.raises(ValueError, match="belongs to a training with another data"):
        main(replace(args, logs=args.logs[:1]))
    with torch.no_grad():
        weights(network_toolbox)[0].add_(1)
    save_toolbox(network_toolbox, tmp_path / "tools")
    with pytest.raises(ValueError, match="belongs to a training with another start"):
        main(args)


def test_own_tasks_are_mixed_in_and_the_photos_are_opened_once(
    args, network_toolbox, photo_folder, tmp_path, monkeypatch
):
    tools = [
        replace(network_toolbox[0], removes="noise", interval=(0.0, 10.0)),
        replace(network_toolbox[1], removes="moderate+light"),
    ]
    save_toolbox(type(network_toolbox)(tools, "networks"), tmp_path / "tools")
    opened, begin = [], FolderPhotos.__init__
    monkeypatch.setattr(FolderPhotos, "__init__", lambda self, folder: opened.append(folder) or begin(self, folder))
    toolbox = main(replace(args, own_task=0.5, photos=photo_folder, pool=3))
    assert toolbox[0].interval == (0.0, 10.0) and opened == [photo_folder]
    assert len(list((args.checkpoints / "pools").glob("*.npz"))) == 2


def test_a_class_that_a_toolbox_names_is_not_imported(args, network_toolbox, photo_folder, tmp_path, monkeypatch):
    (tmp_path / "harmful.py").write_text("raise SystemExit('it was run')")
    monkeypatch.syspath_prepend(tmp_path)
    tools = [
        replace(network_toolbox[0], removes="harmful:Rain", interval=(0.0, 10.0)),
        replace(network_toolbox[1], removes="noise", interval=(0.0, 10.0)),
    ]
    save_toolbox(type(network_toolbox)(tools, "networks"), tmp_path / "tools")
    with pytest.warns(UserWarning, match="'three' has no own task: removes='harmful:Rain' names a class, which is not"):
        main(replace(args, own_task=0.5, photos=photo_folder, pool=3))
    (pool,) = (args.checkpoints / "pools").glob("*.npz")
    assert pool.name.startswith("eight-")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"own_task": 0.2}, "own_task=0.2 needs --photos"),
        ({"own_task": 1.0}, r"own_task=1.0 is not in \[0, 1\)"),
        ({"minutes": 0.0}, "minutes=0.0 is not more than 0"),
        ({"recipe": "best"}, "recipe='best'"),
        ({"crop": 64}, "patches of 63 pixels are smaller than the crop of 64"),
        ({"toolbox": "rl-restore-12"}, "a log of the actions three, eight, stop, but the toolbox 'rl-restore-12'"),
    ],
)
def test_wrong_options_are_one_line(args, change, message):
    with pytest.raises(ValueError, match=message):
        main(replace(args, **change))

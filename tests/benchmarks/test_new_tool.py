from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from agents.drqn.config import DRQNConfig
from benchmarks import new_tool
from benchmarks.common.median import Median
from benchmarks.new_tool import Args, main
from restore_env import evaluate, load_policy, load_toolbox, save_policy, save_toolbox
from restore_env.data.sources import as_source, draw_pairs
from restore_env.policies import RecurrentQNetwork, RecurrentQPolicy
from restore_env.training.split import VALIDATION_SEED

QUICK = DRQNConfig(n_envs=4, gradient_steps=2, batch_size=4, learning_starts=0, buffer_size=60)


@pytest.fixture
def args(photo_folder, network_toolbox, tmp_path, monkeypatch) -> Args:
    monkeypatch.setattr(new_tool, "CONFIGS", {"": QUICK, "start": replace(QUICK, learning_rate=1e-4)})
    monkeypatch.setattr(new_tool, "WATCHED", 2)
    save_toolbox(network_toolbox, tmp_path / "tools")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        policy = RecurrentQPolicy(RecurrentQNetwork(2, (4, 4, 4, 4), 8, 8), network_toolbox.action_names, "small")
    save_policy(policy, tmp_path / "start", network_toolbox)
    return Args(
        photos=str(photo_folder),
        output=tmp_path / "new.json",
        validation=str(photo_folder),
        start=str(tmp_path / "start"),
        toolbox=str(tmp_path / "tools"),
        minutes=0.01,
        patches=3,
        checkpoints=tmp_path / "runs",
    )


def test_both_trainings_are_measured_beside_the_start_on_old_and_new_damage(args, monkeypatch, one_thread):
    results = main(args)
    rows = {(row["damage"], row["label"].partition(",")[0]): row for row in results["rows"]}
    labels = ("the start", "median-3 alone", "from the start", "from random weights")
    assert list(rows) == [(damage, label) for damage in ("moderate", "salt-and-pepper") for label in labels]
    folder = args.checkpoints / "0.01-minutes"
    toolbox = load_toolbox(args.checkpoints / "toolbox", trust=True)
    assert toolbox.names == ("three", "eight", "median-3")
    agents = [load_policy(folder / f"{name}-0" / name, toolbox) for name in ("from-start", "from-random")]
    assert [agent.members[0].network.hidden for agent in agents] == [8, 50]
    for damage in ("moderate", "salt-and-pepper"):
        pairs = draw_pairs(as_source(args.photos, damage, 63), 3, VALIDATION_SEED)
        gains = [evaluate(pairs, args.start, args.toolbox).gain, evaluate(pairs, agents[0], toolbox).gain]
        assert rows[damage, "the start"]["gain"] == pytest.approx(gains[0])
        assert rows[damage, "from the start"]["gain"] == pytest.approx(gains[1])
        assert rows[damage, "from the start"]["over_start"][0] == pytest.approx(gains[1] - gains[0])
        assert rows[damage, "median-3 alone"]["new_tool"] == rows[damage, "median-3 alone"]["tools"] == 1
    assert rows["salt-and-pepper", "median-3 alone"]["gain"] > 5
    text = args.output.with_suffix(".md").read_text()
    assert text.count("\n| ") == 2 + 8 and "| moderate | `small`, without the tool | " in text
    # What is finished is not trained again
    monkeypatch.setattr("agents.drqn.trainer.DRQNTraining.advance", None)
    again = main(args)["rows"]
    assert [row["gain"] for row in again] == [row["gain"] for row in results["rows"]]


def test_the_filter_is_that_of_opencv():
    image = np.random.default_rng(0).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    filtered = Median()(torch.from_numpy(image).permute(2, 0, 1)[None].float())  # (h, w, 3) -> (1, 3, h, w)
    np.testing.assert_array_equal(filtered[0].permute(1, 2, 0).numpy(), cv2.medianBlur(image, 3))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"start": "stop"}, "start='stop' is not a recurrent Q-network"),
        ({"output": Path("new.md")}, r"output='new\.md' does not end in \.json"),
    ],
)
def test_what_cannot_be_is_refused_before_any_training(changes, message, args):
    with pytest.raises(ValueError, match=message):
        main(replace(args, **changes))
    assert not args.checkpoints.exists()

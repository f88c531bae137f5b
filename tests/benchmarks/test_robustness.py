from dataclasses import replace

import numpy as np
import pytest
import torch

from benchmarks.robustness import Args, main
from restore_env import Toolbox, save_policy, save_toolbox
from restore_env.data.image_io import write_image
from restore_env.policies import RecurrentQNetwork, RecurrentQPolicy


@pytest.fixture
def args(photo_folder, network_toolbox, tmp_path) -> Args:
    tools = [
        replace(tool, removes=removes, interval=interval)
        for tool, removes, interval in zip(network_toolbox, ("noise", "jpeg"), ((5.0, 10.0), (20.0, 30.0)), strict=True)
    ]
    save_toolbox(Toolbox(tools), tmp_path / "tools")
    return Args(
        photos=photo_folder,
        output=tmp_path / "robustness.json",
        policy="stop",
        toolbox=str(tmp_path / "tools"),
        n=4,
    )


def test_a_policy_that_stops_leaves_everything_as_it_is(args):
    rows = main(args)["rows"]
    assert [row["kind"] for row in rows] == ["clean", "three", "eight"]
    assert 48 < rows[0]["psnr_in"] <= 50
    for row in rows:
        assert row["psnr_out"] == row["psnr_in"] and row["stopped_at_once"] == 1 and row["steps"] == 0
        assert row["difference"] == pytest.approx(row["psnr_out"] - row["own_tool"])
    assert args.output.with_suffix(".md").read_text().count("\n| ") == 2 + len(rows)
    assert "python -m benchmarks.robustness " in args.output.with_suffix(".md").read_text()


def test_a_policy_that_takes_the_tool_itself_differs_by_nothing(args):
    rows = main(replace(args, policy="fixed:three"))["rows"]
    assert args.output.with_suffix(".md").read_text().count("4 patches of 63x63 each") == 1
    assert rows[1]["difference"] == 0 and rows[0]["difference"] != 0 and rows[2]["stopped_at_once"] == 0


def test_larger_patches_are_decided_by_votes(args, photos, network_toolbox, tmp_path):
    torch.manual_seed(0)
    actions = network_toolbox.action_names
    save_policy(RecurrentQPolicy(RecurrentQNetwork(2, (4, 4, 4, 4), 8, 8), actions), tmp_path / "agent", "t")
    large = tmp_path / "large"
    large.mkdir()
    write_image(large / "photo.png", np.pad(photos[0], ((0, 44), (0, 12), (0, 0)), mode="reflect"))
    main(replace(args, photos=large, policy=str(tmp_path / "agent"), size=130, n=2))
    assert "2 patches of 130x130 each" in args.output.with_suffix(".md").read_text()
    with pytest.raises(ValueError, match="size=62 is not a whole number of at least 63"):
        main(replace(args, size=62))

from dataclasses import replace

import pytest

from benchmarks.everyday import Args, main
from restore_env import Toolbox, save_toolbox


@pytest.fixture
def args(photo_folder, network_toolbox, tmp_path) -> Args:
    tools = [
        replace(tool, removes=removes, interval=interval)
        for tool, removes, interval in zip(network_toolbox, ("noise", "jpeg"), ((5.0, 10.0), (20.0, 30.0)), strict=True)
    ]
    save_toolbox(Toolbox(tools), tmp_path / "tools")
    return Args(photo_folder, tmp_path / "everyday.json", "stop", str(tmp_path / "tools"), n=4)


def test_a_policy_that_stops_leaves_everything_as_it_is(args):
    rows = main(args)["rows"]
    assert [row["kind"] for row in rows] == ["clean", "three", "eight"]
    assert 48 < rows[0]["psnr_in"] <= 50
    for row in rows:
        assert row["psnr_out"] == row["psnr_in"] and row["stopped_at_once"] == 1 and row["steps"] == 0
        assert row["difference"] == pytest.approx(row["psnr_out"] - row["own_tool"])
    assert args.output.with_suffix(".md").read_text().count("\n| ") == 2 + len(rows)


def test_a_policy_that_takes_the_tool_itself_differs_by_nothing(args):
    rows = main(replace(args, policy="fixed:three"))["rows"]
    assert rows[1]["difference"] == 0 and rows[0]["difference"] != 0 and rows[2]["stopped_at_once"] == 0

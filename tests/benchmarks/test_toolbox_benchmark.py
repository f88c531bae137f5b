import json

import pytest
import torch
from matplotlib.figure import Figure

from benchmarks.common.plots import bars, heat_map
from benchmarks.toolbox import Args, main
from restore_env import Tool, Toolbox, save_toolbox
from restore_env.toolbox.networks import ThreeLayerCNN


def made_for(name, removes, interval, residual):
    """A tool that adds a constant to every value."""
    network = ThreeLayerCNN(2, 2)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
        network.conv3.bias.fill_(residual)
    return Tool.from_module(name, network, removes=removes, interval=interval)


@pytest.fixture
def folders(tmp_path):
    """A toolbox whose tools do nothing, and one whose tools do harm."""
    for name, residual in (("idle", 0.0), ("harmful", 0.2)):
        tools = [
            made_for("noise", "noise", (20, 30), residual),
            made_for("blur", "blur", (1, 2), residual),
            made_for("other", "", None, residual),
        ]
        save_toolbox(Toolbox(tools, name), tmp_path / name)
    return tmp_path


def run(photo_folder, folders, **changes):
    options = {"toolbox": str(folders / "idle"), "beside": str(folders / "harmful"), "n": 4, "n_map": 2} | changes
    return main(Args(photos=photo_folder, output=folders / "results.json", **options))


def test_measures_each_tool_beside_the_other_toolbox(photo_folder, folders):
    results = run(photo_folder, folders)
    assert results["toolboxes"] == ["idle", "harmful"]
    assert [row["tool"] for row in results["rows"]] == ["noise", "blur"]  # "other" says not what it is for
    for row in results["rows"]:
        for item in (row["task"], row["alone"]):
            assert item["psnr_out"][0] == pytest.approx(item["psnr_in"])
            assert item["psnr_out"][1] < item["psnr_in"]
            assert item["difference"] == pytest.approx(item["psnr_out"][0] - item["psnr_out"][1], abs=1e-4)
            assert item["difference_95"] > 0
        assert row["map"] == {"noise": pytest.approx(0, abs=1e-5), "blur": pytest.approx(0, abs=1e-5)}
        assert row["alone"]["psnr_in"] != row["task"]["psnr_in"]


def test_middle_states_come_after_the_other_toolbox_has_worked(photo_folder, folders):
    for row in run(photo_folder, folders)["rows"]:
        middle = row["middle"]
        assert middle["psnr_between"][0] == pytest.approx(middle["psnr_in"])
        assert middle["gain"][0] == pytest.approx(0, abs=1e-5)
        assert middle["psnr_between"][1] < middle["psnr_in"]
        assert middle["psnr_out"][1] < middle["psnr_between"][1]


def test_writes_numbers_table_and_plots(photo_folder, folders):
    results = run(photo_folder, folders)
    assert json.loads((folders / "results.json").read_text())["rows"] == results["rows"]
    text = (folders / "results.md").read_text()
    assert text.startswith("# The tools of idle beside those of harmful\n")
    assert text.count("| noise |") == text.count("| blur |") == 3
    assert "python -m benchmarks.toolbox" in text
    for name in ("results.png", "results-map.png"):
        assert (folders / name).read_bytes().startswith(b"\x89PNG")


def test_one_toolbox_alone_has_no_differences(photo_folder, folders):
    results = run(photo_folder, folders, beside="")
    assert all("difference" not in row["task"] for row in results["rows"])
    assert "difference" not in (folders / "results.md").read_text().split("## Own task")[1]


def test_a_toolbox_without_the_same_tools_is_refused(photo_folder, folders):
    save_toolbox(Toolbox([made_for("blur", "blur", (1, 2), 0.0)], "few"), folders / "few")
    with pytest.raises(ValueError, match="the toolbox 'few' has no tool 'noise'"):
        run(photo_folder, folders, beside=str(folders / "few"))
    with pytest.raises(ValueError, match="toolbox='classical' has no tool that says"):
        run(photo_folder, folders, toolbox="classical", beside="")


def test_plots_show_what_they_are_given():
    axes = Figure().add_subplot()
    bars(axes, ["a", "b"], {"one": [1.0, 2.0], "two": [3.0, -1.0]}, "gain")
    assert [patch.get_height() for patch in axes.patches] == [1, 2, 3, -1]
    axes = Figure().add_subplot()
    heat_map(axes, {"c": {"a": 1.0, "b": -9.0}, "d": {"a": 0.0, "b": 2.0}}, ("x", "y", "gain"))
    assert [text.get_text() for text in axes.texts] == ["1.0", "-9.0", "0.0", "2.0"]

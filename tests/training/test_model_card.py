import json

import pytest

from restore_env import Tool, Toolbox
from restore_env.errors import FormatError
from restore_env.toolbox.networks import ThreeLayerCNN
from restore_env.training.model_card import TrainedTool, card, write_model_card

SETTINGS = {"photos": "made up (9 photos)", "robust": True, "device": "cpu", "recipe": {"name": "fast", "crop": 48}}


def tool(name, removes="noise", interval=(0, 12.5)):
    return Tool.from_module(name, ThreeLayerCNN(4, 3), removes=removes, interval=interval)


def trained(name, after=27.1234, iterations=1500, **changes):
    return TrainedTool(tool(name), 25.0006, after, iterations, 93.0, SETTINGS | changes)


def write(folder, *items, others=()):
    """Write the card of some tools trained now, and others that are in the toolbox too."""
    write_model_card(folder, Toolbox([*(item.tool for item in items), *others], "mine"), items)
    return (folder / "README.md").read_text()


def records(folder):
    content = json.loads((folder / "training.json").read_text())
    assert content["format"] == 1
    return content["tools"]


def test_a_record_says_what_was_trained_on_how_and_with_what(tmp_path):
    write(tmp_path, trained("noise-1"))
    assert list(records(tmp_path)) == ["noise-1"]
    record = records(tmp_path)["noise-1"]
    settings = record.pop("settings")
    assert record == {"psnr_in": 25.001, "psnr_out": 27.123, "iterations": 1500, "minutes": 1.6}
    assert settings.items() >= SETTINGS.items()
    assert "CPU" in settings["hardware"]
    assert {"python", "torch", "restore-env"} <= settings["versions"].keys()


def test_the_card_has_a_row_for_each_tool(tmp_path):
    text = write(tmp_path, trained("noise-1"), trained("noise-2", after=24.5, iterations=20))
    size = sum(parameter.numel() for parameter in ThreeLayerCNN(4, 3).parameters())
    assert text.startswith("# mine\n")
    assert "2 tools for `restore_env`" in text
    assert f"| noise-1 | noise 0 to 12.5 | {size:,} parameters | 25.00 | 27.12 | +2.12 | 1,500 | 1.6 |" in text
    assert f"| noise-2 | noise 0 to 12.5 | {size:,} parameters | 25.00 | 24.50 | -0.50 | 20 | 1.6 |" in text
    assert "tool is made for, then by slight noise and JPEG.\n" in text


def test_tools_of_one_training_are_told_of_together(tmp_path):
    text = write(tmp_path, trained("a"), trained("b", seed=1), trained("c"))
    assert [line for line in text.splitlines() if line.startswith("## ")] == [
        "## How a, c came about",
        "## How b came about",
    ]
    assert text.count("- photos: made up (9 photos)\n") == 2
    assert text.count("- recipe: name fast, crop 48\n") == 2
    assert text.count("- seed: 1\n") == 1


def test_without_robustness_nothing_slight_is_claimed(tmp_path):
    assert "tool is made for.\n" in write(tmp_path, trained("a", robust=False))


def test_records_of_tools_trained_before_are_kept(tmp_path):
    write(tmp_path, trained("a", iterations=7))
    first = records(tmp_path)["a"]
    text = write(tmp_path, trained("b"), others=[tool("a")])
    assert records(tmp_path)["a"] == first
    assert list(records(tmp_path)) == ["b", "a"]  # the toolbox's order
    assert "| a | noise 0 to 12.5 |" in text and "| b | noise 0 to 12.5 |" in text
    assert "Not trained by this program" not in text


def test_a_tool_trained_again_has_its_new_record(tmp_path):
    write(tmp_path, trained("a", iterations=7))
    write(tmp_path, trained("a", iterations=8))
    assert records(tmp_path)["a"]["iterations"] == 8


def test_records_of_tools_that_are_gone_are_dropped(tmp_path):
    write(tmp_path, trained("a"), trained("b"))
    text = write(tmp_path, trained("b"))
    assert list(records(tmp_path)) == ["b"]
    assert "| a |" not in text


def test_tools_without_a_record_are_named(tmp_path):
    text = write(tmp_path, trained("a"), others=[tool("x"), Tool.from_function("y", lambda image: image)])
    assert "Not trained by this program: x, y." in text
    assert list(records(tmp_path)) == ["a"]


@pytest.mark.parametrize(("interval", "made_for"), [((100, 60), "jpeg 100 to 60"), (None, "jpeg")])
def test_what_a_tool_is_made_for(interval, made_for, tmp_path):
    item = trained("a")
    toolbox = Toolbox([tool("a", "jpeg", interval)], "mine")
    assert f"| a | {made_for} |" in card(toolbox, {"a": item.record()})


def test_damaged_records_are_named(tmp_path):
    write(tmp_path, trained("a"))
    (tmp_path / "training.json").write_text("{")
    with pytest.raises(FormatError, match=r"training\.json: cannot be read as JSON"):
        write(tmp_path, trained("a"))

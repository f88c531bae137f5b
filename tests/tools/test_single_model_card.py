"""The model card of tools that were trained one by one."""

import pytest

from restore_env import Tool, Toolbox
from restore_env.toolbox.networks import ThreeLayerCNN
from restore_env.training.model_card import markdown
from tools.single.model_card import toolbox_card

SETTINGS = {"photos": "made up (9 photos)", "robust": True, "device": "cpu", "recipe": {"name": "fast", "crop": 48}}


def tool(name, removes="noise", interval=(0, 12.5)):
    return Tool.from_module(name, ThreeLayerCNN(4, 3), removes=removes, interval=interval)


def record(after=27.123, iterations=1500, **changes):
    found = {"psnr_in": 25.001, "psnr_out": after, "iterations": iterations, "minutes": 1.6}
    return found | {"settings": SETTINGS | changes}


def card(records, *others):
    """The card of tools with records, and of others that are in the toolbox too."""
    blocks = toolbox_card(Toolbox([*(tool(name) for name in records), *others], "mine"), records)
    return markdown(blocks).splitlines()


def test_the_card_has_a_row_for_each_tool():
    lines = card({"noise-1": record(), "noise-2": record(after=24.5, iterations=20)})
    size = sum(parameter.numel() for parameter in ThreeLayerCNN(4, 3).parameters())
    assert lines[0] == "# mine"
    assert "2 tools for `restore_env`, trained with `python -m tools.train_toolbox`." in lines
    assert f"| noise-1 | noise 0 to 12.5 | {size:,} parameters | 25.00 | 27.12 | +2.12 | 1,500 | 1.6 |" in lines
    assert f"| noise-2 | noise 0 to 12.5 | {size:,} parameters | 25.00 | 24.50 | -0.50 | 20 | 1.6 |" in lines
    assert "distorted by what the tool is made for, then by slight noise and JPEG." in lines


def test_tools_of_the_same_settings_are_told_of_together():
    lines = card({"a": record(), "b": record(seed=1), "c": record()})
    assert [line for line in lines if line.startswith("## ")] == ["## Training of a, c", "## Training of b"]
    assert lines.count("- photos: made up (9 photos)") == 2
    assert lines.count("- recipe: name fast, crop 48") == 2
    assert lines.count("- seed: 1") == 1


def test_without_robustness_nothing_slight_is_claimed():
    assert "distorted by what the tool is made for." in card({"a": record(robust=False)})


@pytest.mark.parametrize(
    ("intervals", "ending"),
    [
        ([None], "."),
        ([None, (0, 12.5)], ", then by slight noise and JPEG where that is a single distortion."),
    ],
)
def test_nothing_slight_is_added_to_mixtures(intervals, ending):
    tools = [
        tool(f"a-{number}", "noise" if interval else "everyday", interval) for number, interval in enumerate(intervals)
    ]
    lines = markdown(toolbox_card(Toolbox(tools, "mine"), {one.name: record() for one in tools})).splitlines()
    assert f"distorted by what the tool is made for{ending}" in lines


def test_tools_without_a_record_are_named():
    lines = card({"a": record()}, tool("x"), Tool.from_function("y", lambda image: image))
    assert "Not trained by this program: x, y." in lines


@pytest.mark.parametrize(("interval", "made_for"), [((100, 60), "jpeg 100 to 60"), (None, "jpeg")])
def test_what_a_tool_is_made_for(interval, made_for):
    lines = markdown(toolbox_card(Toolbox([tool("a", "jpeg", interval)], "mine"), {"a": record()})).splitlines()
    assert any(line.startswith(f"| a | {made_for} |") for line in lines)

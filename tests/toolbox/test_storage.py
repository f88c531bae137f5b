"""Toolbox folders: what is saved comes back, and a damaged folder is refused in one line that names the file."""

import json
from hashlib import sha256
from pathlib import Path

import pytest
import torch
from own_networks import Darker, Gain, Unnamed
from safetensors.torch import load_file, save_file
from torch import nn

from restore_env import FormatError, Tool, Toolbox, load_toolbox, save_toolbox
from restore_env.toolbox import available_toolboxes
from restore_env.toolbox.networks import ThreeLayerCNN
from restore_env.utils.serialization import PRETRAINED


@pytest.fixture
def folder(tmp_path, network_toolbox) -> Path:
    save_toolbox(network_toolbox, tmp_path / "box")
    return tmp_path / "box"


def edit_json(folder: Path, edit) -> None:
    path = folder / "toolbox.json"
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))


def edit_tensors(folder: Path, edit) -> None:
    """Change the weights, as if version 0.1 had written them: without a checksum."""
    edit_json(folder, lambda content: content.pop("sha256"))
    tensors = load_file(folder / "tools.safetensors")
    edit(tensors)
    save_file(tensors, folder / "tools.safetensors")


def assert_refused(folder: Path, file: str, *fragments: str, trust: bool = False) -> None:
    with pytest.raises(FormatError) as caught:
        load_toolbox(folder, trust=trust)
    message = str(caught.value)
    assert message.startswith(str(folder / file))
    assert "\n" not in message
    for fragment in fragments:
        assert fragment in message


def assert_same_weights(one: Tool, other: Tool) -> None:
    ours, theirs = one.module.state_dict(), other.module.state_dict()
    assert list(ours) == list(theirs)
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)


def test_round_trip_keeps_everything(tmp_path, network_toolbox):
    described = Toolbox(
        [
            Tool.from_module("noise-1", network_toolbox[0].module, removes="noise", interval=(0.0, 12.5), cost=7),
            Tool.from_module("jpeg-4", network_toolbox[1].module, removes="jpeg", interval=(20.0, 10.0)),
            Tool.from_module("plain", network_toolbox[0].module),
        ],
        "mine",
    )
    save_toolbox(described, tmp_path / "new" / "box")
    loaded = load_toolbox(tmp_path / "new" / "box")
    assert loaded.name == "mine"
    for tool, again in zip(described, loaded, strict=True):
        assert (again.name, again.removes, again.interval) == (tool.name, tool.removes, tool.interval)
        assert again.given_cost == tool.given_cost
        assert_same_weights(again, tool)
    images = torch.rand(3, 3, 20, 21, generator=torch.Generator().manual_seed(0))
    assert torch.equal(loaded.apply(images, [0, 1, 2]), described.apply(images, [0, 1, 2]))


def test_a_name_that_begins_with_another_name_and_a_dot(tmp_path, network_toolbox):
    three, eight = (tool.module for tool in network_toolbox)
    toolbox = Toolbox([Tool.from_module("net", three), Tool.from_module("net.conv1", eight)])
    save_toolbox(toolbox, tmp_path)
    loaded = load_toolbox(tmp_path)
    for tool, again in zip(toolbox, loaded, strict=True):
        assert_same_weights(again, tool)


def test_saving_twice_replaces(folder):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        other = Toolbox([Tool.from_module("other", ThreeLayerCNN(2, 2))], "other")
    save_toolbox(other, folder)
    assert load_toolbox(folder).names == ("other",)
    assert sorted(path.name for path in folder.iterdir()) == ["toolbox.json", "tools.safetensors"]


def test_no_pickle_in_a_folder(folder):
    assert json.loads((folder / "toolbox.json").read_text())["format"] == 1
    keys = load_file(folder / "tools.safetensors").keys()
    assert {key.partition(".")[0] for key in keys} == {"three", "eight"}
    assert {"three.conv1.weight", "eight.conv2_2.bias"} <= set(keys)


def test_only_networks_can_be_saved(tmp_path, function_toolbox, network_toolbox):
    with pytest.raises(ValueError, match="tool 'median' cannot be saved: only networks of three-layer, eight-layer"):
        save_toolbox(Toolbox([*network_toolbox, *function_toolbox]), tmp_path / "box")
    assert not (tmp_path / "box").exists()


def test_sizes_that_no_memory_holds_are_refused_before_there_is_a_network(folder):
    edit_json(folder, lambda content: content["tools"][0].update(arguments={"wide": 10**6, "narrow": 10**6}))
    assert_refused(folder, "tools.safetensors", "tool 'three'", "size mismatch for conv1.weight")


def test_loading_leaves_the_random_numbers_alone(folder):
    before = torch.get_rng_state()
    load_toolbox(folder)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_name_that_could_not_be_loaded_is_not_saved(tmp_path, network_toolbox):
    for name, tool in (("a/b", "three"), ("box", "a\\b"), ("box", "."), ("box", "a\n")):
        with pytest.raises(ValueError, match="cannot name a file in a folder|control character"):
            save_toolbox(Toolbox([Tool.from_module(tool, network_toolbox[0].module)], name), tmp_path / "box")
    assert not (tmp_path / "box").exists()


def test_deeply_nested_json(folder):
    (folder / "toolbox.json").write_text("[" * 100_000)
    assert_refused(folder, "toolbox.json", "cannot be read as JSON")


def test_damaged_json(folder):
    path = folder / "toolbox.json"
    path.write_text(path.read_text()[:-20])
    assert_refused(folder, "toolbox.json", "cannot be read as JSON")
    path.write_bytes(b"\xff\xfe\x00")
    assert_refused(folder, "toolbox.json", "cannot be read as JSON")


@pytest.mark.parametrize("content", ["[]", "{}", '{"format": 2, "tools": []}', '{"format": "1"}', "null"])
def test_other_formats(folder, content):
    (folder / "toolbox.json").write_text(content)
    assert_refused(folder, "toolbox.json", "this version reads format 1")


@pytest.mark.parametrize(
    ("edit", "fragment"),
    [
        (lambda content: content.pop("tools"), "'tools'"),
        (lambda content: content.pop("name"), "'name'"),
        (lambda content: content.update(tools=[]), "tools is empty"),
        (lambda content: content.update(tools=[3]), "int"),
        (lambda content: content["tools"][0].pop("name"), "'name'"),
        (lambda content: content["tools"][0].pop("architecture"), "'architecture'"),
        (lambda content: content["tools"][0].pop("arguments"), "'arguments'"),
        (lambda content: content["tools"][0].update(interval=[1.0]), "tool 'three': interval=[1.0] is not two"),
        (lambda content: content["tools"][0].update(interval="wide"), "interval='wide' is not two numbers"),
        (lambda content: content["tools"][0].update(architecture="unet"), "'unet' is not one of 'three-layer'"),
        (lambda content: content["tools"][0].update(architecture=["unet"]), "architecture=['unet'] is not one of"),
        (lambda content: content["tools"][1].update(arguments={"depth": 3}), "tool 'eight'"),
        (lambda content: content["tools"][1].update(arguments={"wide": -1}), "{'wide': -1}"),
        (lambda content: content["tools"][1].update(arguments={"wide": "6"}), "tool 'eight'"),
        (lambda content: content["tools"][1].update(arguments=None), "None"),
        (lambda content: content["tools"][1].update(arguments={"wide": True}), "{'wide': True}"),
        (lambda content: content["tools"][1].update(arguments={"wide": 10**30}), "tool 'eight'"),
        (lambda content: content["tools"][0].update(interval=[0, 10**400]), "is not two numbers"),
        (lambda content: content["tools"][0].update(interval="12"), "interval='12' is not two numbers"),
        (lambda content: content["tools"][0].update(removes=["noise"]), "tool 'three': removes is list, not a text"),
        (lambda content: content["tools"][0].update(cost=-1), "tool 'three': cost=-1 is not a number of at least 0"),
        (lambda content: content["tools"][0].update(cost="1"), "tool 'three': cost='1' is not a number of at least 0"),
        (lambda content: content["tools"][0].update(level=5), "'scale' is missing"),
        (lambda content: content["tools"][0].update(level="5", scale=1), "tool 'three': level='5' is not a finite"),
        (lambda content: content["tools"][1].update(network="nine"), "tool 'eight': network='nine' is not one of 'thr"),
        (lambda content: content["tools"][1].update(network=["a"]), "tool 'eight': network=['a'] is not one of"),
        (lambda content: content["tools"][0].update(name="../three"), "tool='../three' cannot name a file in a folder"),
        (lambda content: content["tools"][0].update(name="c:three"), "tool='c:three' cannot name a file in a folder"),
        (lambda content: content["tools"][0].update(name=".."), "tool='..' cannot name a file in a folder"),
        (lambda content: content["tools"][0].update(name="a\x1b[2J"), "has a control character"),
        (lambda content: content["tools"][0].update(name="a" * 300), "has 300 characters; at most 255 are accepted"),
        (lambda content: content["tools"][0].update(name=3), "tool is int, not a text"),
        (lambda content: content.update(name="a/b"), "name='a/b' cannot name a file in a folder"),
    ],
)
def test_descriptions_that_do_not_fit(folder, edit, fragment):
    edit_json(folder, edit)
    assert_refused(folder, "toolbox.json", fragment)


def test_two_tools_of_one_name(folder):
    edit_json(folder, lambda content: content["tools"].append(content["tools"][0]))
    with pytest.raises(FormatError, match="three") as caught:
        load_toolbox(folder)
    assert str(folder) in str(caught.value)


@pytest.mark.parametrize(
    ("edit", "fragments"),
    [
        (
            lambda tensors: tensors.pop("eight.conv2.bias"),
            ["tool 'eight'", 'Missing key(s) in state_dict: "conv2.bias"'],
        ),
        (lambda tensors: tensors.update({"eight.conv9.bias": torch.zeros(3)}), ["'eight.conv9.bias' belongs to no"]),
        (lambda tensors: tensors.update({"nine.conv1.bias": torch.zeros(3)}), ["'nine.conv1.bias' belongs to no"]),
        (
            lambda tensors: tensors.update({"three.conv3.bias": torch.zeros(4)}),
            ["tool 'three'", "size mismatch for conv3.bias"],
        ),
    ],
)
def test_tensors_that_do_not_fit(folder, edit, fragments):
    edit_tensors(folder, edit)
    assert_refused(folder, "tools.safetensors", *fragments)


def test_sizes_that_do_not_fit_the_weights(folder):
    edit_json(folder, lambda content: content["tools"][0].update(arguments={"wide": 5, "narrow": 3}))
    assert_refused(folder, "tools.safetensors", "tool 'three'", "size mismatch for conv1.weight")


@pytest.mark.parametrize("length", [0, 4, 200, -1])
def test_truncated_weights(folder, length):
    path = folder / "tools.safetensors"
    path.write_bytes(path.read_bytes()[:length])
    assert_refused(folder, "tools.safetensors", "damaged or of another folder, its SHA-256 is not the one in the JSON")
    edit_json(folder, lambda content: content.pop("sha256"))
    assert_refused(folder, "tools.safetensors", "cannot be read as safetensors")


def test_weights_of_another_toolbox(folder, tmp_path, network_toolbox):
    with torch.no_grad():
        next(network_toolbox[0].module.parameters()).add_(1)
    save_toolbox(network_toolbox, tmp_path / "other")
    (tmp_path / "other" / "tools.safetensors").replace(folder / "tools.safetensors")
    assert_refused(folder, "tools.safetensors", "its SHA-256 is not the one in the JSON file beside it")


@pytest.mark.parametrize("digest", ["", "0" * 64, 5, ["a"]])
def test_a_wrong_checksum(folder, digest):
    edit_json(folder, lambda content: content.update(sha256=digest))
    assert_refused(folder, "tools.safetensors", "its SHA-256 is not the one in the JSON file beside it")


def test_a_folder_of_version_0_1_has_no_checksum(folder):
    before = load_toolbox(folder)
    edit_json(folder, lambda content: content.pop("sha256"))
    for tool, again in zip(before, load_toolbox(folder), strict=True):
        assert_same_weights(again, tool)


def test_the_shipped_folders_have_checksums():
    described = [*PRETRAINED.rglob("toolbox.json"), *PRETRAINED.rglob("policy.json")]
    with_weights = [path for path in described if list(path.parent.glob("*.safetensors"))]
    assert len(with_weights) == 7
    for path in with_weights:
        (weights,) = path.parent.glob("*.safetensors")
        assert json.loads(path.read_text())["sha256"] == sha256(weights.read_bytes()).hexdigest()


def test_missing_weights(folder):
    (folder / "tools.safetensors").unlink()
    assert_refused(folder, "tools.safetensors", "cannot be read as safetensors")


def test_unknown_toolbox_lists_the_known(tmp_path):
    for name in ("rl-restore-13", tmp_path):
        with pytest.raises(
            ValueError,
            match="'restore-12', 'rl-restore-12', 'rl-restore-12-separate', 'classical' nor a folder with a",
        ) as caught:
            load_toolbox(name)
        assert f"toolbox={str(name)!r}" in str(caught.value)
    with pytest.raises(TypeError, match="toolbox=5 is not a name, a folder or a Toolbox"):
        load_toolbox(5)


def test_shipped_toolboxes_load_by_name():
    assert {"restore-12", "rl-restore-12", "classical"} <= set(available_toolboxes())
    for name in available_toolboxes():
        assert len(load_toolbox(name)) > 1


def test_the_papers_toolbox_has_its_twelve_tools():
    kinds = ("blur", "noise", "jpeg")
    toolbox = load_toolbox("rl-restore-12")
    assert toolbox.names == tuple(f"{kind}-{level}" for kind in kinds for level in range(1, 5))
    assert [tool.removes for tool in toolbox] == [kind for kind in kinds for _ in range(4)]
    layers = ["ThreeLayerCNN", "ThreeLayerCNN", "EightLayerCNN", "EightLayerCNN"] * 3
    assert [type(tool.module).__name__ for tool in toolbox] == layers
    # Table 1: parts of the range of each distortion's parameter, from the mild end
    assert [tool.interval for tool in toolbox[:4]] == [(0, 1.25), (1.25, 2.5), (2.5, 3.75), (3.75, 5)]
    assert [tool.interval for tool in toolbox[4:8]] == [(0, 12.5), (12.5, 25), (25, 37.5), (37.5, 50)]
    assert [sorted(tool.interval) for tool in toolbox[8:]] == [[60, 100], [35, 60], [20, 35], [10, 20]]


def test_a_toolbox_is_taken_as_it_is(function_toolbox):
    loaded = load_toolbox(function_toolbox)
    assert list(loaded) == list(function_toolbox)
    assert loaded.name == "functions"


def test_the_default_toolbox_is_within_its_budget():
    toolbox = load_toolbox()
    assert toolbox.name == "restore-12" and len(toolbox) == 12
    assert toolbox.costs.mean() <= 0.2  # 1e9 multiplications on a patch, in the mean


def test_a_network_of_your_own_is_saved_and_loaded_only_with_trust(tmp_path, network_toolbox):
    toolbox = Toolbox([*network_toolbox, Tool.from_module("gain", Gain(0.5, 4))])
    with pytest.raises(ValueError, match="tool 'gain' cannot be saved: only networks of .* and with trust=True"):
        save_toolbox(toolbox, tmp_path / "box")
    assert not (tmp_path / "box").exists()
    save_toolbox(toolbox, tmp_path / "box", trust=True)
    assert_refused(tmp_path / "box", "toolbox.json", "tool 'gain': architecture='own_networks:Gain' names a class")
    images = torch.rand(3, 3, 9, 8, generator=torch.Generator().manual_seed(0))
    before = torch.get_rng_state()
    loaded = load_toolbox(tmp_path / "box", trust=True)
    assert torch.equal(torch.get_rng_state(), before)
    assert type(loaded[2].module) is Gain
    assert torch.equal(loaded.apply(images, [0, 1, 2]), toolbox.apply(images, [0, 1, 2]))
    assert loaded[2].module.order.dtype == torch.int64


def test_without_trust_no_module_is_imported(tmp_path, folder, monkeypatch):
    (tmp_path / "harmful_module.py").write_text("raise SystemExit('this ran')")
    monkeypatch.syspath_prepend(tmp_path)
    edit_json(folder, lambda content: content["tools"][0].update(architecture="harmful_module:Net"))
    assert_refused(
        folder, "toolbox.json", "architecture='harmful_module:Net' names a class", "only with trust=True (--trust)"
    )


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (Unnamed(5), "'own_networks:Unnamed' with the arguments {} has other weights; give the network the attribute"),
        (nn.Conv2d(3, 3, 1), "'torch.nn.modules.conv:Conv2d' cannot be made from the arguments {} .TypeError"),
        (type("Local", (nn.Module,), {"__module__": "own_networks"})(), "='own_networks:Local' cannot be imported"),
        (type("Mine", (nn.Module,), {"__module__": "__main__"})(), "no other program can import '__main__:Mine'; put"),
    ],
)
def test_networks_of_your_own_that_could_not_be_loaded_are_not_saved(tmp_path, network, message):
    with pytest.raises(ValueError, match=message) as caught:
        save_toolbox(Toolbox([Tool.from_module("mine", network)]), tmp_path / "box", trust=True)
    assert "tool 'mine'" in str(caught.value)
    assert not (tmp_path / "box").exists()


def test_arguments_that_json_cannot_hold_are_refused_before_a_file_is_written(tmp_path):
    network = Gain()
    network.arguments = {"start": torch.float32}
    with pytest.raises(
        ValueError, match="tool 'mine' cannot be saved: JSON cannot hold its arguments {'start': torch.f"
    ):
        save_toolbox(Toolbox([Tool.from_module("mine", network)]), tmp_path / "box", trust=True)
    assert not (tmp_path / "box").exists()


def test_functions_cannot_be_saved_with_trust_either(tmp_path, function_toolbox):
    with pytest.raises(ValueError, match="tool 'median' cannot be saved"):
        save_toolbox(function_toolbox, tmp_path / "box", trust=True)


@pytest.mark.parametrize(
    ("edit", "fragment"),
    [
        ({"architecture": "own_networks:Loss"}, "architecture='own_networks:Loss' cannot be imported"),
        ({"architecture": "no_such_module:Net"}, "architecture='no_such_module:Net' cannot be imported"),
        ({"architecture": "own_networks:arange"}, "architecture='own_networks:arange' is not a class of torch.nn"),
        ({"architecture": "own_networks:Failing", "arguments": {}}, "(OSError: no weights here)"),
        ({"arguments": {"depth": 3}}, "cannot be made from the arguments {'depth': 3} (TypeError"),
        ({"arguments": 3}, "cannot be made from the arguments 3 (TypeError"),
    ],
)
def test_classes_that_cannot_be_used(tmp_path, edit, fragment):
    save_toolbox(Toolbox([Tool.from_module("gain", Gain())]), tmp_path, trust=True)
    edit_json(tmp_path, lambda content: content["tools"][0].update(edit))
    assert_refused(tmp_path, "toolbox.json", "tool 'gain'", fragment, trust=True)


def test_the_levels_of_a_network_share_its_weights_on_the_disk_and_in_memory(tmp_path):
    network = Darker()
    network.offset.data.fill_(0.25)
    tools = Tool.parametric("darker", network, [0.5, 1], scale=0.5, removes="noise")
    toolbox = Toolbox([tools[0], Tool.from_module("gain", Gain()), tools[1]], "levels")
    for name in ("once", "twice"):  # what was loaded is saved in the same way
        save_toolbox(toolbox, tmp_path / name, trust=True)
        stored = load_file(tmp_path / name / "tools.safetensors")
        assert sorted(stored) == ["darker-0.5.offset", "gain.factors", "gain.order"]
        toolbox = load_toolbox(tmp_path / name, trust=True)
    assert toolbox.names == ("darker-0.5", "gain", "darker-1")
    assert [tool.interval for tool in toolbox] == [(0.5, 0.5), None, (1.0, 1.0)]
    assert [tool.removes for tool in toolbox] == ["noise", "", "noise"]
    assert toolbox[0].module.network is toolbox[2].module.network
    images = torch.ones(3, 3, 4, 4)
    assert toolbox.apply(images, [0, 2, 3])[:, 0, 0, 0].tolist() == [0.5, 0.25, 1.0]

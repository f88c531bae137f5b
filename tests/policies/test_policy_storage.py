import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from restore_env import FormatError, Tool, Toolbox, load_policy, load_toolbox, save_policy
from restore_env.policies import (
    EnsembleQPolicy,
    FixedToolchain,
    GreedyWithReference,
    Oracle,
    RandomPolicy,
    RecurrentQNetwork,
    RecurrentQPolicy,
    available_policies,
    storage,
)
from restore_env.restoration.batch import Observation
from restore_env.toolbox.fingerprint import digest_of_toolbox
from tools.specs import ToolSpec


@pytest.fixture
def policy(function_toolbox):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = RecurrentQNetwork(3, channels=(3, 3, 3, 3), features=4, hidden=5, patch_size=16)
    return RecurrentQPolicy(network, function_toolbox.action_names, "small")


@pytest.fixture
def folder(policy, tmp_path):
    save_policy(policy, tmp_path / "made" / "policy", "functions")
    return tmp_path / "made" / "policy"


def describe(folder, **changes):
    """Change entries of a policy's description; None removes one."""
    path = folder / "policy.json"
    content = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))


def test_a_network_comes_back_as_it_was(policy, folder, function_toolbox):
    loaded = load_policy(folder, function_toolbox)
    images = torch.randint(0, 256, (5, 16, 16, 3), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    seen = Observation(images, torch.tensor([0, 1, 2, 3, 3]), torch.zeros(5, dtype=torch.int64))
    assert torch.equal(
        loaded.q_values(seen, loaded.initial_state(5))[0], policy.q_values(seen, policy.initial_state(5))[0]
    )
    assert (loaded.name, loaded.patch_size, loaded.action_names) == ("small", 16, function_toolbox.action_names)
    assert not loaded.network.training


def old_names(key):
    """The name that version 0.1 gave to a weight of a network."""
    old = key.replace("encoder.", "").replace("degradation_projection.", "statistics.")
    return old.replace("projection.", "describe.")


@pytest.mark.parametrize("members", [1, 2])
def test_a_folder_of_version_0_1_comes_back_as_it_was(members, tmp_path):
    sizes = {"channels": (3, 3, 3, 3), "features": 4, "hidden": 5, "patch_size": 16}
    networks = [RecurrentQNetwork(1, **sizes, degradation_features=True) for _ in range(members)]
    agents = [RecurrentQPolicy(network, ("soften", "stop")) for network in networks]
    policy = agents[0] if members == 1 else EnsembleQPolicy(agents, stop_margin=0.25)
    save_policy(policy, tmp_path, "functions")
    weights = load_file(tmp_path / "policy.safetensors")
    save_file({old_names(key): value for key, value in weights.items()}, tmp_path / "policy.safetensors")
    old = {"n_tools": 1, **sizes, "dueling": False, "statistics": True}
    if members == 1:
        describe(tmp_path, arguments=old, sha256=None)
    else:
        arguments = {"networks": [old] * members, "least_gain": 0.25}
        describe(tmp_path, kind="mean-q", arguments=arguments, sha256=None)
    loaded = load_policy(tmp_path)
    assert loaded.stop_margin == (0.0 if members == 1 else 0.25)
    for key, value in policy.network.state_dict().items():
        assert torch.equal(loaded.network.state_dict()[key], value)


def test_a_fixed_toolchain_comes_back_as_it_was(tmp_path, function_toolbox):
    save_policy(FixedToolchain(["soften", "median"], function_toolbox.action_names, "mine"), tmp_path, "functions")
    loaded = load_policy(tmp_path, function_toolbox)
    assert isinstance(loaded, FixedToolchain)
    assert (loaded.tools, loaded.name, loaded.action_names) == (
        ("soften", "median"),
        "mine",
        function_toolbox.action_names,
    )


def test_the_folder_names_its_toolbox_and_actions(folder, function_toolbox):
    content = json.loads((folder / "policy.json").read_text())
    assert content["toolbox"] == "functions"
    assert tuple(content["actions"]) == function_toolbox.action_names
    assert content["kind"] == "recurrent-q"


def test_a_folder_can_be_loaded_without_a_toolbox_and_as_a_text(folder, function_toolbox):
    assert load_policy(str(folder)).action_names == function_toolbox.action_names


def test_a_folder_that_is_called_as_a_shipped_policy_is_told_from_it(tmp_path, function_toolbox, monkeypatch):
    save_policy(FixedToolchain(["median"], function_toolbox.action_names, "mine"), tmp_path / "drqn", "t")
    monkeypatch.chdir(tmp_path)
    assert [load_policy(name).name for name in ("drqn", "./drqn", tmp_path / "drqn")] == ["drqn", "mine", "mine"]


def test_a_shipped_policy_is_the_one_for_the_toolbox(tmp_path, function_toolbox, monkeypatch):
    other = Toolbox(list(function_toolbox)[::-1], "reversed")
    for toolbox in (function_toolbox, other):
        policy = FixedToolchain([toolbox.names[0]], toolbox.action_names, f"for-{toolbox.name}")
        save_policy(policy, tmp_path / toolbox.name / "policies" / "first", toolbox)
    monkeypatch.setattr(storage, "PRETRAINED", tmp_path)
    renamed = Toolbox(list(other), "custom")
    assert [load_policy("first", toolbox).name for toolbox in (function_toolbox, other, renamed)] == [
        "for-functions",
        "for-reversed",
        "for-reversed",
    ]
    assert available_policies()[0] == "first"
    with pytest.raises(ValueError, match="but the toolbox 'classical' has"):
        load_policy("first", load_toolbox("classical"))


@pytest.mark.parametrize("ensemble", [False, True])
def test_other_tools_of_the_same_names_give_a_warning(ensemble, policy, tmp_path):
    def toolbox(seed):
        spec = [ToolSpec(name, "noise", (0.0, 5.0), "three-layer") for name in policy.action_names[:-1]]
        return Toolbox([tool.tool(tool.network(seed)) for tool in spec], "functions")

    own = toolbox(0)
    save_policy(policy, tmp_path / "one", own)
    if ensemble:
        save_policy(EnsembleQPolicy([load_policy(tmp_path / "one")] * 2), tmp_path / "one", own.name)
    assert load_policy(tmp_path / "one", own).fingerprint == digest_of_toolbox(own)
    with pytest.warns(UserWarning, match="was trained with other tools of the same names"):
        load_policy(tmp_path / "one", toolbox(1))


def test_other_policies_cannot_be_saved(tmp_path, function_toolbox):
    with pytest.raises(ValueError, match="'random' cannot be saved"):
        save_policy(RandomPolicy(function_toolbox), tmp_path / "random", "functions")
    assert not (tmp_path / "random" / "policy.json").exists()


def test_a_name_that_could_not_be_loaded_is_not_saved(tmp_path):
    for name, tool, toolbox in (("a/b", "a", "t"), ("p", "..", "t"), ("p", "a", "t\\u")):
        with pytest.raises(ValueError, match="cannot name a file in a folder"):
            save_policy(FixedToolchain([], [tool, "stop"], name), tmp_path / "policy", toolbox)
    assert not (tmp_path / "policy").exists()


def test_another_toolbox_is_refused_with_both_lists(folder):
    other = Toolbox([Tool("sharpen", torch.clone), Tool("denoise", torch.clone)], "others")
    with pytest.raises(ValueError) as refusal:
        load_policy(folder, other)
    assert "'small' was made for the actions median, soften, brighten, stop" in str(refusal.value)
    assert "'others' has sharpen, denoise, stop" in str(refusal.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": 2}, "format 2; this version reads format 1"),
        ({"kind": "transformer"}, "kind 'transformer' is not 'recurrent-q', 'ensemble-q' or 'fixed-toolchain'"),
        ({"kind": None}, "'kind' is missing"),
        ({"actions": None}, "'actions' is missing"),
        ({"actions": 4}, "actions is int, not a list of names"),
        ({"actions": "mean"}, "actions is str, not a list of names"),
        ({"actions": ["a", "b", "c"], "kind": "fixed-toolchain"}, "the last of the actions is not 'stop'"),
        ({"actions": ["a", "a", "stop"]}, "actions: a name comes twice"),
        ({"actions": ["a", "../b", "stop"]}, r"actions\[1\]='../b' cannot name a file"),
        ({"name": "a\nb"}, r"name='a\\nb' has a control character"),
        ({"toolbox": ""}, "toolbox='' cannot name a file"),
        ({"fingerprint": 3}, "fingerprint is int, not a text"),
        ({"actions": ["median", "stop"]}, "2 action names for a network of 4 Q-values"),
        ({"arguments": {"tools": 3}}, "unexpected keyword argument 'tools'"),
        ({"arguments": {"n_tools": "three"}}, "n_tools='three' is not a whole number"),
        ({"arguments": {"n_tools": 3, "hidden": 10**5}}, "size mismatch for"),
        ({"arguments": {"n_tools": 10**30}}, "n_tools|Overflow|overflow|too large"),
        ({"kind": "ensemble-q", "arguments": {"networks": []}}, "Unexpected key"),
        ({"kind": "ensemble-q", "arguments": {"networks": 3}}, "not iterable"),
        ({"kind": "fixed-toolchain", "arguments": {"tools": "median"}}, "tools are not a list"),
        ({"arguments": {"n_tools": 3, "channels": [3, 3]}}, "longer than"),
        ({"arguments": {"n_tools": 3, "dueling": True}}, "dueling networks of version 0.1 cannot be loaded"),
        ({"arguments": ["n_tools"]}, "'list' object has no attribute"),
        ({"arguments": {"n_tools": 3}}, "size mismatch for"),
        ({"kind": "fixed-toolchain", "arguments": {"tools": ["sharpen"]}}, "'sharpen' is not one of median"),
    ],
)
def test_a_description_that_does_not_fit_is_refused(folder, changes, message):
    describe(folder, **changes)
    with pytest.raises(FormatError, match=message) as refusal:
        load_policy(folder)
    assert str(folder) in str(refusal.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "nonsense"])
def test_a_description_that_is_no_json_object_is_refused(folder, text):
    (folder / "policy.json").write_text(text)
    with pytest.raises(FormatError, match=r"policy\.json: "):
        load_policy(folder)


@pytest.mark.parametrize("margin", [10**400, -1, "wide", None, float("nan"), [0.5]])
def test_a_margin_that_is_none_is_refused(margin, policy, tmp_path):
    save_policy(EnsembleQPolicy([policy], stop_margin=0.5), tmp_path, "functions")
    content = json.loads((tmp_path / "policy.json").read_text())
    content["arguments"]["stop_margin"] = margin
    (tmp_path / "policy.json").write_text(json.dumps(content))
    with pytest.raises(FormatError, match=r"policy\.json: "):
        load_policy(tmp_path)


def test_how_much_comes_true_of_what_is_promised_is_kept(policy, tmp_path):
    assert "gain_scale" not in json.loads(saved(policy, tmp_path / "plain").read_text())
    policy.gain_scale = 0.75
    path = saved(policy, tmp_path / "scaled")
    assert load_policy(path.parent).gain_scale == 0.75
    path.write_text(path.read_text().replace("0.75", "-1"))
    with pytest.raises(FormatError, match="gain_scale=-1 is not a number of at least 0"):
        load_policy(path.parent)


def saved(policy: RecurrentQPolicy, folder: Path) -> Path:
    """The description of a policy that is saved in a folder."""
    save_policy(policy, folder, "functions")
    return folder / "policy.json"


def test_missing_weights_are_refused(folder):
    (folder / "policy.safetensors").unlink()
    with pytest.raises(FormatError, match=r"policy\.safetensors: cannot be read as safetensors"):
        load_policy(folder)


@pytest.mark.parametrize("length", [0, 5, 200, -7])
def test_truncated_weights_are_refused(folder, length):
    path = folder / "policy.safetensors"
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(FormatError, match=r"policy\.safetensors: damaged or of another folder, its SHA-256 is not"):
        load_policy(folder)
    describe(folder, sha256=None)
    with pytest.raises(FormatError, match=r"policy\.safetensors: cannot be read as safetensors"):
        load_policy(folder)


def test_pickled_weights_are_refused(folder, policy):
    torch.save(policy.network.state_dict(), folder / "policy.safetensors")
    describe(folder, sha256=None)
    with pytest.raises(FormatError, match=r"policy\.safetensors: cannot be read as safetensors"):
        load_policy(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tensors: tensors.pop("values.bias"), r"Missing key\(s\) in state_dict: \"values.bias\""),
        (lambda tensors: tensors.update(extra=torch.zeros(2)), r"Unexpected key\(s\) in state_dict: \"extra\""),
        (lambda tensors: tensors.update({"values.bias": torch.zeros(9)}), "size mismatch for values.bias"),
    ],
    ids=["missing", "extra", "shape"],
)
def test_weights_that_do_not_fit_the_description_are_refused(folder, change, message):
    tensors = load_file(folder / "policy.safetensors")
    change(tensors)
    save_file(tensors, folder / "policy.safetensors")
    describe(folder, sha256=None)
    with pytest.raises(FormatError, match=message) as refusal:
        load_policy(folder)
    assert str(folder / "policy.safetensors") in str(refusal.value)


@pytest.mark.parametrize(
    ("name", "kind"),
    [("stop", FixedToolchain), ("random", RandomPolicy), ("greedy", GreedyWithReference), ("oracle", Oracle)],
)
def test_policies_have_names(name, kind, function_toolbox):
    loaded = load_policy(name, function_toolbox)
    assert isinstance(loaded, kind)
    assert loaded.name == name
    assert name in available_policies()
    with pytest.raises(ValueError, match=f"policy='{name}' needs a toolbox"):
        load_policy(name)


@pytest.mark.parametrize(
    ("name", "tools"), [("fixed:soften", ("soften",)), ("fixed:median,median", ("median", "median")), ("fixed:", ())]
)
def test_a_toolchain_can_be_written_as_a_name(name, tools, function_toolbox):
    assert load_policy(name, function_toolbox).tools == tools


def test_a_toolchain_of_unknown_tools_is_refused(function_toolbox):
    with pytest.raises(ValueError, match="toolchain: 'sharpen' is not one of median, soften, brighten, stop"):
        load_policy("fixed:median,sharpen", function_toolbox)


def test_an_unknown_name_is_refused_with_those_known(function_toolbox):
    with pytest.raises(ValueError, match="policy='best' is neither one of .*'stop', 'random', 'greedy', 'oracle'"):
        load_policy("best", function_toolbox)


def test_what_is_no_name_is_refused(function_toolbox):
    with pytest.raises(TypeError, match="policy=3 is not a name, a folder or a policy"):
        load_policy(3, function_toolbox)


def test_a_policy_is_used_as_it_is(policy, function_toolbox):
    assert load_policy(policy, function_toolbox) is policy

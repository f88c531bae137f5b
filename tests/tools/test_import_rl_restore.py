"""Against what the authors' program gave for the same images; see `reference.md`, section 2.

The released networks saw patches with height and width swapped and were run so; the imported ones work on upright
patches, so they are given the stored images swapped, and their outputs are swapped back.
"""

import numpy as np
import pytest
import torch

from restore_env import load_policy, load_toolbox
from restore_env.policies import play
from restore_env.restoration.batch import RestorationBatch
from restore_env.utils.tensors import images_to_tensor
from tools.import_rl_restore import Args, import_agent, import_toolbox, main

STOP = 12


@pytest.fixture
def golden(official):
    with np.load(official / "golden.npz") as file:
        return dict(file)


@pytest.fixture
def toolbox(official):
    return import_toolbox(official / "toolbox")


@pytest.fixture
def policy(official, toolbox):
    return import_agent(official / "models", toolbox)


@pytest.fixture
def upright(golden):
    """The stored images, swapped: float32 (12, 3, 63, 63)."""
    return images_to_tensor(golden["images_uint8_rgb"]).transpose(2, 3)


@pytest.fixture
def small_files(tmp_path):
    """Folders in which the released files are far too small."""
    (tmp_path / "tool01.data-00000-of-00001").write_bytes(bytes(40))
    (tmp_path / "model.data-00000-of-00001").write_bytes(bytes(42))
    return tmp_path


@pytest.mark.parametrize("number", range(1, 13))
def test_tools_give_what_the_released_ones_gave(number, golden, toolbox, upright):
    restored = toolbox.apply(upright[:2], [number - 1] * 2)
    expected = torch.from_numpy(golden[f"tool{number:02d}"])
    # float32 sums in another order
    torch.testing.assert_close(restored.transpose(2, 3).permute(0, 2, 3, 1), expected, atol=1e-5, rtol=0)
    assert (restored - upright[:2]).abs().max() > 1e-2


def test_the_swap_matters(golden, toolbox, upright):
    """Without it the comparison above would fail: the kernels are not symmetric."""
    unswapped = toolbox.apply(upright.transpose(2, 3)[:2], [0] * 2).permute(0, 2, 3, 1)
    assert (unswapped - torch.from_numpy(golden["tool01"])).abs().max() > 1e-2


def test_the_agent_gives_the_values_and_actions_of_the_released_one(golden, toolbox, policy, upright):
    images, previous = upright, torch.full((12,), STOP)
    state = policy.initial_state(12)
    for step in range(3):
        with torch.no_grad():
            values, state = policy.network(images, previous, state)  # the images were not rounded to 8 bits
        # float32 sums in another order, through as many as three networks
        torch.testing.assert_close(values, torch.from_numpy(golden["agent_q_values"][:, step]), atol=1e-4, rtol=0)
        actions = values.argmax(1)
        assert actions.tolist() == golden["agent_actions"][:, step].tolist()
        images = toolbox.apply(images, actions)
        previous = torch.where(actions == STOP, previous, actions)


def test_played_as_any_policy_it_begins_with_the_same_actions(golden, toolbox, policy, upright):
    batch = RestorationBatch(toolbox)
    batch.start(upright)
    taken = []
    play(policy, batch, lambda actions, _: taken.append(actions.tolist()))
    assert taken[0] == golden["agent_actions"][:, 0].tolist()
    assert len(taken) == 3


def test_main_writes_folders_that_load(official, upright, tmp_path):
    toolbox, policy = main(Args(toolbox=official / "toolbox", agent=official / "models", output=tmp_path))
    tools = load_toolbox(tmp_path / "toolbox")
    loaded = load_policy(tmp_path / "policy", tools)
    assert tools.names[0] == "blur-1" and tools.names[11] == "jpeg-4"
    assert tools.name == loaded.name == "rl-restore-official"
    for number in (0, 11):
        assert torch.equal(tools[number](upright[:1]), toolbox[number](upright[:1]))
    for key, value in policy.network.state_dict().items():
        assert torch.equal(loaded.network.state_dict()[key], value)


def test_a_missing_file_is_named(tmp_path, network_toolbox):
    with pytest.raises(ValueError, match=r"tool01\.data-00000-of-00001: no such file"):
        import_toolbox(tmp_path)
    with pytest.raises(ValueError, match=r"model\.data-00000-of-00001: no such file"):
        import_agent(tmp_path, network_toolbox)


def test_a_file_of_the_wrong_size_is_named(small_files, network_toolbox):
    with pytest.raises(ValueError, match=r"tool01\.data-.*: 10 numbers; the released network has 21827"):
        import_toolbox(small_files)
    with pytest.raises(ValueError, match=r"model\.data-.*: 10 numbers; the released network has 87864"):
        import_agent(small_files, network_toolbox)

import os
import pickle
import subprocess
import sys

import pytest
import torch

from restore_env import FormatError
from restore_env.training.trainer import load_checkpoint, save_checkpoint


class Malicious:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


@pytest.fixture
def state():
    network = torch.nn.Conv2d(3, 4, 3)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.1)
    network(torch.ones(1, 3, 5, 5)).sum().backward()
    optimizer.step()
    return {
        "network": dict(network.state_dict()),
        "optimizer": optimizer.state_dict(),
        "iteration": 7,
        "seconds": 1.5,
        "names": ["a", "b"],
        "none": None,
    }


def test_a_state_comes_back_as_it_was(tmp_path, state):
    path = tmp_path / "new" / "folder" / "run.pt"
    save_checkpoint(path, state)
    loaded = load_checkpoint(path)
    assert loaded.keys() == state.keys()
    assert torch.load(path, weights_only=True).keys() == state.keys()  # other programs ignore the checksum
    for key in ("iteration", "seconds", "names", "none"):
        assert loaded[key] == state[key]
    for key, value in state["network"].items():
        assert torch.equal(loaded["network"][key], value)
    for key, moments in state["optimizer"]["state"].items():
        assert all(torch.equal(loaded["optimizer"]["state"][key][name], moments[name]) for name in moments)
    assert loaded["optimizer"]["param_groups"] == state["optimizer"]["param_groups"]
    assert [file.name for file in path.parent.iterdir()] == ["run.pt"]


def test_no_file_is_no_state(tmp_path):
    assert load_checkpoint(tmp_path / "none.pt") is None


@pytest.mark.parametrize("length", [0, 4, 300, -1])
def test_a_truncated_file_is_named(tmp_path, state, length):
    path = tmp_path / "run.pt"
    save_checkpoint(path, state)
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(ValueError, match=r"run\.pt: not a checkpoint, or damaged; delete it to start afresh"):
        load_checkpoint(path)


def test_a_checkpoint_of_version_0_1_has_no_checksum(tmp_path, state):
    torch.save(state, tmp_path / "run.pt")
    assert load_checkpoint(tmp_path / "run.pt")["iteration"] == 7


@pytest.mark.parametrize("content", [None, 5, "text", [1, 2], torch.zeros(3)])
def test_another_torch_file_is_named(tmp_path, content):
    torch.save(content, tmp_path / "run.pt")
    with pytest.raises(FormatError, match=r"run\.pt: not a checkpoint; delete it to start afresh"):
        load_checkpoint(tmp_path / "run.pt")


def test_a_file_of_something_else_is_named(tmp_path):
    path = tmp_path / "run.pt"
    path.write_text("once upon a time")
    with pytest.raises(ValueError, match=r"run\.pt: not a checkpoint"):
        load_checkpoint(path)


@pytest.mark.parametrize("write", [torch.save, lambda thing, path: path.write_bytes(pickle.dumps(thing))])
def test_foreign_objects_are_never_unpickled(tmp_path, write):
    write({"network": Malicious(tmp_path / "harm")}, tmp_path / "run.pt")
    with pytest.raises(ValueError, match="not a checkpoint"):
        load_checkpoint(tmp_path / "run.pt")
    assert not (tmp_path / "harm").exists()


def test_a_write_that_fails_leaves_the_last_checkpoint(tmp_path, state):
    path = tmp_path / "run.pt"
    save_checkpoint(path, state)
    with pytest.raises(Exception, match="pickle"):
        save_checkpoint(path, {"network": lambda: None})
    assert load_checkpoint(path)["iteration"] == 7
    assert [file.name for file in tmp_path.iterdir()] == ["run.pt"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
def test_a_file_that_may_not_grow_is_named(tmp_path):
    code = """
import resource, signal, sys, torch
from pathlib import Path
from restore_env.training.trainer import save_checkpoint
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, resource.RLIM_INFINITY))
try:
    save_checkpoint(Path(sys.argv[1], "tool.pt"), {"weights": torch.zeros(10_000)})
except OSError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=300)
    assert (done.stdout, done.stderr) == (f"{tmp_path / 'tool.pt'}: cannot be written (File too large)\n", "")
    assert not list(tmp_path.iterdir())

"""The programs for agents import a user's network class if they are told to trust it, and not otherwise."""

from dataclasses import replace

import pytest
from own_networks import Gain

from agents import log_toolchains, train_drqn, train_sb3
from restore_env import FormatError, Tool, Toolbox, save_toolbox


@pytest.mark.parametrize("program", [train_drqn, train_sb3, log_toolchains])
def test_a_network_of_your_own_needs_trust(program, photo_folder, tmp_path):
    save_toolbox(Toolbox([Tool.from_module("gain", Gain())]), tmp_path / "own", trust=True)
    common = {"toolbox": str(tmp_path / "own"), "output": tmp_path / "agent.zip"}
    if program is log_toolchains:
        args = program.Args(images=str(photo_folder), policy="random", n=1, **common)
    else:
        args = program.Args(photos=str(photo_folder), patches=1, checkpoints=tmp_path / "runs", **common)
    with pytest.raises(FormatError, match=r"names a class, which is imported only with trust=True \(--trust\)"):
        program.plan(args)
    assert program.plan(replace(args, trust=True)).toolbox.names == ("gain",)

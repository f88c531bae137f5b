"""What trains and plays does so on a GPU too; skipped where there is none."""

from pathlib import Path

import pytest
import torch

from agents import log_toolchains, train_drqn, train_sb3
from agents.drqn.config import DRQNConfig
from restore_env import load_policy, load_toolbox, load_toolchain_log, save_toolbox
from restore_env.training.trainer import Training
from tools import finetune_joint

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")

DEVICE = "cuda"


@pytest.fixture
def tools(network_toolbox, tmp_path) -> Path:
    save_toolbox(network_toolbox, tmp_path / "tools")
    return tmp_path / "tools"


def test_a_recurrent_agent(photo_folder, tools, tmp_path):
    config = DRQNConfig(n_envs=4, gradient_steps=2, batch_size=4, learning_starts=0, buffer_size=60)
    args = train_drqn.Args(
        photos=str(photo_folder), output=tmp_path / "agent", toolbox=str(tools), iterations=3, config=config
    )
    args.patches, args.device, args.checkpoints = 4, DEVICE, tmp_path / "runs"
    trained = train_drqn.main(args)
    assert {parameter.device.type for parameter in trained.network.parameters()} == {DEVICE}
    load_policy(tmp_path / "agent", load_toolbox(tools))


@pytest.mark.parametrize("algo", ["dqn", "recurrent_ppo"])
def test_an_agent_of_sb3(algo, photo_folder, tools, tmp_path):
    args = train_sb3.Args(
        photos=str(photo_folder), output=tmp_path / "agent.zip", algo=algo, toolbox=str(tools), steps=256, n_envs=4
    )
    args.patches, args.buffer_size, args.device, args.checkpoints = 4, 200, DEVICE, tmp_path / "runs"
    assert train_sb3.main(args).model.device.type == DEVICE


def test_logging_and_joint_training(photo_folder, tools, tmp_path, monkeypatch):
    log = log_toolchains.Args(
        images=str(photo_folder),
        output=tmp_path / "log",
        policy="fixed:three,eight",
        toolbox=str(tools),
        n=20,
        device=DEVICE,
    )
    assert log_toolchains.main(log) == 20 == len(load_toolchain_log(log.output))
    devices = []
    run = Training.run
    monkeypatch.setattr(
        Training, "run", lambda self, *args: devices.append(self.validation.distorted.device.type) or run(self, *args)
    )
    args = finetune_joint.Args(
        logs=(log.output,), output=tmp_path / "joint", toolbox=str(tools), iterations=2, device=DEVICE
    )
    args.batch_size, args.checkpoints = 4, tmp_path / "runs"
    finetune_joint.main(args)
    assert devices == [DEVICE]
    before, after = (load_toolbox(folder) for folder in (tools, tmp_path / "joint"))
    pairs = zip(before[0].module.parameters(), after[0].module.parameters(), strict=True)
    assert before.names == after.names and any(not torch.equal(one, other) for one, other in pairs)

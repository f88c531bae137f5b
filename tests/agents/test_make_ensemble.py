import json
from dataclasses import replace

import pytest
import torch

from agents.make_ensemble import Args, main
from restore_env import load_policy, save_policy
from restore_env.policies import FixedToolchain, RecurrentQNetwork, RecurrentQPolicy

ACTIONS = ("median", "soften", "brighten", "stop")


@pytest.fixture
def args(tmp_path):
    for seed in range(3):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = RecurrentQNetwork(3, channels=(3, 3, 3, 3), features=4, hidden=5, patch_size=16)
        save_policy(RecurrentQPolicy(network, ACTIONS, f"agent-{seed}"), tmp_path / f"agent-{seed}", "functions")
        record = {
            "format": 1,
            "gain": 4.5,
            "minutes": 30.0,
            "settings": {"seed": seed, "severity": "mild", "photos": "mine"},
        }
        (tmp_path / f"agent-{seed}" / "training.json").write_text(json.dumps(record))
    return Args(agents=tuple(tmp_path / f"agent-{seed}" for seed in range(3)), output=tmp_path / "together")


def test_agents_become_one_policy_with_a_card(args, function_toolbox):
    policy = main(args)
    loaded = load_policy(args.output, function_toolbox)
    assert loaded.name == policy.name == "together"
    for member, folder in zip(loaded.members, args.agents, strict=True):
        assert torch.equal(member.network.values.weight, load_policy(folder).network.values.weight)
    card = (args.output / "README.md").read_text()
    assert "| agent-1 | 1 | mild | mine | 30.0 | 4.5 |" in card
    assert "toolbox `functions`" in card
    assert len(json.loads((args.output / "training.json").read_text())["agents"]) == 3


def test_a_folder_of_several_stands_for_its_agents(args, tmp_path):
    main(replace(args, agents=args.agents[:2], output=tmp_path / "two", stop_margin=0.5))
    main(replace(args, agents=(tmp_path / "two", args.agents[2])))
    main(replace(args, output=tmp_path / "at once"))
    one, other = (tmp_path / name / "policy.safetensors" for name in ("together", "at once"))
    assert one.read_bytes() == other.read_bytes()
    assert (tmp_path / "together" / "training.json").read_text() == (tmp_path / "at once" / "training.json").read_text()
    assert load_policy(tmp_path / "two").stop_margin == 0.5 and load_policy(tmp_path / "together").stop_margin == 0
    assert "It stops unless a tool promises 0.5 dB more" in (tmp_path / "two" / "README.md").read_text()


def test_an_agent_without_a_record_is_said_to_be_so(args):
    (args.agents[1] / "training.json").unlink()
    main(args)
    assert "| agent-1 | not known | not known |" in (args.output / "README.md").read_text()


def test_what_cannot_be_is_refused(args, tmp_path):
    with pytest.raises(ValueError, match="agents: 1 given; two at least"):
        main(replace(args, agents=args.agents[:1]))
    with pytest.raises(ValueError, match="agents: '.*nowhere' is not the folder of a recurrent Q-network"):
        main(replace(args, agents=(*args.agents, tmp_path / "nowhere")))
    save_policy(FixedToolchain(("median",), ACTIONS, "fixed"), tmp_path / "fixed", "functions")
    with pytest.raises(ValueError, match="agents: '.*fixed' is not the folder of a recurrent Q-network"):
        main(replace(args, agents=(*args.agents, tmp_path / "fixed")))
    save_policy(load_policy(args.agents[0]), tmp_path / "other", "classical")
    with pytest.raises(ValueError, match="different toolboxes: classical, functions"):
        main(replace(args, agents=(*args.agents, tmp_path / "other")))
    assert not args.output.exists()

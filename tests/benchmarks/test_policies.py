import json

import pytest
import torch

from benchmarks.common.multiplications import (
    decision_multiplications,
    evaluation_multiplications,
    tool_multiplications,
)
from benchmarks.common.patches import PAPER_SEVERITIES
from benchmarks.common.systems import System, load_system
from benchmarks.policies import Args, main
from restore_env import Toolbox, evaluate, load_policy, load_toolbox, save_policy, save_toolbox
from restore_env.data.sources import as_source, draw_pairs
from restore_env.policies.recurrent_q import RecurrentQNetwork, RecurrentQPolicy


@pytest.fixture
def args(photo_folder, network_toolbox, tmp_path) -> Args:
    save_toolbox(network_toolbox, tmp_path / "tools")
    save_toolbox(Toolbox(network_toolbox[:1], "others"), tmp_path / "others")
    for seed in (0, 1):
        torch.manual_seed(seed)
        network = RecurrentQNetwork(2, (4, 4, 4, 4), 8, 8)
        save_policy(
            RecurrentQPolicy(network, network_toolbox.action_names, f"agent-{seed}"), tmp_path / f"agent-{seed}", "t"
        )
    return Args(
        photos=photo_folder,
        train_photos=photo_folder,
        output=tmp_path / "results.json",
        toolbox=str(tmp_path / "tools"),
        policies=(
            f"agent={tmp_path / 'agent-0'}",
            f"agent={tmp_path / 'agent-1'}",
            f"fixed:three@{tmp_path / 'tools'}",
            f"elsewhere=fixed:three@{tmp_path / 'others'}",
        ),
        rivals=("elsewhere", "best single tool"),
        n=3,
        n_oracle=2,
        n_search=2,
        beam=1,
        checkpoints=tmp_path / "kept",
    )


def test_every_policy_and_baseline_has_a_row_a_severity(args):
    results = main(args)
    by_name = {(row["severity"], row["policy"]): row for row in results["rows"]}
    names = ["input", "random", "best single tool", "best fixed toolchain", "agent", "fixed:three", "elsewhere"]
    assert [row["policy"] for row in results["rows"]] == 3 * [*names, "greedy", "oracle"]
    for severity in PAPER_SEVERITIES:
        assert by_name[severity, "input"]["gain"] == by_name[severity, "input"]["multiplications"] == 0
        assert by_name[severity, "greedy"]["multiplications"] is None
        assert by_name[severity, "oracle"]["n"] == 2 and by_name[severity, "oracle"]["over"]["elsewhere"] is None
        agent, rival = by_name[severity, "agent"], by_name[severity, "elsewhere"]
        assert agent["seeds"] == 2
        assert agent["gain"] == pytest.approx(sum(agent["gain_of_seeds"]) / 2)
        assert agent["over"]["elsewhere"][0] == pytest.approx(agent["gain"] - rival["gain"])
        single = by_name[severity, "best single tool"]
        assert agent["over"]["best single tool"][0] == pytest.approx(agent["gain"] - single["gain"])
        assert rival["toolbox"] == "others" and rival["over"]["elsewhere"][0] == 0
    text = args.output.with_suffix(".md").read_text()
    assert text.count("\n| ") == 2 + len(results["rows"])
    assert "agent, mean of 2 seeds" in text and "over elsewhere | over best single tool |" in text
    assert f"]({args.output.stem}.png)" in text
    assert args.output.with_suffix(".png").is_file()
    assert len(json.loads(args.output.read_text())["rows"]) == len(results["rows"])


@pytest.mark.parametrize(
    ("policies", "message"),
    [
        (("greedy",), "has the name of the baseline 'greedy'"),
        (("fixed:three", "fixed:three"), "two are called 'fixed:three'; give them a LABEL="),
        (("a=fixed:three", "a=fixed:median-3@classical"), "'a' acts on two toolboxes"),
    ],
)
def test_rows_that_could_not_be_told_apart_are_refused(args, policies, message):
    args.policies, args.rivals = policies, ()
    with pytest.raises(ValueError, match=message):
        main(args)


def test_the_ratios_of_several_seeds_are_their_mean(args):
    row = next(row for row in main(args)["rows"] if row["policy"] == "agent")
    found = [
        evaluate(
            draw_pairs(as_source(str(args.photos), "mild", 63), 3, 0),
            args.output.parent / f"agent-{seed}",
            args.toolbox,
        )
        for seed in (0, 1)
    ]
    for step, ratios in enumerate(row["tool_ratio"]):
        for name, share in ratios.items():
            assert share == pytest.approx(sum(result.tool_ratio[step][name] for result in found) / 2)


def test_paths_with_signs_of_their_own_can_be_named(args, tmp_path):
    (tmp_path / "agent-0").rename(tmp_path / "lr=1e-3@home")
    found = load_system(f"mine={tmp_path / 'lr=1e-3@home'}@{args.toolbox}", load_toolbox())
    assert (found.label, found.policy.name, found.toolbox.name) == ("mine", "agent-0", "networks")


def test_an_unknown_label_or_policy_is_one_line(args):
    args.rivals = ("nobody",)
    with pytest.raises(ValueError, match="rivals='nobody' is not one of 'agent', 'fixed:three', 'elsewhere', 'input'"):
        main(args)
    args.policies = ("nobody",)
    with pytest.raises(ValueError, match="policy='nobody' is neither"):
        main(args)


def test_multiplications_are_those_of_the_paper():
    """Table 3 gives 0.474e9 for the paper's agent; one step of a tool is a convolution's weights at every pixel."""
    toolbox = load_toolbox("rl-restore-12")
    tools = tool_multiplications(toolbox, 63)
    for tool in toolbox:
        weights = sum(weight.numel() for weight in tool.module.parameters() if weight.ndim == 4)
        assert tools[tool.name] == weights * 63**2
    network = RecurrentQNetwork(12)
    policy = RecurrentQPolicy(network, toolbox.action_names)
    sizes = (32, 16, 8, 4)  # of the feature maps
    convolutions = [weight for weight in network.parameters() if weight.ndim == 4]
    expected = sum(weight.numel() * size**2 for weight, size in zip(convolutions, sizes, strict=True))
    expected += sum(weight.numel() for weight in network.parameters() if weight.ndim == 2)
    assert decision_multiplications(policy, toolbox, 63) == expected


def test_multiplications_of_restoring_count_every_tool_and_every_decision(photo_folder):
    toolbox = load_toolbox("rl-restore-12")
    pairs = draw_pairs(as_source(str(photo_folder), "moderate", 63), 2, 0)
    policy = load_policy("fixed:noise-1,blur-4", toolbox)
    tools = tool_multiplications(toolbox, 63)
    found = evaluation_multiplications(evaluate(pairs, policy, toolbox), System("a", policy, toolbox))
    assert found == tools["noise-1"] + tools["blur-4"]

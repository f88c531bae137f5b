from dataclasses import replace

import pytest

from agents.drqn.config import DRQNConfig
from benchmarks import learning
from benchmarks.learning import Args, main
from restore_env import save_toolbox

QUICK = DRQNConfig(n_envs=4, gradient_steps=2, batch_size=4, learning_starts=0, buffer_size=60)


def test_every_variant_is_trained_with_every_seed_and_drawn(photo_folder, network_toolbox, tmp_path, monkeypatch):
    monkeypatch.setattr(learning, "VARIANTS", {"fast": QUICK, "two": replace(QUICK, degradation_features=False)})
    save_toolbox(network_toolbox, tmp_path / "tools")
    args = Args(
        photos=str(photo_folder),
        output=tmp_path / "learning.json",
        validation=str(photo_folder),
        variants=("fast", "two:0", "two:1"),
        minutes=0.01,
        seeds=(0, 1),
        rival="nothing=stop",
        toolbox=str(tmp_path / "tools"),
        patches=3,
        checkpoints=tmp_path / "runs",
    )
    results = main(args)
    made = [(row["variant"], row["seed"]) for row in results["rows"]]
    assert made == [("fast", 0), ("fast", 1), ("two", 0), ("two", 1)]
    names = [f"{variant}-{seed}" for variant, seed in made]
    folder = args.checkpoints / "0.01-minutes"
    assert len({(folder / name / name / "policy.safetensors").read_bytes() for name in names}) == 4
    for row in results["rows"]:
        assert row["updates"] > 0 and row["minutes"][-1] >= 0.01
        assert (row["minutes_to_rival"] is None) == (max(row["psnr"]) < results["rival"]["psnr"])
    text = args.output.with_suffix(".md").read_text()
    assert text.count("\n| ") == 6
    gains = [row["gain"] for row in results["rows"]]
    assert f"| two | 1 | {gains[3]:+.3f} | {gains[3] - (gains[0] + gains[1]) / 2:+.3f} |" in text
    assert args.output.with_suffix(".png").exists()
    with pytest.raises(ValueError, match="variants='three' is not one of 'fast', 'two'"):
        main(replace(args, variants=("three",)))
    with pytest.raises(ValueError, match="variants: 'two:x' does not end in a seed"):
        main(replace(args, variants=("two:x",)))

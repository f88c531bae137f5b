from dataclasses import replace

import numpy as np
import pytest

from benchmarks.regions import DAMAGE, Args, main
from restore_env import save_policy, save_toolbox
from restore_env.policies import RecurrentQNetwork, RecurrentQPolicy


@pytest.fixture
def args(photo_folder, network_toolbox, tmp_path):
    save_toolbox(network_toolbox, tmp_path / "tools")
    network = RecurrentQNetwork(len(network_toolbox), (3, 3, 3, 3), 4, 5, patch_size=32)
    save_policy(RecurrentQPolicy(network, network_toolbox.action_names), tmp_path / "agent", network_toolbox)
    return Args(
        photos=photo_folder,
        output=tmp_path / "regions.json",
        n=2,
        policy=str(tmp_path / "agent"),
        toolbox=str(tmp_path / "tools"),
        rivals=("nothing=stop",),
    )


def test_each_damage_has_a_row_for_each_setting(args):
    results = main(replace(args, gates=(0.0, 1000.0), blends=(4, 16)))
    rows = results["rows"]
    assert [row["damage"] for row in rows[::4]] == list(DAMAGE) and len(rows) == 4 * len(DAMAGE) and results["n"] == 2
    for row in rows:
        assert row["rivals"]["nothing"] == row["psnr_in"]
        assert row["over_vote"] == pytest.approx(row["regions"] - row["vote"])
        if row["gate"]:
            assert row["left_alone"] == 1 and row["regions"] == row["psnr_in"] and set(row["gains"]) == {0}
    report = args.output.with_suffix(".md").read_text()
    assert report.count("\n| ") == 2 + len(rows) and "nothing, vote" in report


def test_damage_lies_where_it_should(photos):
    photo, rng = photos[0], np.random.default_rng(0)
    height, width = photo.shape[:2]

    def changed(name):
        return np.abs(DAMAGE[name](photo, rng).astype(int) - photo).mean(2)

    noisy = changed("noise in the upper third")
    assert noisy[: height // 3].mean() > 15 and not noisy[height // 3 :].any()
    both = changed("half noise, half blur")
    assert both[:, : width // 2].mean() > both[:, width // 2 :].mean() > 0
    assert not changed("clean").any() and 0 < changed("JPEG 90").mean() < 10


def test_a_policy_without_values_is_refused(args):
    with pytest.raises(ValueError, match="policy='stop' has no Q-values"):
        main(replace(args, policy="stop"))

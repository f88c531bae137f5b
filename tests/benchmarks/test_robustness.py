from dataclasses import replace

import pytest

from benchmarks.robustness import DAMAGE, Args, main
from restore_env import save_toolbox


@pytest.fixture
def args(photo_folder, network_toolbox, tmp_path) -> Args:
    save_toolbox(network_toolbox, tmp_path / "tools")
    return Args(
        photos=photo_folder,
        output=tmp_path / "robustness.json",
        policy="stop",
        toolbox=str(tmp_path / "tools"),
    )


def test_a_policy_that_stops_leaves_every_photo_alone(args):
    results = main(args)
    rows = {row["damage"]: row for row in results["rows"]}
    assert list(rows) == list(DAMAGE) and results["n"] == 3
    for row in rows.values():
        assert row["psnr_out"] == row["psnr_in"]
        assert (row["gain"], row["worst"], row["left_alone"], row["steps"]) == (0, 0, 1, 0)
    assert 48 < rows["clean"]["psnr_in"] < 50
    assert rows["noise 8"]["psnr_in"] == pytest.approx(30.1, abs=0.3)
    assert rows["noise 25"]["psnr_in"] == pytest.approx(20.3, abs=0.5)
    for name in ("motion", "defocus", "low-light", "web", "wild"):
        assert 10 < rows[f"severity {name}"]["psnr_in"] < 50
    report = args.output.with_suffix(".md").read_text()
    assert report.count("\n| ") == 2 + len(rows) and "python -m benchmarks.robustness " in report


def test_each_filter_does_what_it_is_known_for(args):
    rows = {row["damage"]: row for row in main(args)["rows"]}
    assert rows["noise 25"]["wavelet"] > rows["noise 25"]["psnr_in"]
    assert rows["noise 8"]["bilateral"] > rows["noise 8"]["psnr_in"]
    assert rows["blur 2"]["unsharp"] > rows["blur 2"]["psnr_in"]
    assert rows["noise 25"]["unsharp"] < rows["noise 25"]["psnr_in"]
    assert rows["salt and pepper 5%"]["median"] > rows["salt and pepper 5%"]["psnr_in"] + 5
    assert rows["defocus 3"]["unsharp"] > rows["defocus 3"]["psnr_in"]


def test_what_a_policy_does_is_counted(args):
    rows = main(replace(args, policy="fixed:three,eight"))["rows"]
    for row in rows:
        assert row["left_alone"] == 0 and row["steps"] == 2
        assert row["gain"] == pytest.approx(row["psnr_out"] - row["psnr_in"])
        assert row["worst"] <= row["gain"]


def test_a_policy_that_needs_the_reference_is_refused(args):
    with pytest.raises(ValueError, match="policy='greedy' needs a reference"):
        main(replace(args, policy="greedy"))

import pytest

from benchmarks import classical
from benchmarks.classical import DAMAGE, MADE_FOR, Args, main
from restore_env import load_toolbox


def test_each_filter_is_measured_on_the_damage_that_it_is_made_for():
    assert set(MADE_FOR) == set(load_toolbox("classical").names)
    assert set(MADE_FOR.values()) <= set(DAMAGE)


def test_the_report_has_a_row_for_each_filter_and_each_kind_of_damage(photo_folder, tmp_path, monkeypatch):
    damage = {
        "salt and pepper 1% to 15%": DAMAGE["salt and pepper 1% to 15%"],
        "WebP 30 to 80": DAMAGE["WebP 30 to 80"],
    }
    made_for = {name: task for name, task in MADE_FOR.items() if task in damage}
    monkeypatch.setattr(classical, "DAMAGE", damage)
    monkeypatch.setattr(classical, "MADE_FOR", made_for)
    results = main(Args(photos=photo_folder, output=tmp_path / "classical.json", n=3))
    speckled, compressed = results["rows"]
    assert set(speckled["gains"]) == set(load_toolbox("classical").names)
    assert set(speckled["details"]) == {"median-3", "despeckle"} and set(compressed["details"]) == {"bilateral-mild"}
    # The filter that leaves other pixels alone gains most; JPEG makes black and white pixels grey.
    assert speckled["gains"]["despeckle"] == max(speckled["gains"].values()) > 8
    assert speckled["details"]["despeckle"]["after_slight"] < speckled["gains"]["despeckle"] - 5
    assert speckled["details"]["despeckle"]["worst"] <= speckled["gains"]["despeckle"]
    assert 10 < speckled["psnr_in"] < 30
    report = (tmp_path / "classical.md").read_text()
    assert report.count("\n| `") == len(made_for) and "python -m benchmarks.classical " in report
    assert report.split("## The best filters")[1].count("\n| ") == 2 + len(damage)


def test_an_output_that_is_no_results_file_is_refused(photo_folder, tmp_path):
    with pytest.raises(ValueError, match=r"does not end in \.json"):
        main(Args(photos=photo_folder, output=tmp_path / "classical.txt"))

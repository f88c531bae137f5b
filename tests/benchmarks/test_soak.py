import numpy as np
import pytest

from benchmarks import soak
from benchmarks.soak import Args, main, watch


def test_every_part_is_watched(tmp_path):
    args = Args(output=tmp_path / "soak.json", toolbox="classical", num_envs=2, minutes=0.01, resets=20, made=4)
    rows = main(args)["rows"]
    assert [row["part"] for row in rows] == [
        "2 environments for 0.01 minutes",
        "20 resets",
        "4 environments made and dropped",
    ]
    for row in rows:
        assert min(row["megabytes"]) > 50 and min(row["threads"]) >= 1 and min(row["handles"]) >= 3
    assert (tmp_path / "soak.md").read_text().count("\n| ") == 2 + len(rows)


def test_what_grows_is_seen(monkeypatch):
    monkeypatch.setattr(soak, "SAMPLES", 10)
    kept = []

    def leak():
        for number in range(10):
            kept.append(np.ones(2_000_000))
            yield number / 10

    early, late = watch("leak", leak())["megabytes"]
    assert late - early == pytest.approx(6 * 16, abs=30)  # from the third and fourth sample to the last two


def test_handles_are_counted(tmp_path):
    before = soak.take_sample().handles
    with (tmp_path / "file").open("w"):
        assert soak.take_sample().handles == before + 1

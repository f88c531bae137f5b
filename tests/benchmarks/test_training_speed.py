import pytest
import torch

from benchmarks import training_speed
from benchmarks.common.profiling import matrix_rate
from benchmarks.training_speed import Args, main, timed
from restore_env.toolbox.networks import ARCHITECTURES
from restore_env.utils.tensors import computes_bfloat16


def test_every_network_is_measured(tmp_path, one_thread, monkeypatch):
    monkeypatch.setattr(training_speed, "matrix_rate", lambda seconds, dtype: 1e11)
    results = main(Args(output=tmp_path / "speed.json", batch_sizes=(2,), updates=2))
    rows = results["rows"]
    assert {row["architecture"] for row in rows} == set(ARCHITECTURES)
    for row in rows:
        assert 0 < row["optimizer_ms"] < row["update_ms"]
        assert row["patches_per_second"] == pytest.approx(2e3 / row["update_ms"])
        assert row["share_of_bound"] > 0
    assert (tmp_path / "speed.md").read_text().count("\n| ") == 2 + len(rows)


def test_a_timed_function_does_as_before():
    seconds = []
    function = timed(torch.add, seconds)
    assert function(torch.tensor(1), other=2) == 3 and function(torch.tensor(2), other=2) == 4
    assert len(seconds) == 2 and min(seconds) > 0


@pytest.mark.skipif(not computes_bfloat16("cpu"), reason="this processor imitates bfloat16")
def test_the_bound_is_that_of_the_precision():
    rates = {dtype: matrix_rate(0.05, dtype) for dtype in (torch.float32, torch.bfloat16)}
    assert min(rates.values()) > 1e8 and rates[torch.float32] != rates[torch.bfloat16]

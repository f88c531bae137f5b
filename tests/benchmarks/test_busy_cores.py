import pytest

from benchmarks import busy_cores
from benchmarks.busy_cores import Args, main


@pytest.mark.slow
def test_both_cases_are_measured_beside_spinning_processes(tmp_path):
    args = Args(output=tmp_path / "busy.json", seconds=1.0, height=200, width=300, rounds=1)
    rows = main(args)["rows"]
    assert [row["case"] for row in rows] == [
        "single environment, steps/s",
        "restore of 300x200 pixels, CPU seconds",
    ]
    assert all(row["default"] > 0 and row["one"] > 0 for row in rows)
    assert rows[0]["default"] > 0.4 * rows[0]["one"]  # 0.03 when threads waited for each other


def test_the_number_of_threads_is_that_of_the_case(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    program = "import os; print(float(os.environ.get('OMP_NUM_THREADS', 0)))"
    assert [busy_cores._run(program, threads) for threads in ("default", "one")] == [0, 1]

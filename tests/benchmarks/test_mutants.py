import json

import pytest

from benchmarks import mutants
from benchmarks.mutants import Args, main

CODES = {
    "tools.a.x_f__mutmut_1": 1,
    "tools.a.x_f__mutmut_2": 0,
    "tools.b.x_g__mutmut_1": 36,
    "tools.b.x_g__mutmut_2": 33,
}


@pytest.fixture
def mutmut(tmp_path, monkeypatch):
    """A stand-in for mutmut that makes four mutants and tests those that are named."""
    (tmp_path / "tools").mkdir()
    calls = []

    def run(jobs, *names):
        calls.append(names)
        codes = {name: code if name in names else None for name, code in CODES.items()}
        for module in "ab":
            found = {name: code for name, code in codes.items() if name.startswith(f"tools.{module}.")}
            (tmp_path / "tools" / f"{module}.py.meta").write_text(json.dumps({"exit_code_by_key": found}))

    monkeypatch.setattr(mutants, "FOLDER", tmp_path)
    monkeypatch.setattr(mutants, "_mutmut", run)
    return calls


def test_what_passes_or_is_not_tested_is_missed_and_a_timeout_is_not(mutmut, tmp_path):
    results = main(Args(output=tmp_path / "mutants.json", n=10))
    assert sorted(mutmut[1]) == sorted(CODES)
    assert results["late"] == ["tools.b.x_g__mutmut_1"] and results["cpu_minutes"] >= 0
    assert results["missed"] == ["tools.a.x_f__mutmut_2", "tools.b.x_g__mutmut_2"]
    assert results["rows"] == [
        {"module": "tools.a", "mutants": 2, "missed": 1},
        {"module": "tools.b", "mutants": 2, "missed": 1},
    ]
    report = (tmp_path / "mutants.md").read_text()
    assert (
        "4 of 4 mutants, seed 0. The tests notice 50%, 1 of them by their time limit. All took " in report
        and "- `tools.a.x_f__mutmut_2`" in report
    )


def test_the_sample_is_seeded(mutmut, tmp_path):
    for seed in (0, 0, 1):
        main(Args(output=tmp_path / "mutants.json", n=2, seed=seed))
    assert mutmut[1] == mutmut[3] != mutmut[5] and len(mutmut[1]) == 2


def test_without_mutants_the_program_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(mutants, "FOLDER", tmp_path)
    monkeypatch.setattr(mutants, "_mutmut", lambda *_: None)
    with pytest.raises(ValueError, match="mutmut made no mutants"):
        main(Args(output=tmp_path / "mutants.json"))

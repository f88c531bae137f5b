"""Break the code in a seeded sample of places, and count what the tests notice (mutmut makes and runs the mutants).

    python -m benchmarks.mutants --output mutants.json

The modules and their tests are listed in `pyproject.toml`, under `tool.mutmut`. What mutmut makes lies in `mutants/`.
"""

import json
import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.common.report import Results, check_output, table_of, write_results
from restore_env.training.model_card import Blocks
from restore_env.training.program import run_program
from restore_env.utils.checks import Count, Natural, Options

FOLDER: Final = Path("mutants")
"""Folder of what mutmut makes."""

SURVIVED: Final = 0
"""Exit code of tests that pass with a mutant."""

NO_TESTS: Final = 33
"""Exit code that mutmut gives to a mutant which no test runs."""

TIME_LIMIT: Final = (24, -24, 36, 152, 255)
"""Exit codes that mutmut gives to a mutant with which the tests take too long."""


@dataclass(kw_only=True)
class Args(Options):
    """Break the code in a seeded sample of places, and count what the tests notice."""

    output: Path
    """Results file to write (.json). The report (.md) is written beside it."""
    n: Count = 300
    """Number of mutants."""
    jobs: Count = 2
    """Mutants that are tested in parallel."""
    seed: Natural = 0
    """Seed of the sample."""
    data: str = "the modules that pyproject.toml lists"
    """What is broken, for the report."""


def main(args: Args) -> Results:
    """Make the mutants, test a sample, write the results, and return them."""
    check_output(args.output, {})
    _mutmut(args.jobs, "none of them")  # makes all mutants, finds which tests run which function, and stops
    found = read_exit_codes(FOLDER)
    if not found:
        raise ValueError(f"{FOLDER}: mutmut made no mutants; run it from the root of the repository")
    sample = random.Random(args.seed).sample(sorted(found), min(args.n, len(found)))
    _mutmut(args.jobs, *sample)
    codes = read_exit_codes(FOLDER)
    missed = sorted(name for name in sample if codes[name] in (SURVIVED, NO_TESTS, None))
    late = sorted(name for name in sample if codes[name] in TIME_LIMIT)
    used = os.times()
    facts = {"missed": missed, "late": late, "cpu_minutes": (used.children_user + used.children_system) / 60}
    return write_results("mutants", args, describe, of=len(found), rows=rows_of(sample, missed), **facts)


def read_exit_codes(folder: Path) -> dict[str, int | None]:
    """Return the exit code of the tests for each mutant, None where they have not run."""
    found: dict[str, int | None] = {}
    for path in sorted(folder.rglob("*.meta")):
        found |= json.loads(path.read_text())["exit_code_by_key"]
    return found


def rows_of(sample: list[str], missed: list[str]) -> list[dict[str, Any]]:
    """Return for each module how many of its mutants were tested, and how many the tests missed."""
    tested, survived = (Counter(name.rsplit(".", 1)[0] for name in names) for names in (sample, missed))
    return [{"module": module, "mutants": tested[module], "missed": survived[module]} for module in sorted(tested)]


def describe(results: Results) -> Blocks:
    """Return the paragraphs and the table of the report."""
    total = sum(row["mutants"] for row in results["rows"])
    return [
        "# Mutants",
        f"{total} of {results['of']:,} mutants, seed {results['options']['seed']}. The tests notice "
        f"{1 - len(results['missed']) / total:.0%}, {len(results['late'])} of them by their time limit. All took "
        f"{results['cpu_minutes']:.0f} minutes of one core.",
        table_of([cells(row) for row in results["rows"]]),
        "Missed:" if results["missed"] else "None was missed.",
        [f"- `{name}`" for name in results["missed"]],
    ]


def cells(row: Mapping[str, Any]) -> dict[str, str]:
    """Return the cells of one row of the table by the heads of their columns."""
    return {"module": row["module"], "mutants": str(row["mutants"]), "missed": str(row["missed"])}


def _mutmut(jobs: int, *names: str) -> None:
    """Run mutmut on the mutants of some names, with one thread for each."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "mutmut", "run", "--max-children", str(jobs), *names]
    subprocess.run(command, env=environment, check=False)  # it fails where it finds none of the names


if __name__ == "__main__":
    run_program(main, Args)

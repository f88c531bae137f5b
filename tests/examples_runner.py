"""What the tests of the examples share."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def need(*packages: str) -> None:
    """Skip a test unless these packages are installed."""
    for package in packages:
        if find_spec(package) is None:
            pytest.skip(f"{package} is not installed here; `make examples` installs it")


def output_of(example: str, *arguments: object) -> str:
    """Run an example, and return what it prints."""
    return run([ROOT / "examples" / example, *arguments])


def run(words: list[object]) -> str:
    """Run Python with some words, and return what it prints."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}  # tests run beside each other
    command = [sys.executable, *map(str, words)]
    finished = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout

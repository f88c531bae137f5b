"""Ctrl-C ends a program without a traceback, also while it imports."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
INTERRUPTING = "import os, signal, time\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(60)\n"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signal")
@pytest.mark.parametrize(
    ("words", "slow"),
    [
        (["-m", "agents.search_toolchain"], "gymnasium"),
        (["-m", "agents.train_sb3"], "torch"),
        (["-m", "tools.make_pairs"], "torch"),
        (["-m", "benchmarks.policies"], "matplotlib"),
        (["{restore-env}", "--version"], "gymnasium"),
        (["{restore-env}", "toolbox", "classical"], "torch"),
    ],
)
def test_an_interrupt_during_imports_leaves_no_traceback(words, slow, tmp_path):
    (tmp_path / f"{slow}.py").write_text(INTERRUPTING)  # stands for a module that takes long
    script = tmp_path / "restore-env"
    script.write_text("import sys\nfrom restore_env.cli import main\nsys.exit(main())\n")
    done = subprocess.run(
        [sys.executable, *(word.replace("{restore-env}", str(script)) for word in words)],
        capture_output=True, text=True, timeout=60, cwd=ROOT,
        env=os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"},
    )  # fmt: skip
    assert done.returncode in (-signal.SIGINT, 130)  # what a shell calls 130 in both cases
    assert "Traceback" not in done.stderr
    assert len([line for line in done.stderr.splitlines() if line]) <= 1


def test_other_peoples_programs_are_left_alone(tmp_path):
    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").write_text("import restore_env\n")
    (package / "program.py").write_text(
        "import signal\nassert signal.getsignal(signal.SIGINT) is signal.default_int_handler\n"
    )
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    subprocess.run([sys.executable, "-m", "package.program"], check=True, timeout=60, env=environment)

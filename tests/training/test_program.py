"""How programs end."""

import signal
import subprocess
import sys
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

import pytest

from restore_env.errors import DiskFullError, ToolError
from restore_env.training import program
from restore_env.training.program import make_run_folder, run_program
from restore_env.training.signals import Stopped


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (ValueError("photos='x': no such folder"), 1, "train_things: photos='x': no such folder"),
        (ToolError("tool 'x' failed"), 1, "train_things: tool 'x' failed"),
        (FileNotFoundError(2, "No such file", "x"), 1, "train_things: [Errno 2] No such file: 'x'"),
        (
            DiskFullError("x.pt: the disk / is full"),
            1,
            "train_things: x.pt: the disk / is full; make room",
        ),
        (ValueError("first\nsecond"), 1, "train_things: first second"),
        (MemoryError("an array of 9 GB"), 1, "train_things: not enough memory; smaller numbers need less (an array of"),
        (RuntimeError("DefaultCPUAllocator: can't allocate"), 1, "train_things: not enough memory"),
        (BrokenProcessPool(), 1, "train_things: a process died (killed, or out of memory?); run the same"),
        (Stopped(signal.SIGTERM), 143, "train_things: stopped by SIGTERM; run the same command again to go on"),
        (KeyboardInterrupt(), 130, "train_things: stopped; run the same command again"),
    ],
)
def test_what_goes_wrong_is_one_line(error, code, line, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["somewhere/train_things.py"])

    def main(options):
        raise error

    with pytest.raises(SystemExit) as ended:
        run_program(main, lambda: None)
    told = capsys.readouterr().err or str(ended.value)
    assert told.strip().startswith(line) and "\n" not in told.strip()
    assert (ended.value.code if isinstance(ended.value.code, int) else 1) == code


def test_errors_of_the_program_itself_are_not_hidden():
    with pytest.raises(KeyError):
        run_program({}.__getitem__, lambda: "missing")

    def main(options):
        raise RuntimeError("shapes differ")

    with pytest.raises(RuntimeError, match="shapes differ"):
        run_program(main, lambda: None)


def test_an_empty_path_is_not_the_folder_that_the_program_runs_in(monkeypatch, capsys):
    @dataclass
    class Args:
        output: Path
        others: tuple[Path, ...] = ()

    for words in (["--output", ""], ["--output", "x", "--others", "y", ""]):
        monkeypatch.setattr(sys, "argv", ["train_things", *words])
        with pytest.raises(SystemExit) as ended:
            run_program(lambda args: None, Args)
        assert ended.value.code == 2 and "Error parsing --o" in capsys.readouterr().err


HOLD = """import sys, time, filelock
with filelock.FileLock(sys.argv[1]):
    print(flush=True)
    time.sleep(60)
"""


def test_a_run_folder_has_one_writer(tmp_path):
    output, checkpoints = tmp_path / "agent", tmp_path / "runs"
    folder = make_run_folder(output, checkpoints)
    assert make_run_folder(output, checkpoints) == folder  # by the same process
    other = make_run_folder(output, tmp_path / "others")
    program._locks.pop(other.resolve()).release()
    with subprocess.Popen([sys.executable, "-c", HOLD, str(other / ".lock")], stdout=subprocess.PIPE) as process:
        assert process.stdout.readline()
        with pytest.raises(ValueError, match="others: another program writes to this folder"):
            make_run_folder(output, tmp_path / "others")
        process.kill()
    assert make_run_folder(output, tmp_path / "others") == other

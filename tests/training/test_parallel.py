import multiprocessing
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from restore_env.data.pairs import Pair
from restore_env.data.sampling import PatchSampler
from restore_env.data.sources import draw_pairs
from restore_env.training import parallel
from restore_env.training.parallel import draw_in_parallel, ignore_signals, train_in_parallel, when_orphaned
from restore_env.training.signals import StopRequest

ROOT = Path(__file__).parents[2]


class Forever:
    """A source that takes its time; says that it was asked."""

    def sample(self, rng):
        sys.stdout.write("drawing\n")
        sys.stdout.flush()
        time.sleep(600)


class Numbers:
    """A source of tiny pairs of random bytes."""

    def sample(self, rng):
        return Pair(*rng.integers(256, size=(2, 4, 4, 3), dtype=np.uint8))


def equal(one, other):
    return np.array_equal(one.distorted, other.distorted) and np.array_equal(one.reference, other.reference)


@pytest.fixture
def no_processes(monkeypatch):
    def refuse(method):
        raise AssertionError("a process was started")

    monkeypatch.setattr(multiprocessing, "get_context", refuse)


@pytest.mark.parametrize("n", [1, 2, 3, 6, 7])
def test_parts_together_are_what_draw_pairs_draws(n, monkeypatch, no_processes):
    monkeypatch.setattr(parallel, "PART", 3)
    pairs = draw_in_parallel(Numbers(), n, seed=5, jobs=1, what="numbers")
    assert equal(pairs, draw_pairs(Numbers(), n, 5))
    assert len(pairs) == n


@pytest.mark.slow
def test_processes_draw_the_same(photos, monkeypatch):
    monkeypatch.setattr(parallel, "PART", 2)
    source = PatchSampler(photos, patch_size=24, augment=True)
    assert equal(draw_in_parallel(source, 5, seed=1, jobs=2, what="pairs"), draw_pairs(source, 5, 1))


def test_no_process_is_started_for_few_pairs(no_processes):
    draw_in_parallel(Numbers(), parallel.PART, seed=0, jobs=8, what="numbers")


def test_no_more_processes_are_started_than_there_are_items(monkeypatch):
    started = []

    def pool(workers, *_):
        started.append(workers)
        raise RuntimeError("started")

    monkeypatch.setattr(parallel, "ProcessPoolExecutor", pool)
    with pytest.raises(RuntimeError, match="started"):
        train_in_parallel(lambda item, stopping: item, [1, 2], 2**31 - 1, StopRequest())
    assert started == [2]


def test_the_first_process_is_no_orphan():
    before = threading.enumerate()
    when_orphaned(lambda: pytest.fail("orphaned"))
    assert threading.enumerate() == before


def test_signals_are_left_to_the_parent():
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.getsignal(number) for number in numbers]
    try:
        ignore_signals()
        for number in numbers:
            signal.raise_signal(number)
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def processes_end_with_their_parent(code, started):
    """Run code that prints `started` for each of its two processes, kill it, and wait until all have ended.

    Each process holds the pipe that is read here: it ends with the last of them.
    """
    command = [sys.executable, "-c", code, __file__]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert [process.stdout.readline().strip() for _ in range(2)] == [started] * 2
        process.kill()
        process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL


def test_a_process_learns_that_its_parent_was_killed():
    processes_end_with_their_parent(
        """
import multiprocessing, os, time
from restore_env.training.parallel import ignore_signals, when_orphaned

def work():
    when_orphaned(lambda: os._exit(1))
    ignore_signals()
    print("working", flush=True)
    time.sleep(600)

context = multiprocessing.get_context("fork")  # quicker than what the tools use
for _ in range(2):
    context.Process(target=work).start()
time.sleep(600)
""",
        "working",
    )


@pytest.mark.slow
def test_processes_that_draw_end_when_their_parent_was_killed(tmp_path):
    # the processes that are started import the source by the name of a module
    (tmp_path / "slowly.py").write_text(Path(__file__).read_text())
    processes_end_with_their_parent(
        f"""
import sys
sys.path.insert(0, {str(tmp_path)!r})
from slowly import Forever
from restore_env.training.parallel import PART, draw_in_parallel
draw_in_parallel(Forever(), 2 * PART, 0, 2, "pairs")
""",
        "drawing",
    )

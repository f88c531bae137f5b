"""What `restore-env restore --ray` does, on a stand-in for Ray; `make examples` tests it on Ray itself."""

import json
import os
import pickle
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from conftest import smooth_photo

from restore_env.cli import main
from restore_env.cli.folders import JOURNAL
from restore_env.data.image_io import read_image, write_image

PHOTOS = 5


class Numbers:
    """Stands for a data set of Ray Data: its worker is pickled, runs in another folder, and may die after its work."""

    def __init__(self, count: int, calls: list) -> None:
        self.count, self.calls = count, calls

    def map_batches(self, worker, *, fn_constructor_args, batch_size, concurrency, num_gpus):
        self.calls.append((worker, concurrency, num_gpus))
        self.made = pickle.loads(pickle.dumps((worker, fn_constructor_args)))
        return self

    def iter_rows(self):
        worker, arguments = self.made
        home = os.getcwd()
        for number in reversed(range(self.count)):  # the order is any
            os.chdir("/")
            try:
                if number % 2:
                    worker(*arguments)({"id": np.array([number])})  # its result is lost, and another one begins anew
                found = worker(*arguments)({"id": np.array([number])})
            finally:
                os.chdir(home)
            yield {name: values[0] for name, values in found.items()}


@pytest.fixture
def calls(monkeypatch) -> list:
    """Put the stand-in in Ray's place, and return what is asked of it."""
    calls = []
    ray, data = ModuleType("ray"), ModuleType("ray.data")
    ray.data, ray.is_initialized = data, lambda: False
    ray.init = lambda **options: calls.append("init")
    ray.shutdown = lambda: calls.append("shutdown")
    data.range = lambda count, override_num_blocks: Numbers(count, calls)
    data.DataContext = SimpleNamespace(get_current=lambda: SimpleNamespace())
    monkeypatch.setitem(sys.modules, "ray", ray)
    monkeypatch.setitem(sys.modules, "ray.data", data)
    return calls


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "photos").mkdir()
    for number in range(PHOTOS):
        write_image(tmp_path / "photos" / f"{number}.png", smooth_photo(number, 70, 90))
    (tmp_path / "photos" / "bad.jpg").write_bytes(b"no photo")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(monkeypatch, capsys, output, *options):
    """Run the command line on the folder; return exit code, lines of output, and lines of errors."""
    words = ["photos", "-o", output, "--policy", "fixed:median-3", "--toolbox", "classical", "--max-steps", "1"]
    monkeypatch.setattr(sys, "argv", ["restore-env", "restore", *words, *options])
    with pytest.raises(SystemExit) as ended:
        main()
    printed = capsys.readouterr()
    return ended.value.code, printed.out.splitlines(), printed.err.splitlines()


def test_results_messages_and_journal_are_those_without_ray(folder, calls, monkeypatch, capsys, one_thread):
    here = run(monkeypatch, capsys, "here")
    there = run(monkeypatch, capsys, "there", "--ray", "--jobs", "3", "--steps", "steps.json")
    assert calls[0] == "init" and calls[1][1:] == ((1, 3), 0) and calls[-1] == "shutdown"
    assert here[0] == there[0] == 1  # the bad file costs itself
    assert sorted(there[1]) == [line.replace("here", "there") for line in sorted(here[1])] and len(there[1]) == PHOTOS
    assert len(there[2]) == 1 and there[2][0].replace(f"{folder}/", "") == here[2][0]
    for number in range(PHOTOS):
        one, other = (folder / place / f"{number}.png" for place in ("here", "there"))
        assert one.read_bytes() == other.read_bytes() != (folder / "photos" / f"{number}.png").read_bytes()
    lines = [json.loads(line) for line in (folder / "there" / JOURNAL).read_text().splitlines()[1:]]
    assert sorted(line["source"] for line in lines) == [f"photos/{number}.png" for number in range(PHOTOS)]
    assert json.loads((folder / "steps.json").read_text())["photos/0.png"][0]["action"] == "median-3"


def test_resume_does_what_is_left_and_starts_no_ray_for_nothing(folder, calls, monkeypatch, capsys, one_thread):
    (folder / "photos" / "bad.jpg").unlink()
    run(monkeypatch, capsys, "out", "--ray")
    (folder / "out" / "3.png").unlink()
    code, printed, errors = run(monkeypatch, capsys, "out", "--ray", "--resume")
    assert code == 0 and not errors and len(printed) == 2
    assert printed[0].startswith("4 of 5 photos are done already") and printed[1].startswith("photos/3.png -> ")
    assert read_image(folder / "out" / "3.png").shape == (70, 90, 3)
    calls.clear()
    run(monkeypatch, capsys, "out", "--ray", "--resume")
    assert not calls


def test_without_ray_the_extra_is_named(folder, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "ray", None)
    code, _, errors = run(monkeypatch, capsys, "out", "--ray")
    assert (code, errors) == (2, ["restore-env: Ray is not installed; restore-env[ray] installs it"])
    assert not (folder / "out").exists()

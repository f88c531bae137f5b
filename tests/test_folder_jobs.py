"""Folders of photos: subfolders, names that clash, several at once, and going on after an interruption."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from threading import Event, Lock

import numpy as np
import pytest

from restore_env import Tool, Toolbox, save_toolbox
from restore_env.cli.folders import JOURNAL, Job, Journal, find_jobs, run_jobs
from restore_env.data.image_io import read_image, write_image
from restore_env.errors import FormatError, ImageError
from restore_env.toolbox.networks import ThreeLayerCNN


@pytest.fixture
def folder(tmp_path, photos) -> Path:
    """a.png, a.gif, b.JPG, sub/a.png and sub/deep/c.png, and what is no photo."""
    root = tmp_path / "photos"
    (root / "sub" / "deep").mkdir(parents=True)
    (root / "empty").mkdir()
    for name in ("a.png", "b.JPG", "sub/a.png", "sub/deep/c.png", "a-restored.png"):
        write_image(root / name, photos[0])
    (root / "a.gif").write_bytes(b"GIF89a")
    (root / "notes.txt").write_text("no photo")
    return root


def names(jobs, root):
    return {str(job.source.relative_to(root)): job.target for job in jobs}


def test_a_folder_stands_for_its_photos(folder, tmp_path):
    jobs = names(find_jobs([folder], tmp_path / "out", "restored"), folder)
    out = tmp_path / "out"
    assert jobs == {"a.png": out / "a.png", "a.gif": out / "a.gif.png", "b.JPG": out / "b.JPG"}


def test_subfolders_become_subfolders(folder, tmp_path):
    jobs = names(find_jobs([folder], tmp_path / "out", "restored", recursive=True), folder)
    assert len(jobs) == 5 and jobs["sub/a.png"] == tmp_path / "out/sub/a.png"
    assert jobs["sub/deep/c.png"] == tmp_path / "out/sub/deep/c.png"


def test_without_an_output_results_lie_beside_the_photos(folder):
    jobs = names(find_jobs([folder], None, "restored", recursive=True), folder)
    assert jobs["sub/deep/c.png"] == folder / "sub/deep/c-restored.png"
    assert jobs["a.gif"] == folder / "a-restored.gif.png" and jobs["a.png"] == folder / "a-restored.png"


def test_a_format_makes_other_names_clash(folder, tmp_path):
    jobs = names(find_jobs([folder], tmp_path / "out", "restored", ".webp"), folder)
    out = tmp_path / "out"
    assert jobs == {"a.png": out / "a.png.webp", "a.gif": out / "a.gif.webp", "b.JPG": out / "b.webp"}


def test_folders_without_photos_are_refused(folder, tmp_path):
    with pytest.raises(ImageError, match="no image in this folder; --recursive also looks in its subfolders"):
        find_jobs([folder / "empty"], tmp_path / "out", "restored")
    with pytest.raises(ImageError, match=r"no image in this folder$"):
        find_jobs([folder / "empty"], tmp_path / "out", "restored", recursive=True)
    with pytest.raises(FileNotFoundError, match="the folder .* does not exist"):
        find_jobs([folder / "a.png"], tmp_path / "nowhere" / "a.png", "restored")


@pytest.fixture
def jobs(tmp_path, photos):
    made = [Job(tmp_path / f"{number}.png", tmp_path / "out" / f"{number}.png") for number in range(6)]
    for job in made:
        write_image(job.source, photos[0])
    return made


@pytest.mark.parametrize("at_once", [1, 3, 10])
def test_a_job_that_fails_costs_itself(at_once, jobs):
    errors, done, shares = [], [], []

    def one(job, progress):
        progress(0.5)
        if job.source.name in ("1.png", "4.png"):
            raise ImageError(job.source.name)
        done.append(job.source.name)

    assert run_jobs(jobs, one, at_once, errors.append, shares.append) == 2
    assert sorted(done) == ["0.png", "2.png", "3.png", "5.png"]
    assert sorted(map(str, errors)) == ["1.png", "4.png"] and shares[-1] == 1
    assert len(shares) == 12 and shares[0] == pytest.approx(0.5 / 6) and shares == sorted(shares)


def test_as_many_jobs_run_at_once_as_wanted(jobs):
    lock, together, three = Lock(), [0, 0], Event()

    def one(job, progress):
        with lock:
            together[0] += 1
            together[1] = max(together)
            if together[0] == 3:
                three.set()
        assert three.wait(20)
        with lock:
            together[0] -= 1

    assert run_jobs(jobs, one, 3, lambda error: None, lambda share: None) == 0
    assert together == [0, 3]


def test_an_error_that_is_no_photos_fault_ends_all(jobs):
    def one(job, progress):
        raise KeyError(job.source.name)

    for at_once in (1, 2):
        with pytest.raises(KeyError):
            run_jobs(jobs, one, at_once, lambda error: None, lambda share: None)


SETTINGS = {"policy": "drqn", "strength": 1.0}


def test_the_journal_knows_what_is_done(jobs, tmp_path):
    journal = Journal(tmp_path / JOURNAL, SETTINGS, resume=False)
    for job in jobs[:4]:
        job.target.parent.mkdir(exist_ok=True)
        job.target.touch()
        journal.add(job, [{"step": 1}])
    jobs[1].target.unlink()  # the result is gone
    os.utime(jobs[2].source, ns=(0, 0))  # the photo was written again
    again = Journal(tmp_path / JOURNAL, SETTINGS, resume=True)
    assert [again.has(job) for job in jobs] == [True, False, False, True, False, False]
    assert not again.has(jobs[0]._replace(target=tmp_path / "other.png"))
    assert again.done[str(jobs[3].source)]["steps"] == [{"step": 1}]
    assert not Journal(tmp_path / JOURNAL, SETTINGS, resume=False).has(jobs[0])  # it begins anew


def test_a_line_that_was_cut_off_is_dropped(jobs, tmp_path):
    journal = Journal(tmp_path / JOURNAL, SETTINGS, resume=False)
    for job in jobs[:2]:
        job.target.parent.mkdir(exist_ok=True)
        job.target.touch()
        journal.add(job, [])
    content = (tmp_path / JOURNAL).read_text()
    (tmp_path / JOURNAL).write_text(content[:-20])
    again = Journal(tmp_path / JOURNAL, SETTINGS, resume=True)
    assert again.has(jobs[0]) and not again.has(jobs[1])
    again.add(jobs[1], [])
    assert Journal(tmp_path / JOURNAL, SETTINGS, resume=True).has(jobs[1])


@pytest.mark.parametrize(
    "content", ["", "\n", "no json\n", "[]\n", '{"settings": 3}\n', '{"settings": {}}\n{"source": 1}\n']
)
def test_what_is_no_journal_is_refused(content, tmp_path):
    (tmp_path / JOURNAL).write_text(content)
    with pytest.raises(FormatError, match="not a journal, or damaged; delete it to start afresh"):
        Journal(tmp_path / JOURNAL, {}, resume=True)


def test_other_settings_are_refused(tmp_path):
    Journal(tmp_path / JOURNAL, SETTINGS, resume=False)
    with pytest.raises(FormatError, match=r"was begun with strength=1\.0, not 0\.5"):
        Journal(tmp_path / JOURNAL, SETTINGS | {"strength": 0.5}, resume=True)


def program(*arguments):
    command = [sys.executable, "-c", "from restore_env.cli import main; main()", *map(str, arguments)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )


@pytest.mark.parametrize("at_once", [1, 2])
def test_a_killed_job_goes_on_where_it_was(at_once, tmp_path):
    photos, out = tmp_path / "photos", tmp_path / "out"
    photos.mkdir()
    rng = np.random.default_rng(0)
    for number in range(12):
        write_image(photos / f"{number:02}.png", rng.integers(0, 200, (300, 400, 3), dtype=np.uint8))
    save_toolbox(Toolbox([Tool.from_module("some", ThreeLayerCNN())], "one"), tmp_path / "tools")
    options = ("--policy", "fixed:some", "--toolbox", tmp_path / "tools", "-o", out, "--jobs", at_once)
    first = program("restore", photos, *options)
    while first.poll() is None and len(list(out.glob("[0-9]*.png"))) < 3:
        time.sleep(0.01)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    before = {path: path.stat().st_mtime_ns for path in out.glob("[0-9]*.png")}
    assert 3 <= len(before) <= 12
    second = program("restore", photos, *options, "--resume", "--steps", tmp_path / "steps.json")
    printed, errors = second.communicate()
    assert second.returncode == 0, errors
    journal = [json.loads(line) for line in (out / JOURNAL).read_text().splitlines()]
    assert len(journal) == 1 + 12 and len(list(out.glob("[0-9]*.png"))) == 12
    skipped = int(printed.split()[0]) if " photos are done already" in printed else 0
    assert len(before) - at_once <= skipped <= len(before)
    kept = [path for path, changed in before.items() if path.stat().st_mtime_ns == changed]
    assert len(kept) == skipped
    steps = json.loads((tmp_path / "steps.json").read_text())
    assert len(steps) == 12 and all(each[0]["action"] == "some" for each in steps.values())
    assert read_image(out / "11.png").shape == (300, 400, 3)

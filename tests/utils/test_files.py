"""Outputs are checked before all work, and files are written completely or not at all."""

import errno
import os
import shutil
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from restore_env import FormatError, ImageError, load_pairs, read_image
from restore_env.data.image_io import image_files
from restore_env.errors import DiskFullError
from restore_env.training.trainer import load_checkpoint
from restore_env.utils import files
from restore_env.utils.checksums import check_checksum
from restore_env.utils.files import BLOCK, check_outputs, replacing, take_space, write_text
from restore_env.utils.serialization import read_json, read_tensors


def test_file_appears_when_the_block_ends_well(tmp_path):
    target = tmp_path / "result.json"
    with replacing(target) as temporary:
        temporary.write_text("new")
        assert not target.exists()
    assert target.read_text() == "new"
    assert list(tmp_path.iterdir()) == [target]


def test_temporary_file_lies_beside_the_target_and_keeps_its_suffix(tmp_path):
    with replacing(tmp_path / "pairs.npz") as temporary:
        temporary.write_bytes(b"x")
        assert temporary.parent == tmp_path
        assert temporary.suffix == ".npz"
        assert temporary.name != "pairs.npz"


def test_replaces_an_old_file(tmp_path):
    target = tmp_path / "result.json"
    target.write_text("old")
    with replacing(str(target)) as temporary:
        temporary.write_text("new")
        assert target.read_text() == "old"
    assert target.read_text() == "new"


@pytest.mark.parametrize("already_there", [True, False])
def test_failure_leaves_everything_as_it_was(tmp_path, already_there):
    target = tmp_path / "result.json"
    if already_there:
        target.write_text("old")
    with pytest.raises(RuntimeError, match="half way"), replacing(target) as temporary:
        temporary.write_text("ne")
        raise RuntimeError("half way")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"] * already_there


def test_writer_that_wrote_nothing_is_an_error(tmp_path):
    target = tmp_path / "result.json"
    target.write_text("old")
    with pytest.raises(FileNotFoundError), replacing(target):
        pass
    assert target.read_text() == "old"


def test_missing_folder_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError), replacing(tmp_path / "nowhere" / "result.json") as temporary:
        temporary.write_text("new")
    assert not list(tmp_path.iterdir())


def refused(error, message, inputs=None, **outputs):
    """Whether outputs are refused with one line that has this message."""
    with pytest.raises(error, match=message) as found:
        check_outputs(inputs or {}, **outputs)
    return "\n" not in str(found.value)


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photo.png"
    path.write_bytes(b"photo")
    return path


@pytest.mark.parametrize("way", ["same", "dots", "link", "hard link"])
def test_an_output_that_is_an_input_is_refused(way, photo, tmp_path, monkeypatch):
    output = tmp_path / "other.png"
    if way == "link":
        output.symlink_to(photo)
    elif way == "hard link":
        os.link(photo, output)
    else:
        output = photo if way == "same" else tmp_path / "nowhere" / ".." / "photo.png"
    message = "--steps .*: would be written over an input, IN; choose another --steps"
    assert refused(ValueError, message, {"--toolbox": "rl-restore-12", "IN": [photo]}, files={"--steps": output})
    monkeypatch.chdir(tmp_path)
    assert refused(ValueError, message, {"IN": "photo.png"}, files={"--steps": output})
    assert photo.read_bytes() == b"photo"


def test_outputs_that_are_one_file_are_refused(tmp_path, monkeypatch):
    files = {"--output": tmp_path / "out.json", "--steps": tmp_path / "a" / ".." / "out.json"}
    assert refused(ValueError, "--steps .*: --output is written there too", files=files)
    twice = {"--output": [tmp_path / "0.png", tmp_path / "0.png"]}
    assert refused(ValueError, "more than one of the inputs would be written there", files=twice)
    upper = {"--output": tmp_path / "OUT.json", "--steps": tmp_path / "out.json"}
    check_outputs({}, files=upper if sys.platform == "linux" else {})
    monkeypatch.setattr(sys, "platform", "darwin")  # where disks ignore the case of names
    assert refused(ValueError, "--output is written there too", files=upper)


def test_an_output_folder_holds_no_input(photo, tmp_path):
    for folder in (tmp_path, tmp_path.parent):
        assert refused(
            ValueError,
            "--output .*: this folder holds an input, --photos",
            {"--photos": photo},
            folders={"--output": folder},
        )
    assert refused(ValueError, "over an input", {"--photos": tmp_path}, folders={"--output": tmp_path})
    check_outputs({"--photos": tmp_path}, folders={"--output": tmp_path / "new"})
    check_outputs({"--photos": photo}, work={"--checkpoints": tmp_path})
    assert refused(ValueError, "over an input", {"--photos": tmp_path}, work={"--checkpoints": tmp_path})


def test_files_of_a_folder_that_is_an_input_are_kept_but_for_results(photo, tmp_path):
    for name in ("toolbox.json", "photo.png", "results.json"):
        (tmp_path / name).touch()
    message = "--json .*: would be written over a file of an input, --toolbox; choose another --json"
    for name in ("toolbox.json", "photo.png"):
        assert refused(ValueError, message, {"--toolbox": tmp_path}, files={"--json": tmp_path / name})
    for name in ("results.json", "new.json", "new.png"):
        check_outputs({"--toolbox": tmp_path}, files={"--json": tmp_path / name})


def test_names_are_no_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "drqn").mkdir()
    check_outputs(
        {"--policy": "drqn", "--start": "", "--validation": None}, folders={"--output": "drqn"}, names=["drqn"]
    )
    assert refused(
        ValueError, "over an input", {"--policy": Path("drqn")}, folders={"--output": "drqn"}, names=["drqn"]
    )


def test_what_cannot_be_written_is_refused_and_nothing_is_left(photo, tmp_path, monkeypatch):
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    before = sorted(tmp_path.rglob("*"))
    for path, message in (
        (tmp_path / "folder", "--json .*: a folder, not a file"),
        (photo / "out.json", "the folder .*photo.png' cannot be written"),
        (tmp_path / "loop", "a link that leads to itself"),
        (tmp_path / "loop" / "out.json", "a link that leads to itself"),
    ):
        assert refused(OSError, message, files={"--json": path})
    assert refused(ValueError, "--output .*: cannot be made a folder", folders={"--output": photo})
    assert refused(OSError, "cannot be written", folders={"--output": photo / "deep" / "er"})
    check_outputs({}, files={"--json": tmp_path / "new" / "out.json"}, folders={"--output": tmp_path / "a" / "b"})
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name != "photo.png")  # root may write any file
    assert refused(OSError, "--json .*photo.png: is read-only", files={"--json": photo})
    monkeypatch.setattr(Path, "touch", lambda *_, **__: (_ for _ in ()).throw(PermissionError(13, "Permission denied")))
    assert refused(PermissionError, r"cannot be written \(Permission denied\)", files={"--json": tmp_path / "out.json"})
    assert sorted(tmp_path.rglob("*")) == before
    if Path("/dev/null").exists():
        check_outputs({}, files={"--json": "/dev/null"})


def fill(path, error):
    """A writer whose disk is full after some bytes."""
    path.write_bytes(b"half of it")
    raise error


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError("8000000 requested and 4194176 written"),  # NumPy
        RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 576 vs 534"),  # PyTorch
    ],
)
def test_a_full_disk_is_one_line_that_names_file_and_disk(error, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=1000))
    target = tmp_path / "training.pt"
    target.write_text("before")
    with pytest.raises(DiskFullError) as found, replacing(target) as temporary:
        fill(temporary, error)
    disk = next(str(folder) for folder in target.resolve().parents if os.path.ismount(folder))
    assert str(found.value) == f"{target}: No space left on the disk {disk} (0.0 MB free)"
    assert target.read_text() == "before" and list(tmp_path.iterdir()) == [target]


def test_other_errors_are_not_blamed_on_the_disk(tmp_path):
    for error in (RuntimeError("shapes differ"), OSError(errno.EIO, "Input/output error"), OSError("odd")):
        with pytest.raises(type(error), match=str(error.args[-1])), replacing(tmp_path / "out") as temporary:
            fill(temporary, error)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has this device")
def test_a_device_that_is_full_is_named(tmp_path):
    with pytest.raises(DiskFullError, match="/dev/full: No space left on the disk "):
        write_text("/dev/full", "much")


def holes(path):
    """Bytes of a file that have no space on the disk."""
    return path.stat().st_size - 512 * path.stat().st_blocks


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not tell")
@pytest.mark.parametrize("system", ["posix_fallocate", "without", "refuses"])
def test_the_space_of_a_file_is_taken_and_its_content_kept(system, tmp_path, monkeypatch):
    path = tmp_path / "image.npy"
    with path.open("wb") as file:
        file.write(b"header")
        file.truncate(3 * BLOCK + 5)
    assert holes(path) > 0
    if system == "without":
        monkeypatch.delattr(os, "posix_fallocate", raising=False)
    elif system == "refuses":
        monkeypatch.setattr(os, "posix_fallocate", lambda *_: fill(tmp_path / "x", OSError(errno.EOPNOTSUPP, "no")))
    take_space(path)
    assert holes(path) <= 0
    assert path.read_bytes() == b"header" + bytes(3 * BLOCK - 1)


def left_by_a_killed_run(path, age=1000):
    """A temporary file, as old as it says in seconds."""
    with replacing(path) as temporary:
        temporary.write_text("half of it")
        left = temporary.with_name(temporary.name[:-5] + "f" + temporary.name[-4:])
    path.unlink()
    left.write_text("half of it")
    os.utime(left, (time.time() - age,) * 2)
    files._left_in.cache_clear()  # as in a new process
    return left


def test_what_a_killed_run_left_is_removed_when_the_same_file_is_written(tmp_path):
    one, other = (left_by_a_killed_run(tmp_path / name) for name in ("a.png", "b.png"))
    young = left_by_a_killed_run(tmp_path / "a.png", age=-1000)  # a program that runs may be writing it
    hidden = tmp_path / ".a.png"
    hidden.touch()
    files._left_in.cache_clear()
    for _ in range(2):
        with replacing(tmp_path / "a.png") as temporary:
            temporary.write_text("whole")
        assert sorted(tmp_path.iterdir()) == sorted([tmp_path / "a.png", hidden, other, young])
    assert not one.exists()


def test_what_a_killed_run_left_is_no_photo(tmp_path):
    left = left_by_a_killed_run(tmp_path / "a.png")
    assert image_files(tmp_path) == []
    left.rename(tmp_path / ".a.png")
    assert [path.name for path in image_files(tmp_path)] == [".a.png"]


@pytest.mark.parametrize("name", ["n" * 251 + ".png", "é" * 125 + ".png", "n" * 100 + "." + "s" * 150])
def test_a_name_may_be_as_long_as_the_disk_takes_it(name, tmp_path):
    check_outputs({}, files={"--json": tmp_path / name})
    with pytest.raises(RuntimeError), replacing(tmp_path / name) as temporary:
        temporary.write_text("half of it")
        left = temporary.with_name(temporary.name.replace("..", "."))
        raise RuntimeError
    write_text(tmp_path / name, "whole")
    assert [path.name for path in tmp_path.iterdir()] == [name] and files.is_temporary(left)


@pytest.mark.parametrize("kind", ["files", "folders"])
def test_a_name_that_is_too_long_is_told_before_all_work(kind, tmp_path):
    for path in (tmp_path / ("n" * 256), tmp_path / ("n" * 256) / "out.json"):
        assert refused(OSError, "--output .* cannot be written \\(File name too long\\)", **{kind: {"--output": path}})
    assert not list(tmp_path.iterdir())


def test_an_error_without_a_name_gets_that_of_the_file(tmp_path):
    with (
        pytest.raises(OSError, match=r"out: cannot be written \(File too large\)"),
        replacing(tmp_path / "out") as path,
    ):
        fill(path, OSError(errno.EFBIG, "File too large"))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no such pipes")
def test_a_pipe_is_never_waited_for(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for read, error in (
        (read_image, ImageError),
        (load_pairs, ImageError),
        (read_json, FormatError),
        (read_tensors, FormatError),
        (load_checkpoint, FormatError),
        (check_checksum, OSError),
    ):
        with pytest.raises(error, match=r"pipe: .*a pipe or a device|pipe: not a pairs file|pipe: not a checkpoint"):
            read(pipe)

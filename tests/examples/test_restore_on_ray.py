"""`restore-env restore --ray`: what it does on Ray, if that is installed, as in `make examples`."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from examples_runner import ROOT, need
from own_networks import Mortal

from restore_env import Tool, Toolbox, save_toolbox
from restore_env.cli.folders import JOURNAL
from restore_env.data.image_io import read_image, write_image

PHOTOS = 12

PATIENCE = {
    "RAY_raylet_start_wait_time_s": "300",
    "RAY_worker_register_timeout_seconds": "300",
    "RAY_gcs_server_request_timeout_seconds": "300",
    "RAY_health_check_timeout_ms": "120000",
    "RAY_DISABLE_MEMORY_MONITOR": "1",
}
"""Settings of Ray for a machine whose cores are busy."""


@pytest.fixture
def folder(tmp_path) -> Path:
    """Photos, one file that is none, and a toolbox of one tool."""
    rng = np.random.default_rng(0)
    (tmp_path / "photos").mkdir()
    for number in range(PHOTOS):
        write_image(tmp_path / "photos" / f"{number:02}.png", rng.integers(0, 256, (70, 90, 3), dtype=np.uint8))
    (tmp_path / "photos" / "bad.jpg").write_bytes(b"no photo")
    save_toolbox(Toolbox([Tool.from_module("soften", Mortal())], "mortal"), tmp_path / "tools", trust=True)
    return tmp_path


def restore(folder: Path, output: str, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command line in a folder, whose paths are relative to it."""
    paths = os.pathsep.join((str(ROOT), str(ROOT / "tests")))
    words = ("photos", "-o", output, "--policy", "fixed:soften", "--toolbox", "tools", "--trust", *options)
    command = [sys.executable, "-c", "from restore_env.cli import main; main()", "restore", *words]
    known = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    variables = known | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"} | PATIENCE | environment
    return subprocess.run(command, env=variables, cwd=folder, capture_output=True, text=True, check=False, timeout=900)


@pytest.mark.slow
def test_a_killed_worker_costs_nothing(folder):
    need("ray")
    assert restore(folder, "here").returncode == 1  # because of the bad file
    (folder / "mortal").touch()
    found = restore(folder, "there", "--ray", "--jobs", "2", MORTAL=str(folder / "mortal"))
    assert not (folder / "mortal").exists()  # so a worker was killed
    assert found.returncode == 1, found.stderr
    messages = [line for line in found.stderr.splitlines() if "core_worker.cc" not in line]  # Ray's own, of the death
    assert len(messages) == 1 and "bad.jpg" in messages[0], found.stderr
    assert sum(line.startswith("photos/") for line in found.stdout.splitlines()) == PHOTOS  # Ray tells of the death too
    for number in range(PHOTOS):
        here, there = (folder / place / f"{number:02}.png" for place in ("here", "there"))
        np.testing.assert_array_equal(read_image(here), read_image(there))
        assert (read_image(here) != read_image(folder / "photos" / f"{number:02}.png")).any()
        assert here.read_bytes() == there.read_bytes()
    lines = [json.loads(line) for line in (folder / "there" / JOURNAL).read_text().splitlines()[1:]]
    assert sorted(line["source"] for line in lines) == [f"photos/{number:02}.png" for number in range(PHOTOS)]
    assert not list((folder / "there").glob(".*"))  # nothing half written is left

    (folder / "there" / "03.png").unlink()
    again = restore(folder, "there", "--ray", "--resume")
    assert again.stdout.splitlines()[0].startswith(f"{PHOTOS - 1} of {PHOTOS + 1} photos are done already")
    assert len(again.stdout.splitlines()) == 2 and (folder / "there" / "03.png").exists()


@pytest.mark.skipif("ray" in sys.modules, reason="Ray is imported here")
def test_without_ray_the_extra_is_named(folder):
    (folder / "ray.py").write_text("raise ImportError\n")  # stands before what is installed
    found = restore(folder, "out", "--ray")
    assert found.returncode == 2 and not (folder / "out").exists()
    assert found.stderr == "restore-env: Ray is not installed; restore-env[ray] installs it\n"

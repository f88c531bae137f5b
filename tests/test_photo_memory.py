"""A large photo takes bounded memory."""

import subprocess
import sys
import warnings

import numpy as np
import pytest

from restore_env import read_image, write_image

PROGRAM = """
import sys
from pathlib import Path
from restore_env.cli.main import commands
commands.main(sys.argv[1:], standalone_mode=False)
lines = Path("/proc/self/status").read_text().splitlines()
print(next(line.split()[1] for line in lines if line.startswith("VmHWM:")))
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the peak is read from /proc")
@pytest.mark.parametrize(
    ("megapixels", "most", "options"),
    [(12, 700, ["--max-steps", "1"]), (100, 1500, ["--policy", "stop", "--format", "tif"])],
)
def test_the_command_takes_no_more_megabytes(megapixels, most, options, tmp_path):
    height, width = (round((1e6 * megapixels * share) ** 0.5) for share in (3 / 4, 4 / 3))
    rows = np.random.default_rng(0).integers(60, 180, (64, width, 3), dtype=np.uint8)
    write_image(tmp_path / "photo.png", np.resize(rows, (height, width, 3)))
    words = ["restore", str(tmp_path / "photo.png"), "-o", str(tmp_path / "out"), *options]
    (tmp_path / "out").mkdir()
    found = subprocess.run([sys.executable, "-c", PROGRAM, *words], check=True, capture_output=True, text=True)
    assert int(found.stdout.split()[-1]) / 1000 < most
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of photos of more than 89 megapixels
        assert read_image(next((tmp_path / "out").iterdir())).shape == (height, width, 3)

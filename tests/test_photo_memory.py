"""A large photo takes bounded memory."""

import sys
import warnings

import numpy as np
import pytest

from benchmarks.common.profiling import apart
from benchmarks.photos import peak_of_command
from restore_env import read_image, write_image


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
    (tmp_path / "out").mkdir()
    words = [str(tmp_path / "photo.png"), "-o", str(tmp_path / "out"), *options]
    assert apart(peak_of_command, words) / 1e6 < most
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of photos of more than 89 megapixels
        assert read_image(next((tmp_path / "out").iterdir())).shape == (height, width, 3)

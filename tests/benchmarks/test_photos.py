"""The benchmark of photos: what it counts, and that memory is that of a process of its own."""

import numpy as np
import pytest

import benchmarks.photos as program
from benchmarks.photos import Args, describe, main, photo
from restore_env import Tool, Toolbox, save_toolbox
from restore_env.toolbox.networks import ThreeLayerCNN


@pytest.fixture
def args(tmp_path, monkeypatch):
    monkeypatch.setattr(program, "RATE_SECONDS", 0.01)
    tools = [Tool.from_module("one", ThreeLayerCNN(4, 3)), Tool.from_module("two", ThreeLayerCNN(8, 3))]
    save_toolbox(Toolbox(tools), tmp_path / "tools")
    policies, toolbox = ("fixed:one,two",), str(tmp_path / "tools")
    return Args(output=tmp_path / "photos.json", megapixels=(0.01,), policies=policies, toolbox=toolbox)


def test_photos_are_of_the_size_wanted_and_noisy():
    image = photo(0.12, seed=1)
    assert image.shape == (300, 400, 3) and image.dtype == np.uint8
    assert (photo(0.12, seed=1) == image).all() and (photo(0.12, seed=2) != image).mean() > 0.9


def test_each_pixel_counts_once_for_each_tool(args, tmp_path, monkeypatch):
    monkeypatch.setattr(program, "matrix_rate", lambda seconds: 1e9)
    timed = program.time_restoring("fixed:one,two", 0.01, args, tmp_path / "photo.png")
    costs = sum(tool.cost for tool in program.load_toolbox(args.toolbox))
    height, width = photo(0.01, 0).shape[:2]
    assert timed.work == pytest.approx(2 * costs * height * width) and timed.steps == 2 and timed.rate == 1e9
    assert 0 < timed.deciding < timed.seconds and (tmp_path / "photo.png").exists()


@pytest.mark.slow
def test_it_writes_its_table(args):
    results = main(args)
    row = results["rows"][0]
    assert row["megapixels"] == 0.01 and row["tools"] == 2 and 0 < row["share_of_bound"] < 2
    assert 1e8 < row["memory"] < 2e9  # torch alone takes more, and this process has nothing else
    assert "memory in MB" in str(describe(results)[-1])
    assert args.output.with_suffix(".md").exists()

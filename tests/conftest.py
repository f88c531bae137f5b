"""What the tests share: small photos, small toolboxes, and where the material beside the checkout lies."""

import os
import pickle
from copy import deepcopy
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from restore_env import Tool, Toolbox
from restore_env.data.image_io import write_image
from restore_env.toolbox.networks import EightLayerCNN, ThreeLayerCNN

SHARED = Path(__file__).parent.parent.parent / "shared"


def pytest_configure() -> None:
    if "PYTEST_XDIST_WORKER" in os.environ:  # one worker a core: threads beyond that would only wait for each other
        torch.set_num_threads(1)
        cv2.setNumThreads(1)


def smooth_photo(seed: int, height: int = 96, width: int = 128) -> np.ndarray:
    """A made-up photo with edges and texture, uint8 (h, w, 3)."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
    photo = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC).astype(np.int16)
    return np.clip(photo + rng.integers(-8, 9, photo.shape), 0, 255).astype(np.uint8)


@pytest.fixture
def photos() -> list[np.ndarray]:
    return [smooth_photo(seed) for seed in range(3)]


@pytest.fixture
def photo_folder(tmp_path, photos) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number, photo in enumerate(photos):
        write_image(folder / f"{number}.png", photo)
    return folder


@pytest.fixture(params=["deepcopy", "pickle"])
def duplicate(request):
    """Makes a copy of an object that shares nothing with it."""
    return deepcopy if request.param == "deepcopy" else lambda value: pickle.loads(pickle.dumps(value))


@pytest.fixture
def one_thread():
    """Sums are always split in the same way; the numbers of threads are put back."""
    before = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before[0])
    cv2.setNumThreads(before[1])


@pytest.fixture
def function_toolbox() -> Toolbox:
    """Three tools that work on each image alone, so that results do not depend on how images are batched."""
    return Toolbox(
        [
            Tool.from_function("median", lambda image: cv2.medianBlur(image, 3)),
            Tool.from_function("soften", lambda image: cv2.GaussianBlur(image, (5, 5), 1.0)),
            Tool.from_function("brighten", lambda image: cv2.add(image, np.full_like(image, 3))),
        ],
        "functions",
    )


@pytest.fixture
def network_toolbox() -> Toolbox:
    """One tool of each architecture, small, with random weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        small, large = ThreeLayerCNN(4, 3), EightLayerCNN(6, 4)
    return Toolbox([Tool.from_module("three", small), Tool.from_module("eight", large)], "networks")


@pytest.fixture
def official() -> Path:
    """The folder with what the authors of RL-Restore released."""
    folder = SHARED / "official"
    if not (folder / "golden.npz").is_file():
        pytest.skip("the authors' released weights (../shared/official) are not on this machine")
    return folder

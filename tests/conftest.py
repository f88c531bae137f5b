"""What the tests share: small photos, small toolboxes, and where the material beside the checkout lies."""

import logging
import os
import pickle
import sys
from collections.abc import Iterator
from copy import deepcopy
from importlib.util import find_spec
from pathlib import Path
from threading import Thread

import cv2
import numpy as np
import pytest
import torch
from hub_stand_in import TOKEN, HubStandIn

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
def shared_photos() -> Path:
    """The folder of photos that the project does not ship."""
    folder = SHARED / "data"
    if not (folder / "valid-sharp").is_dir():
        pytest.skip("the photos to measure on (../shared/data) are not on this machine")
    return folder


@pytest.fixture
def official() -> Path:
    """The folder with what the authors of RL-Restore released."""
    folder = SHARED / "official"
    if not (folder / "golden.npz").is_file():
        pytest.skip("the authors' released weights (../shared/official) are not on this machine")
    return folder


@pytest.fixture
def hub(monkeypatch, tmp_path_factory) -> Iterator[HubStandIn]:
    """A stand-in for the Hugging Face Hub, which huggingface_hub asks instead, as a user who is logged in."""
    if find_spec("huggingface_hub") is None:
        pytest.skip("huggingface_hub is not installed; the extra `hub` installs it")
    with HubStandIn() as server:
        Thread(target=server.serve_forever, daemon=True).start()
        settings = {"ENDPOINT": server.url, "HOME": tmp_path_factory.mktemp("hub"), "TOKEN": TOKEN}
        for name, value in (settings | {"HUB_DISABLE_XET": 1, "HUB_DISABLE_TELEMETRY": 1, "HUB_OFFLINE": 0}).items():
            monkeypatch.setenv(f"HF_{name}", str(value))
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        forget_hub(monkeypatch)  # it reads the environment when it is imported
        yield server
        forget_hub(monkeypatch)
        server.shutdown()


def forget_hub(monkeypatch) -> None:
    """Have huggingface_hub imported again."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "huggingface_hub"]:
        monkeypatch.delitem(sys.modules, name)
    logging.getLogger("huggingface_hub").handlers.clear()

"""The classical filters: each keeps the shape and improves what it is meant for."""

import pickle

import cv2
import numpy as np
import pytest
import skimage.data
import torch

from restore_env import load_toolbox
from restore_env.data.distortions import DefocusBlur, JPEGCompression, MotionBlur, SaltAndPepperNoise
from restore_env.restoration.metrics import psnr
from restore_env.utils.tensors import images_to_tensor

DENOISERS = ["median-3", "bilateral", "nl-means-mild", "nl-means-strong", "tv-mild", "tv-strong"]
SHARPENERS = ["unsharp-mild", "unsharp-strong", "deblur"]
OTHERS = {
    "despeckle": SaltAndPepperNoise(0.1, 0.1),
    "bilateral-mild": JPEGCompression(40, 40),
    "defocus-mild": DefocusBlur(2, 2.5),
    "defocus-strong": DefocusBlur(4, 5),
    **{f"motion-{angle}": MotionBlur(7, 8, (angle - 10, angle + 10)) for angle in (0, 45, 90, 135)},
}
NAMES = [*DENOISERS, *SHARPENERS, *OTHERS]


@pytest.fixture(scope="module")
def toolbox():
    return load_toolbox("classical")


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    return skimage.data.chelsea()[60:180, 100:240]


def gain(toolbox, name: str, distorted: np.ndarray, photo: np.ndarray) -> float:
    """By how many dB a tool improves an image."""
    before, reference = images_to_tensor([distorted]), images_to_tensor([photo])
    return float(psnr(toolbox.apply(before, [toolbox.index(name)]), reference) - psnr(before, reference))


def noisy(photo: np.ndarray, sigma: float) -> np.ndarray:
    noise = np.random.default_rng(0).normal(0, sigma, photo.shape)
    return np.clip(np.rint(photo + noise), 0, 255).astype(np.uint8)


def test_the_filters_are_these(toolbox):
    assert sorted(toolbox.names) == sorted(NAMES)
    assert toolbox.name == "classical"


def test_the_toolbox_can_be_pickled(toolbox, photo):
    images = images_to_tensor([photo[:40, :40]] * len(toolbox))
    copied = pickle.loads(pickle.dumps(toolbox))
    assert torch.equal(copied.apply(images, range(len(toolbox))), toolbox.apply(images, range(len(toolbox))))


@pytest.mark.parametrize("name", DENOISERS)
def test_denoisers_improve_a_noisy_photo(toolbox, photo, name):
    assert gain(toolbox, name, noisy(photo, 20), photo) > 1.5


@pytest.mark.parametrize("name", SHARPENERS)
def test_sharpeners_improve_a_blurred_photo(toolbox, photo, name):
    blurred = cv2.GaussianBlur(photo, (0, 0), 1.5, borderType=cv2.BORDER_REPLICATE)
    assert gain(toolbox, name, blurred, photo) > 0.3


@pytest.mark.parametrize("name", SHARPENERS)
def test_sharpeners_harm_a_noisy_photo(toolbox, photo, name):
    assert gain(toolbox, name, noisy(photo, 10), photo) < -1


@pytest.mark.parametrize("name", OTHERS)
def test_filters_for_other_damage_improve_it_most(toolbox, photo, name):
    distorted, _ = OTHERS[name](photo, np.random.default_rng(0))
    gains = {other: gain(toolbox, other, distorted, photo) for other in OTHERS}
    assert gains[name] == max(gains.values()) > 0.1


def test_despeckle_changes_no_pixel_that_is_neither_black_nor_white(toolbox, photo):
    clean = np.clip(photo, 1, 254)
    damaged, _ = SaltAndPepperNoise(0.05, 0.05)(clean, np.random.default_rng(0))
    result = toolbox.apply(images_to_tensor([damaged]), [toolbox.index("despeckle")])
    repaired = np.rint(result[0].permute(1, 2, 0).numpy() * 255)
    changed = (damaged != clean).any(2)
    np.testing.assert_array_equal(repaired[~changed], clean[~changed])
    assert np.abs(repaired[changed] - clean[changed]).mean() < 10


def test_a_pure_red_area_is_not_salt(toolbox):
    image = np.zeros((9, 9, 3), np.uint8)
    image[4, 4] = (255, 0, 0)
    result = toolbox.apply(images_to_tensor([image]), [toolbox.index("despeckle")])
    assert result[0, :, 4, 4].tolist() == [1, 0, 0]


def test_strong_variants_do_more(toolbox, photo):
    assert gain(toolbox, "nl-means-strong", noisy(photo, 30), photo) > gain(
        toolbox, "nl-means-mild", noisy(photo, 30), photo
    )
    assert gain(toolbox, "tv-strong", noisy(photo, 40), photo) > gain(toolbox, "tv-mild", noisy(photo, 40), photo)


@pytest.mark.parametrize("size", [(11, 11), (63, 63), (40, 71)])
@pytest.mark.parametrize("name", NAMES)
def test_shape_is_kept_and_plain_areas_stay_plain(toolbox, name, size):
    plain = torch.full((2, 3, *size), 0.5)
    result = toolbox.apply(plain, [toolbox.index(name)] * 2)
    assert result.shape == plain.shape
    torch.testing.assert_close(result, plain, rtol=0, atol=3 / 255)  # bytes, and one level for the colour conversion


@pytest.mark.parametrize("name", NAMES)
def test_black_and_white_stay_within_range(toolbox, name):
    image = torch.zeros(1, 3, 20, 20)
    image[..., 10:] = 1
    result = toolbox.apply(image, [toolbox.index(name)])
    assert torch.isfinite(result).all()
    assert result.mean().item() == pytest.approx(0.5, abs=0.1)

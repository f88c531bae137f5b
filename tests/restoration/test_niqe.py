"""NIQE: natural images are near, distorted ones far."""

import numpy as np
import pytest
import torch

from restore_env import GaussianBlur, GaussianNoise, JPEGCompression
from restore_env.data.photos import embedded_photos
from restore_env.restoration.niqe import (
    BLOCK,
    FEATURES,
    NaturalImages,
    block_features,
    block_sharpness,
    fit_natural_images,
    niqe,
    save_natural_images,
    shipped_model,
)
from restore_env.utils.serialization import read_tensors
from restore_env.utils.tensors import images_to_tensor


@pytest.fixture(scope="module")
def photos():
    """Four photos of 192x192, uint8."""
    return [photo[40:232, 40:232] for photo in embedded_photos()[:3]] + [embedded_photos()[4][:192, :192]]


@pytest.mark.parametrize(
    ("kind", "levels"), [(GaussianBlur, (1, 2)), (GaussianNoise, (10, 30)), (JPEGCompression, (20, 8))]
)
def test_niqe_rises_with_the_level(kind, levels, photos):
    rng = np.random.default_rng(0)
    distorted = [[kind(level, level)(photo, rng)[0] for photo in photos] for level in levels]
    means = [float(niqe(images_to_tensor(images)).mean()) for images in (photos, *distorted)]
    assert means == sorted(means) and means[-1] > means[0] + 1


def test_an_image_by_itself_has_the_value_that_it_has_in_a_batch(photos):
    images = images_to_tensor(photos)
    alone = torch.cat([niqe(image.unsqueeze(0)) for image in images])
    torch.testing.assert_close(niqe(images), alone)
    assert niqe(images).dtype == torch.float64


def test_values_out_of_range_are_clipped_and_the_rest_of_a_block_is_left_out(photos):
    images = images_to_tensor(photos)
    larger = torch.nn.functional.pad(images, (0, 50, 0, 95))
    torch.testing.assert_close(niqe(larger), niqe(images))
    stretched = 1.5 * images - 0.2
    torch.testing.assert_close(niqe(stretched), niqe(stretched.clamp(0, 1)))


def test_natural_images_with_given_features_have_a_known_distance(photos):
    """With the unit matrix as covariance, one block's NIQE is its distance from the mean, times the root of two."""
    block = images_to_tensor(photos)[:1, :, :BLOCK, :BLOCK]
    features = block_features(block)[0, 0]
    model = NaturalImages(features + 2.0, torch.eye(FEATURES, dtype=torch.float64))
    assert niqe(block, model).item() == pytest.approx(2 * (2 * FEATURES) ** 0.5)
    assert niqe(block, model._replace(mean=features)).item() == 0


def test_the_covariance_of_several_blocks_counts(photos):
    image = images_to_tensor(photos)[:1]
    features = block_features(image)[0]
    assert features.shape == (4, FEATURES)
    own = features.T.cov()
    model = NaturalImages(features.mean(0) + 1, torch.eye(FEATURES, dtype=torch.float64))
    inverse = torch.linalg.inv((own + model.covariance) / 2)
    assert niqe(image, model).item() == pytest.approx(inverse.sum().sqrt().item())


def test_features_of_white_noise_are_those_of_a_gaussian():
    """Normalized white noise keeps the shape of a Gaussian, 2, and the products' distribution is symmetric."""
    noise = 0.5 + 0.1 * torch.randn(1, 1, 4 * BLOCK, 4 * BLOCK, generator=torch.Generator().manual_seed(0))
    shape, _, *rest = block_features(noise.expand(-1, 3, -1, -1))[0].mean(0).tolist()
    assert shape == pytest.approx(2.9, abs=0.3)  # above 2: each pixel is part of its own local deviation
    mean = rest[1]  # of the products of horizontal neighbours, which have a little of their mean in common
    assert -0.2 < mean < 0


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_flat_images_have_a_finite_value(value):
    assert torch.isfinite(niqe(torch.full((2, 3, BLOCK, BLOCK), value))).all()


def test_small_images_are_refused():
    with pytest.raises(ValueError, match="images of 120x95 pixels; NIQE needs at least 96x96"):
        niqe(torch.zeros(1, 3, 95, 120))


def test_sharpness_is_that_of_each_block_in_the_order_of_the_features(photos):
    flat, textured = torch.full((1, 3, BLOCK, BLOCK), 0.5), images_to_tensor(photos)[:1, :, :BLOCK, :BLOCK]
    image = torch.cat([torch.cat([flat, textured], 3), torch.cat([flat, flat], 3)], 2)
    sharpness = block_sharpness(image)[0]
    assert sharpness.argmax() == 1 and sharpness[2] == sharpness.min() < 0.02  # it touches the first at a corner


def test_a_fitted_model_is_written_and_read(tmp_path):
    model = fit_natural_images(torch.randn(100, FEATURES, dtype=torch.float64))
    save_natural_images(tmp_path / "model.safetensors", model)
    read = NaturalImages(**read_tensors(tmp_path / "model.safetensors"))
    assert torch.equal(read.mean, model.mean) and torch.equal(read.covariance, model.covariance)


def test_the_shipped_model_is_a_covariance():
    model = shipped_model()
    assert model.mean.shape == (FEATURES,) and model.mean.dtype == torch.float64
    assert torch.linalg.eigvalsh(model.covariance).min() > 0

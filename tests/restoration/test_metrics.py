"""PSNR and SSIM against scikit-image, and against numbers worked out by hand."""

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from restore_env.restoration.metrics import mse, psnr, ssim
from restore_env.utils.tensors import images_to_tensor, tensor_to_images


@pytest.fixture
def batch(photos):
    """Images with ever more noise, and what they were: two float32 (3, 3, h, w) tensors."""
    generator = np.random.default_rng(0)
    noisy = [
        np.clip(photo + generator.normal(0, sigma, photo.shape), 0, 255).astype(np.uint8)
        for photo, sigma in zip(photos, (2, 10, 50), strict=True)
    ]
    return images_to_tensor(noisy), images_to_tensor(photos)


def as_float64(images):
    return images.permute(0, 2, 3, 1).double().numpy()


class TestPSNR:
    def test_equals_scikit_image(self, batch):
        images, reference = batch
        values = psnr(images, reference)
        expected = [
            peak_signal_noise_ratio(true, test, data_range=1)
            for test, true in zip(as_float64(images), as_float64(reference), strict=True)
        ]
        assert values.shape == (3,) and values.dtype == torch.float64
        # Squares are averaged in float32, to about 1e-7, and 1e-10 is added to a mean of at least 6e-5.
        np.testing.assert_allclose(values, expected, rtol=0, atol=2e-5)

    def test_by_hand(self):
        reference = torch.full((3, 3, 4, 5), 0.5)
        images = reference + torch.tensor([0.1, 0.01, 0.5]).view(3, 1, 1, 1)
        np.testing.assert_allclose(mse(images, reference), [1e-2, 1e-4, 0.25], rtol=1e-5)
        np.testing.assert_allclose(psnr(images, reference), [20, 40, 6.0206], rtol=0, atol=1e-4)

    def test_identical_images_have_100_db(self, batch):
        images, _ = batch
        np.testing.assert_allclose(psnr(images, images.clone()), 100, rtol=0, atol=1e-9)

    def test_does_not_depend_on_the_rest_of_the_batch(self, batch):
        images, reference = batch
        alone = [psnr(images[i : i + 1], reference[i : i + 1])[0].item() for i in range(3)]
        np.testing.assert_allclose(psnr(images, reference), alone, rtol=0, atol=1e-6)

    def test_is_symmetric_and_falls_with_noise(self, batch):
        images, reference = batch
        values = psnr(images, reference)
        assert torch.equal(values, psnr(reference, images))
        assert values[0] > values[1] > values[2]


class TestSSIM:
    def test_equals_scikit_image(self, batch):
        images, reference = batch
        values = ssim(images, reference)
        options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
        expected = [
            structural_similarity(true, test, data_range=1, channel_axis=2, **options)
            for test, true in zip(as_float64(images), as_float64(reference), strict=True)
        ]
        assert values.shape == (3,) and values.dtype == torch.float64
        # Variances are differences of float32 numbers near 1, so right to 1e-7, beside the constant of 9e-4.
        np.testing.assert_allclose(values, expected, rtol=0, atol=5e-6)

    def test_identical_images_have_one(self, batch):
        images, _ = batch
        np.testing.assert_allclose(ssim(images, images.clone()), 1, rtol=0, atol=1e-6)

    def test_of_plain_areas_by_hand(self):
        """Without structure only the luminance counts: (2ab + 1e-4) / (a^2 + b^2 + 1e-4)."""
        images, reference = torch.full((1, 3, 16, 16), 0.2), torch.full((1, 3, 16, 16), 0.6)
        np.testing.assert_allclose(ssim(images, reference), (0.24 + 1e-4) / (0.40 + 1e-4), rtol=0, atol=1e-6)

    def test_an_inverted_image_is_worse_than_a_plain_one(self, batch):
        _, reference = batch
        plain = reference.mean((2, 3), keepdim=True).expand_as(reference)
        assert torch.all(ssim(1 - reference, reference) < ssim(plain, reference))


def test_images_survive_the_way_to_tensors_and_back(photos):
    tensor = images_to_tensor(photos)
    assert tensor.shape == (3, 3, *photos[0].shape[:2]) and tensor.dtype == torch.float32
    np.testing.assert_array_equal(tensor_to_images(tensor).numpy(), np.stack(photos))


def test_tensors_are_clipped_and_rounded():
    values = torch.tensor([-0.3, 0.4 / 255, 0.6 / 255, 1.7])
    images = tensor_to_images(values.view(1, 1, 1, 4).expand(1, 3, 1, 4))
    assert images[0, 0, :, 1].tolist() == [0, 0, 1, 255]

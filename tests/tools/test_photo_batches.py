import cv2
import numpy as np
import pytest
import torch

from restore_env.distortions import GaussianBlur, GaussianNoise, JPEGCompression, MixedDistortion, to_float
from restore_env.pairs import PatchSampler, draw_pairs
from tools.photo_batches import PhotoBatches, blurred, can_be_made_on_a_device
from tools.training_data import pairs_to_tensors


def batches(photos, *chain, crop=24, batch_size=32, seed=0):
    return PhotoBatches(photos, MixedDistortion(chain), crop, batch_size, seed, "cpu")


def test_a_batch_is_distorted_and_clean_patches(photos):
    distorted, reference = batches(photos, GaussianNoise(10, 20)).batch(0)
    for images in (distorted, reference):
        assert images.shape == (32, 3, 24, 24)
        assert images.is_contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(images * 255, (images * 255).round(), atol=1e-3, rtol=0)
        assert 0 <= images.min() < images.max() <= 1


def test_a_batch_depends_on_the_seed_and_its_number_alone(photos):
    made = batches(photos, GaussianBlur(1, 2), GaussianNoise(5, 10))
    seventh = made.batch(7)
    torch.manual_seed(1)
    again = batches(photos, GaussianBlur(1, 2), GaussianNoise(5, 10)).batch(7)
    assert all(torch.equal(one, other) for one, other in zip(seventh, again, strict=True))
    assert not torch.equal(made.batch(8)[1], seventh[1])
    assert not torch.equal(batches(photos, GaussianBlur(1, 2), seed=1).batch(7)[1], seventh[1])


def test_reference_patches_are_pieces_of_the_photos_mirrored_and_transposed(photos):
    photo = photos[0]
    _, reference = batches([photo], GaussianNoise(5, 5), batch_size=64).batch(0)
    turned = [photo[::rows, ::columns] for rows in (1, -1) for columns in (1, -1)]
    turned += [image.transpose(1, 0, 2) for image in turned]
    found = set()
    for patch in (reference * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy():
        places = [
            cv2.minMaxLoc(cv2.matchTemplate(np.ascontiguousarray(image), patch, cv2.TM_SQDIFF)) for image in turned
        ]
        best = int(np.argmin([place[0] for place in places]))
        column, row = places[best][2]
        np.testing.assert_array_equal(turned[best][row : row + 24, column : column + 24], patch)
        found.add(best)
    assert found == set(range(8))


@pytest.mark.parametrize("sigma", [0.01, 0.7, 3.0, 5.0])
def test_blur_equals_opencv(photos, sigma):
    images = torch.from_numpy(np.stack([to_float(photo) for photo in photos])).permute(0, 3, 1, 2)
    result = blurred(images, torch.full((3,), sigma)).permute(0, 2, 3, 1).numpy()
    inner = slice(10, -10)
    for photo, mine in zip(photos, result, strict=True):
        expected = GaussianBlur(sigma, sigma).apply(to_float(photo), sigma, np.random.default_rng(0))
        np.testing.assert_allclose(mine[inner, inner], expected[inner, inner], atol=2e-6)


def test_beyond_the_photo_its_edge_is_repeated(photos):
    """Patches as large as the photo: every one is the whole photo, blurred as `GaussianBlur` does it."""
    square = photos[0][:96, :96].copy()
    distorted, reference = batches([square], GaussianBlur(2, 2), crop=96, batch_size=8).batch(0)
    expected = to_float(GaussianBlur(2, 2)(square, np.random.default_rng(0))[0])
    turned = [expected[::rows, ::columns] for rows in (1, -1) for columns in (1, -1)]
    turned += [image.transpose(1, 0, 2) for image in turned]
    for patch in distorted.permute(0, 2, 3, 1).numpy():
        # one level, where the last bits of the two sums round differently
        assert min(np.abs(image - patch).max() for image in turned) <= 1.01 / 255
    assert reference.shape == (8, 3, 96, 96)


@pytest.mark.parametrize(
    "chain", [[GaussianNoise(20, 30)], [GaussianBlur(1, 2)], [GaussianBlur(0, 1), GaussianNoise(5, 9)]]
)
def test_distorts_as_strongly_as_the_sampler(photos, chain):
    errors = []
    drawn = draw_pairs(PatchSampler(photos, MixedDistortion(chain), 24, augment=True), 256, 0)
    for distorted, reference in (batches(photos, *chain, batch_size=256).batch(0), pairs_to_tensors(drawn)):
        errors.append(float((distorted - reference).square().mean().sqrt()))
    assert errors[0] == pytest.approx(errors[1], rel=0.1)


def test_only_blur_and_noise_can_be_made_there(photos):
    assert can_be_made_on_a_device(MixedDistortion([GaussianBlur(), GaussianNoise()]))
    assert not can_be_made_on_a_device(MixedDistortion([GaussianNoise(), JPEGCompression()]))
    with pytest.raises(ValueError, match="is not a chain of Gaussian blur and Gaussian noise"):
        batches(photos, JPEGCompression())


def test_a_photo_that_is_too_small_is_named(photos):
    with pytest.raises(ValueError, match="photo 1 is 20x30 pixels, less than 24x24"):
        batches([photos[0], photos[1][:30, :20]], GaussianNoise())

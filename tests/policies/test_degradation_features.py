"""What the statistics of differences tell, and what they leave out."""

import cv2
import numpy as np
import pytest
import torch
from skimage.data import astronaut

from restore_env.data.distortions import GaussianBlur, GaussianNoise, JPEGCompression
from restore_env.policies.degradation_features import CLIPS, GRID, N_FEATURES, SMALLEST_SIDE, degradation_features

SIDE = 63


def tensor(image) -> torch.Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float() / 255


def naive(image: np.ndarray) -> list[float]:
    """The same numbers, one pixel after the other; image is float (h, w, 3)."""
    planes = [image.mean(2), image[..., 0] - image[..., 1], image[..., 2] - image[..., 1]]
    found = {}
    for turn in (False, True):
        for number, plane in enumerate(planes):
            turned = plane.T if turn else plane
            height, width = turned.shape
            for order in (1, 2):
                for clip in CLIPS:
                    sums, counts = np.zeros(GRID), np.zeros(GRID)
                    for column in range(width - order):
                        for row in range(height):
                            pixels = turned[row, column : column + 3]
                            difference = pixels[1] - pixels[0] if order == 1 else pixels[2] - 2 * pixels[1] + pixels[0]
                            sums[column % GRID] += min(abs(difference), clip) / clip
                            counts[column % GRID] += height if row == 0 else 0
                    found[turn, number, order, clip] = np.sort(sums / np.maximum(counts, 1))
    values = []
    for number in range(3):
        for order in (1, 2):
            for clip in CLIPS:
                offsets = (found[False, number, order, clip] + found[True, number, order, clip]) / 2
                values += [np.log(offsets.mean() + 0.01) + 2, *(4 * (offsets / (offsets.mean() + 0.01) - 1))]
    return values


@pytest.mark.parametrize("shape", [(20, 24), (5, 4), (SMALLEST_SIDE, SMALLEST_SIDE)])
def test_the_fast_statistics_are_the_naive_ones(shape):
    image = np.random.default_rng(0).random((*shape, 3), np.float32)
    found = degradation_features(torch.from_numpy(image).permute(2, 0, 1)[None])
    assert found.shape == (1, N_FEATURES)
    by_statistic = found.view(3, 2 * len(CLIPS), 1 + GRID)
    expected = torch.tensor(naive(image)).view(3, 2 * len(CLIPS), 1 + GRID)
    torch.testing.assert_close(by_statistic.double(), expected.double(), atol=1e-4, rtol=1e-4)


def test_a_patch_of_a_batch_has_its_own_statistics():
    images = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    one_by_one = torch.cat([degradation_features(image[None]) for image in images])
    torch.testing.assert_close(degradation_features(images), one_by_one)


def test_where_the_grid_begins_and_mirroring_hardly_matter():
    rng = np.random.default_rng(0)
    photo, _ = JPEGCompression(15, 15)(astronaut(), rng)
    here, there = (degradation_features(tensor(photo[row : row + 200, row : row + 200])) for row in (96, 101))
    clean = degradation_features(tensor(astronaut()[96:296, 96:296]))
    assert (here - there).abs().mean() < 0.2 * (here - clean).abs().mean()
    image = tensor(photo[:SIDE, :SIDE])
    for other in (image.transpose(2, 3), image.flip(3)):
        assert (degradation_features(other) - degradation_features(image)).abs().mean() < 0.02


def test_a_linear_reading_tells_blur_noise_and_jpeg_apart():
    """Strengths of single distortions, read from other places of the photo than those fitted on."""
    rng = np.random.default_rng(0)
    kinds = (GaussianBlur(), GaussianNoise(), JPEGCompression())
    rows, answers = [], []
    for number in range(240):
        kind = number % 3
        model = kinds[kind]
        share = rng.random()
        value = model.edges[0] + share * (model.edges[-1] - model.edges[0])
        top, left = rng.integers(0, 512 - 120, 2)
        window = np.ascontiguousarray(astronaut()[top : top + 120, left : left + 120])
        distorted, _ = type(model)(value, value)(window, rng)
        row, column = rng.integers(20, 36, 2)
        rows.append(degradation_features(tensor(distorted[row : row + SIDE, column : column + SIDE]))[0].numpy())
        answers.append([share if kind == index else 0.0 for index in range(3)])
    known, asked = np.array(rows[:180]), np.array(rows[180:])
    truth, found = np.array(answers[180:]), np.zeros((60, 3))
    ridge = known.T @ known + 3.0 * np.eye(N_FEATURES)
    found = asked @ np.linalg.solve(ridge, known.T @ np.array(answers[:180]))
    guess = np.abs(truth - np.median(answers[:180], axis=0)).mean(0)
    assert (np.abs(found - truth).mean(0) < 0.75 * guess).all(), (np.abs(found - truth).mean(0), guess)


def test_blur_takes_differences_away_and_noise_adds_them():
    image = astronaut()[:SIDE, :SIDE]
    blurred = cv2.GaussianBlur(image, (0, 0), 2)
    noisy = np.clip(image + np.random.default_rng(0).normal(0, 15, image.shape), 0, 255).astype(np.uint8)
    means = [degradation_features(tensor(each)).view(-1, 1 + GRID)[: len(CLIPS), 0] for each in (blurred, image, noisy)]
    assert (means[0] < means[1]).all() and (means[1][:-2] < means[2][:-2]).all()

from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch

from restore_env import ImageError
from restore_env.data.photos import FolderPhotos
from restore_env.data.sampling import PatchSampler
from restore_env.data.sources import draw_pairs
from restore_env.utils.tensors import augment_dihedral
from tools.single import pool as training_data
from tools.single.pool import BLOCK, PoolBatches, draw_pool, load_pool


@pytest.fixture
def source(photos):
    return PatchSampler(photos, patch_size=24, augment=True)


@pytest.fixture
def pool(source):
    return draw_pairs(source, 12, 0)


def equal(one, other):
    return all(torch.equal(left, right) for left, right in zip(one, other, strict=True))


def bytes_of(image):
    """What a float tensor (3, h, w) was as uint8 (h, w, 3)."""
    return (image * 255).round().byte().permute(1, 2, 0).contiguous().numpy().tobytes()


def test_a_batch_is_pairs_of_the_pool(pool):
    distorted, reference = PoolBatches(pool, 5, seed=0).batch(3)
    for images in (distorted, reference):
        assert images.shape == (5, 3, 24, 24)
        assert images.dtype == torch.float32
        assert images.is_contiguous(memory_format=torch.channels_last)
        assert 0 <= images.min() < images.max() <= 1
    known = {pair.distorted.tobytes(): pair.reference.tobytes() for pair in pool}
    for images in zip(distorted, reference, strict=True):
        turned = [[bytes_of(augment_dihedral(image, number, (1, 2))) for image in images] for number in range(8)]
        assert any(known.get(one) == other for one, other in turned)


def test_patches_are_cut_from_the_pool_alike(pool):
    def views(image):
        for row, column, symmetry in product(range(5), range(5), range(8)):
            yield augment_dihedral(image[row : row + 20, column : column + 20], symmetry).tobytes()

    known = dict(zip(views(pool[0].distorted), zip(views(pool[0].reference), range(200), strict=True), strict=True))
    batches, places = PoolBatches(pool.first(1), 1, seed=0, crop=20), set()
    for number in range(200):
        distorted, reference = (bytes_of(images[0]) for images in batches.batch(number))
        expected, view = known[distorted]
        assert reference == expected
        places.add(view // 8)
    assert len(places) == 25


def test_patches_come_in_all_eight_positions(pool):
    batches = PoolBatches(pool.first(1), 1, seed=0)
    assert len({bytes_of(batches.batch(number)[0][0]) for number in range(60)}) == 8


def test_a_batch_depends_on_the_seed_and_its_number_alone(pool):
    batches = PoolBatches(pool, 3, seed=1)
    numbers = [0, BLOCK - 1, BLOCK, 5, 3 * BLOCK + 7, 0]
    made = {number: batches.batch(number) for number in numbers}
    np.random.seed(5)
    for number in reversed(numbers):
        assert equal(PoolBatches(pool, 3, seed=1).batch(number), made[number])
    assert len({images[0].numpy().tobytes() for images in made.values()}) == len(made)
    assert not equal(PoolBatches(pool, 3, seed=2).batch(5), made[5])


def test_every_pair_of_the_pool_comes(pool):
    batches = PoolBatches(pool, 4, seed=0)
    seen = {image.mean().item() for number in range(40) for image in batches.batch(number)[0].double()}
    assert len({round(mean, 9) for mean in seen}) == len(pool)


def test_a_pool_is_drawn_once(source, tmp_path, monkeypatch):
    path = draw_pool(tmp_path / "pools", "noise-1", source, "mine", 6, seed=3, jobs=1)
    pool = load_pool(path)
    np.testing.assert_array_equal(pool.distorted, draw_pairs(source, 6, 3).distorted)
    monkeypatch.setattr(training_data, "draw_in_parallel", None)  # drawing would fail
    assert draw_pool(tmp_path / "pools", "noise-1", source, "mine", 6, seed=3, jobs=1) == path


def test_another_pool_is_drawn_anew(source, tmp_path):
    for name, identity, n, seed in (
        ("a", "x", 2, 0),
        ("a", "y", 2, 0),
        ("a", "x", 3, 0),
        ("a", "x", 2, 1),
        ("b", "x", 2, 0),
    ):
        draw_pool(tmp_path, name, source, identity, n, seed, 1)
    assert len(list(tmp_path.glob("*.npz"))) == 5


def test_a_pool_of_more_processes_is_the_same_pool(source, tmp_path, monkeypatch):
    asked = []

    def draw(source, n, seed, jobs, what):
        asked.append(jobs)
        return draw_pairs(source, n, seed)

    monkeypatch.setattr(training_data, "draw_in_parallel", draw)
    for jobs in (3, 1):
        draw_pool(tmp_path, "noise-1", source, "mine", 2, 0, jobs)
    assert asked == [3]
    assert len(list(tmp_path.iterdir())) == 1


def test_a_pool_that_cannot_be_drawn_leaves_nothing(tmp_path):
    class Broken:
        def sample(self, rng):
            raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        draw_pool(tmp_path / "pools", "noise-1", Broken(), "mine", 2, 0, 1)
    assert not (tmp_path / "pools").exists()


@pytest.mark.parametrize("change", [Path.unlink, lambda photo: photo.write_bytes(photo.read_bytes() + b"more")])
def test_a_pool_drawn_while_photos_change_is_not_kept(change, photo_folder, tmp_path, monkeypatch):
    source = PatchSampler(FolderPhotos(photo_folder), patch_size=24)

    def draw(source, n, seed, jobs, what):
        pairs = draw_pairs(source, n, seed)
        change(photo_folder / "1.png")
        return pairs

    monkeypatch.setattr(training_data, "draw_in_parallel", draw)
    with pytest.raises(ImageError, match=r"1\.png: changed or vanished while patches were drawn"):
        draw_pool(tmp_path / "pools", "noise-1", source, "mine", 2, 0, 1)
    assert not (tmp_path / "pools").exists()


def test_a_damaged_pool_is_named(source, tmp_path):
    path = draw_pool(tmp_path, "noise-1", source, "mine", 2, 0, 1)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(
        ImageError, match=r"noise-1-\w+\.npz: not a pairs file, or damaged; .*; delete it, and it is drawn"
    ):
        load_pool(path)

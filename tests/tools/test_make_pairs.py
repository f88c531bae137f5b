from pathlib import Path

import numpy as np
import pytest

from restore_env import load_pairs
from restore_env.data.photos import FolderPhotos
from restore_env.training import parallel
from tools import make_pairs
from tools.make_pairs import Args, main, plan


@pytest.mark.slow
def test_the_file_does_not_depend_on_the_number_of_processes(photo_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(parallel, "PART", 3)  # so that five pairs are work for two
    for jobs in (1, 2):
        main(Args(photos=photo_folder, output=tmp_path / f"{jobs}.npz", n=5, jobs=jobs, seed=3))
    one, two = (load_pairs(tmp_path / f"{jobs}.npz") for jobs in (1, 2))
    np.testing.assert_array_equal(one.distorted, two.distorted)
    np.testing.assert_array_equal(one.reference, two.reference)


def test_a_longer_file_begins_with_the_shorter_one(photo_folder, tmp_path):
    short = main(Args(photos=photo_folder, output=tmp_path / "short.npz", n=2))
    long = main(Args(photos=photo_folder, output=tmp_path / "long.npz", n=4))
    np.testing.assert_array_equal(short.distorted, long.distorted[:2])


def test_another_seed_gives_other_pairs(photo_folder, tmp_path):
    one, other = (main(Args(photos=photo_folder, output=tmp_path / "pairs.npz", n=2, seed=seed)) for seed in (0, 1))
    assert not np.array_equal(one.distorted, other.distorted)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n": 0}, "n=0"),
        ({"output": Path("pairs.zip")}, "output='pairs.zip' does not end in .npz"),
        ({"severity": "heavy"}, "severity='heavy' is not one of 'mild'"),
    ],
)
def test_wrong_options_are_refused_before_anything_is_drawn(changes, message, photo_folder, tmp_path):
    with pytest.raises(ValueError, match=message):
        plan(Args(**({"photos": photo_folder, "output": tmp_path / "pairs.npz"} | changes)))


def test_the_folder_is_opened_once(photo_folder, tmp_path, monkeypatch):
    opened = []
    monkeypatch.setattr(make_pairs, "FolderPhotos", lambda folder: opened.append(folder) or FolderPhotos(folder))
    main(Args(photos=photo_folder, output=tmp_path / "pairs.npz", n=2))
    assert opened == [photo_folder]

import numpy as np
import pytest

from restore_env import load_pairs
from restore_env.training import parallel
from tools.make_pairs import Args, main


@pytest.mark.slow
def test_the_file_does_not_depend_on_the_number_of_processes(photo_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(parallel, "PART", 3)  # so that five pairs are work for two
    for jobs in (1, 2):
        main(Args(photo_folder, tmp_path / f"{jobs}.npz", n=5, jobs=jobs, seed=3))
    one, two = (load_pairs(tmp_path / f"{jobs}.npz") for jobs in (1, 2))
    np.testing.assert_array_equal(one.distorted, two.distorted)
    np.testing.assert_array_equal(one.reference, two.reference)


def test_a_longer_file_begins_with_the_shorter_one(photo_folder, tmp_path):
    short = main(Args(photo_folder, tmp_path / "short.npz", n=2))
    long = main(Args(photo_folder, tmp_path / "long.npz", n=4))
    np.testing.assert_array_equal(short.distorted, long.distorted[:2])


def test_another_seed_gives_other_pairs(photo_folder, tmp_path):
    one, other = (main(Args(photo_folder, tmp_path / "pairs.npz", n=2, seed=seed)) for seed in (0, 1))
    assert not np.array_equal(one.distorted, other.distorted)


def test_none_at_all_are_refused(photo_folder, tmp_path):
    with pytest.raises(ValueError, match="n=0"):
        main(Args(photo_folder, tmp_path / "pairs.npz", n=0))
    assert not (tmp_path / "pairs.npz").exists()

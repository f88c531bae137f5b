"""What agents train and are measured on."""

import numpy as np
import pytest

from agents.data import draw_validation, mixture, sources
from restore_env.data.distortions import as_distortion
from restore_env.data.pairs import Pairs, save_pairs
from restore_env.data.sources import as_source, draw_pairs
from restore_env.errors import ImageError


def test_every_tenth_photo_is_kept_aside(photo_folder):
    training, aside = sources(str(photo_folder), "", "moderate", 0)
    assert (len(training.photos), len(aside.photos)) == (2, 1)
    assert not set(training.photos.paths) & set(aside.photos.paths)
    assert training.colours and not aside.colours
    training, aside = sources("embedded", "", "mild", 0.5)
    assert (len(training.photos), len(aside.photos)) == (4, 1)
    assert len(aside.sample(np.random.default_rng(0)).distortion) == 3  # measured on the severity alone


def test_pairs_files_need_others_to_measure_on(photo_folder, tmp_path):
    file = str(tmp_path / "pairs.npz")
    save_pairs(file, draw_pairs(as_source(str(photo_folder), "moderate", 63), 4, 0))
    with pytest.raises(ValueError, match="are fixed pairs; --validation with others is needed"):
        sources(file, "", "moderate", 0)
    assert all(isinstance(source, Pairs) for source in sources(file, file, "moderate", 0))


def test_validation_pairs_are_always_the_same(photo_folder):
    source = sources(str(photo_folder), str(photo_folder), "moderate", 0)[1]
    one, other = draw_validation(source, 3), draw_validation(source, 5)
    assert np.array_equal(one.distorted, other.distorted[:3])


def test_single_distortions_come_in_their_share():
    plain = as_distortion("moderate")
    assert mixture(plain, 0) is plain
    mixed = mixture(plain, 0.25)
    image, rng = np.full((8, 8, 3), 100, np.uint8), np.random.default_rng(0)
    drawn = [len(mixed(image, rng)[1]) for _ in range(400)]
    assert set(drawn) == {1, 3}
    assert drawn.count(1) / 400 == pytest.approx(0.25, abs=0.06)
    assert {len(mixture(plain, 1.0)(image, rng)[1]) for _ in range(20)} == {1}


@pytest.mark.parametrize(
    ("photos", "validation", "named"), [("nope", "", "photos"), ("embedded", "nope", "validation")]
)
def test_what_does_not_exist_is_named_as_it_was_given(photos, validation, named):
    with pytest.raises(ImageError, match=f"{named}='nope': no such file or folder"):
        sources(photos, validation, "moderate", 0.0)

"""What agents train and are measured on."""

import numpy as np
import pytest

from agents import data
from agents.data import draw_validation, open_data, with_single_distortions
from restore_env.data.distortions import as_distortion, single_distortions
from restore_env.data.pairs import Pairs, save_pairs
from restore_env.data.sources import as_source, draw_pairs
from restore_env.errors import ImageError
from tools.specs import load_spec


def test_every_tenth_photo_is_held_out(photo_folder, monkeypatch):
    monkeypatch.setattr(data, "draw_validation", lambda source, n: source)
    training, held_out, _ = open_data(str(photo_folder), "", "moderate", 1)
    assert (len(training.photos), len(held_out.photos)) == (2, 1)
    assert not set(training.photos.paths) & set(held_out.photos.paths)
    assert training.colours and not held_out.colours
    training, held_out, _ = open_data("embedded", "", "mild", 1, single_distortion_fraction=0.5)
    assert (len(training.photos), len(held_out.photos)) == (4, 1)
    assert len(held_out.sample(np.random.default_rng(0)).distortion) == 3  # measured on the severity alone


def test_pairs_files_need_others_to_measure_on(photo_folder, tmp_path):
    file = str(tmp_path / "pairs.npz")
    save_pairs(file, draw_pairs(as_source(str(photo_folder), "moderate", 63), 4, 0))
    with pytest.raises(ValueError, match="are fixed pairs; --validation with others is needed"):
        open_data(file, "", "moderate", 2)
    training, validation, _ = open_data(file, file, "moderate", 2)
    assert isinstance(training, Pairs) and (validation.distorted == training.distorted[:2]).all()


def test_validation_pairs_are_always_the_same(photo_folder):
    one, other = (open_data(str(photo_folder), str(photo_folder), "moderate", n).validation for n in (3, 5))
    assert np.array_equal(one.distorted, other.distorted[:3])


def test_single_distortions_are_those_that_the_twelve_tools_are_made_for():
    made_for = [tool.own_distortion for tool in load_spec("rl-restore-12").tools]
    assert list(single_distortions().distortions) == made_for


def test_single_distortions_come_in_their_share():
    plain = as_distortion("moderate")
    assert with_single_distortions(plain, 0) is plain
    mixed = with_single_distortions(plain, 0.25)
    image, rng = np.full((8, 8, 3), 100, np.uint8), np.random.default_rng(0)
    drawn = [len(mixed(image, rng)[1]) for _ in range(400)]
    assert set(drawn) == {1, 3}
    assert drawn.count(1) / 400 == pytest.approx(0.25, abs=0.06)
    assert {len(with_single_distortions(plain, 1.0)(image, rng)[1]) for _ in range(20)} == {1}


def test_patches_of_a_pairs_file_are_measured_on_one_by_one(photo_folder):
    known = draw_pairs(as_source(str(photo_folder), "moderate", 63), 4, 0)
    assert (draw_validation(known, 3).distorted == known.distorted[:3]).all()
    assert len(draw_validation(known, 9)) == 4


def test_all_patches_have_the_size_that_is_asked_for(photo_folder, tmp_path):
    training, validation, _ = open_data(str(photo_folder), "", "moderate", 2, patch_size=40)
    assert training.sample(np.random.default_rng(0)).distorted.shape == (40, 40, 3)
    assert validation.distorted.shape == (2, 40, 40, 3)
    file = str(tmp_path / "pairs.npz")
    save_pairs(file, validation)
    _, again, _ = open_data(str(photo_folder), file, "moderate", 2, patch_size=40)
    assert np.array_equal(again.distorted, validation.distorted)  # taken whole
    _, cut, _ = open_data(str(photo_folder), file, "moderate", 5, patch_size=24)
    assert cut.distorted.shape == (5, 24, 24, 3)


@pytest.mark.parametrize(
    ("photos", "validation", "named"), [("nope", "", "photos"), ("embedded", "nope", "validation")]
)
def test_what_does_not_exist_is_named_as_it_was_given(photos, validation, named):
    with pytest.raises(ImageError, match=f"{named}='nope': no such file or folder"):
        open_data(photos, validation, "moderate", 1)

"""Photos that are held out to measure on."""

import pytest

from restore_env.data.photos import FolderPhotos
from restore_env.training.split import split_photos, train_val_split


def test_every_tenth_photo_is_held_out():
    train, held_out = train_val_split([f"photo-{number:02}" for number in range(21)])
    assert held_out == [0, 10, 20]
    assert train == [number for number in range(21) if number % 10]


def test_sizes_of_one_photo_stay_together():
    names = [f"{number:04}{size}" for number in range(12) for size in ("_x2", "_x4")]
    train, held_out = train_val_split(names)
    assert [names[number] for number in held_out] == ["0000_x2", "0000_x4", "0010_x2", "0010_x4"]
    assert len(train) == 20
    assert train_val_split(["1x2", "1x3", "2x2", "2x3"]) == ([2, 3], [0, 1])


def test_a_folder_is_split_by_its_files(photo_folder):
    train, held_out = split_photos(FolderPhotos(photo_folder), "photos")
    assert [path.name for path in train.paths] == ["1.png", "2.png"]
    assert [path.name for path in held_out.paths] == ["0.png"]


def test_arrays_are_split_by_their_numbers(photos):
    train, held_out = split_photos(photos, "photos")
    assert train[0] is photos[1] and len(train) == 2
    assert held_out[0] is photos[0] and len(held_out) == 1


def test_one_photo_is_not_enough(photos):
    with pytest.raises(ValueError, match="mine has one photo; two are needed, or --validation with others"):
        split_photos(photos[:1], "mine")
